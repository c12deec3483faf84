"""What leaves is signed: with RSA and with Ed25519, and two independent verifiers at the receiver agree, whatever the
message looks like. The DNS records are those of playbooks/dns.yml, on the lab's name server."""

from __future__ import annotations

import email
import re

SENDER, RECIPIENT = "alice@example.org", "dave@sender.example"
HEADER = (
    f"From: Alice <{SENDER}>\r\nTo: Dave <{RECIPIENT}>\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\nSubject: hello\r\n"
)
PLAIN = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"


def multipart(kind, *parts):
    border = "=_border"
    body = "".join(f"--{border}\r\n{part}\r\n" for part in parts)
    return f'MIME-Version: 1.0\r\nContent-Type: multipart/{kind}; boundary="{border}"\r\n\r\n{body}--{border}--\r\n'


TEXT = "Content-Type: text/plain\r\n\r\ntext"
ATTACHED = "Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + "QUJD" * 19
# What comes after the header that all have.
SHAPES = {
    "one line": "\r\nhello\r\n",
    "no body": "\r\n",
    "no blank line": "",
    "an empty line": "\r\n\r\n",
    "many empty lines at the end": "\r\nhello\r\n\r\n\r\n\r\n",
    "no line end at the end": "\r\nhello",
    "spaces at the end of lines": "\r\nhello  \r\nthere \t \r\n",
    "spaces alone": "\r\n   \r\n \t\r\n",
    "tabs within": "\r\na\tb\t\tc\r\n",
    "8-bit text": PLAIN + "\r\nGrüße aus Köln, Straße\r\n",
    "Latin-1 octets": PLAIN.replace("utf-8", "iso-8859-1") + "\r\n\udcfc\udcdf\r\n",
    "a line of 998 octets": "\r\n" + "x" * 998 + "\r\n",
    "many lines": "\r\n" + "".join(f"line {number}\r\n" for number in range(2000)),
    "dots at the beginning": "\r\n.\r\n..\r\n.dot\r\n",
    "a From at the beginning": "\r\nFrom here on\r\n>From there\r\n",
    "a header in the body": "\r\nDKIM-Signature: v=1; a=none\r\nFrom: mallory@example.org\r\n",
    "a folded subject": "X-Long: one\r\n two\r\n\tthree\r\n\r\nhello\r\n",
    "a folded header with nothing in it": "X-Empty:\r\n \r\n\r\nhello\r\n",
    "spaces in header fields": "X-Spaced:    a   b   \r\nX-Tab:\tc\r\n\r\nhello\r\n",
    "capitals in names": "MIME-VERSION: 1.0\r\nCONTENT-TYPE: TEXT/PLAIN\r\n\r\nhello\r\n",
    "an encoded subject": "X-Title: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nhello\r\n",
    "UTF-8 in a header": "X-Raw: Grüße\r\n\r\nhello\r\n",
    "a long header line": "References: " + " ".join(f"<{n}@example.org>" for n in range(50)) + "\r\n\r\nhello\r\n",
    "headers twice": "Comments: one\r\nComments: two\r\n\r\nhello\r\n",
    "Cc, Reply-To and Sender": f"Cc: bob@example.org\r\nReply-To: {SENDER}\r\nSender: {SENDER}\r\n\r\nhello\r\n",
    "quoted-printable": PLAIN.replace("8bit", "quoted-printable") + "\r\nGr=C3=BC=C3=9Fe=\r\n=20\r\n",
    "an attachment": multipart("mixed", TEXT, ATTACHED),
    "alternatives": multipart("alternative", TEXT, TEXT.replace("plain", "html")),
    "a message within": multipart(
        "mixed", TEXT, "Content-Type: message/rfc822\r\n\r\nFrom: x@example.net\r\n\r\ninner"
    ),
    "a message without Date": "\r\nundated\r\n",
    "a list's header": "List-Id: <l.example.org>\r\nList-Unsubscribe: <mailto:l@example.org>\r\n\r\nhello\r\n",
    "a program's name and a hop": "User-Agent: Mutt\r\nReceived: from d ([10.1.2.3]) by h with ESMTPSA\r\n\r\nhi\r\n",
}


def signatures(message):
    return [str(value) for value in email.message_from_bytes(message).get_all("DKIM-Signature", [])]


def test_every_shape_verifies_with_both_keys_by_two_verifiers(mail, gateway, published, submit, received, verifies):
    marks = {mail.new_id(): name for name in SHAPES}
    header = HEADER + "Message-ID: {}\r\n"
    undated = header.replace("Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n", "")
    texts = [
        (undated if "without Date" in name else header).format(mark) + SHAPES[name] for mark, name in marks.items()
    ]
    assert [code for code, _text in submit(gateway, texts)] == [250] * len(texts)
    for mark, message in received(list(marks)).items():
        made = signatures(message)
        assert sorted(re.search(r"a=(\S+);", value)[1] for value in made) == ["ed25519-sha256", "rsa-sha256"]
        assert [verifies(message, index) for index in (0, 1)] == [True, True], marks[mark]
        results = str(email.message_from_bytes(message).get("Authentication-Results"))
        assert results.split(";")[0] == "internet.sender.example"
        assert len(re.findall(r"dkim=pass", results)) == 2, (marks[mark], results)


def test_a_changed_message_does_not_verify(mail, gateway, published, submit, received, verifies):
    """The control of both verifiers' word."""
    mark = mail.new_id()
    submit(gateway, [HEADER + f"Message-ID: {mark}\r\n\r\nhello\r\n"])
    message = received([mark])[mark]
    assert verifies(message)
    for change in ((b"\r\nhello", b"\r\nhallo"), (b"Subject: hello", b"Subject: hallo"), (b"To: Dave", b"To: Dora")):
        assert not verifies(message.replace(*change))


def test_one_sender_has_keys_of_its_own(mail, gateway, published, submit, received, verifies):
    mark = mail.new_id()
    text = HEADER.replace(SENDER, "news@example.org") + f"Message-ID: {mark}\r\n\r\nnews\r\n"
    assert submit(gateway, [text], login="store@example.org", sender="news@example.org")[0][0] == 250
    message = received([mark])[mark]
    short = gateway.name.partition(".")[0]
    found = sorted(re.search(r"\bs=([^;]+);", value)[1] for value in signatures(message))
    assert found == [f"news-{short}", f"news-{short}-ed"]
    assert [verifies(message, index) for index in (0, 1)] == [True, True]


def test_lines_that_would_be_folded_after_signing_are_refused(gateway, submit):
    texts = [
        HEADER + "\r\n" + "x" * 999 + "\r\n",
        HEADER + "\r\nshort\r\n" + "x" * 5000 + "\r\n",
        HEADER + "X-Long: " + "x" * 999 + "\r\n\r\nhello\r\n",
        HEADER + multipart("mixed", TEXT + "x" * 1200),
    ]
    assert [(code, text.split()[0]) for code, text in submit(gateway, texts)] == [(550, "5.6.0")] * len(texts)


def test_nothing_tells_who_wrote_it_and_with_what(lab, mail, gateway, submit, received):
    mark = mail.new_id()
    submit(gateway, [HEADER + f"Message-ID: {mark}\r\n" + SHAPES["a program's name and a hop"]])
    head = received([mark])[mark].partition(b"\r\n\r\n")[0].decode()
    assert f"Received: from {gateway.name}" in head  # the control: the receiver's own line is there
    for secret in (lab.client.lab_vpn_address, "10.1.2.3", "client.example.org", "Mutt", "ESMTPSA"):
        assert secret not in head


def test_mail_of_the_gateway_itself_is_signed_where_the_domain_has_a_key(mail, gateway, published, received, verifies):
    mark = mail.new_id()
    gateway.out("sendmail", "-f", SENDER, RECIPIENT, given=f"{HEADER}Message-ID: {mark}\n\nhello\n".replace("\r", ""))
    message = received([mark])[mark]
    assert [verifies(message, index) for index in (0, 1)] == [True, True]


def test_private_keys_are_private(gateway):
    listed = gateway.out("find", "/etc/opendkim/keys", "-printf", "%m %u %f\\n").splitlines()
    assert "700 opendkim keys" in listed
    keys = [line for line in listed if line.endswith(".private")]
    assert len(keys) == 4
    assert all(line.startswith("600 opendkim ") for line in keys)


def test_no_milter_is_asked_over_tcp(gateway):
    """A milter on loopback TCP costs a tenth of a second a message."""
    for parameter in ("smtpd_milters", "submission_milters", "non_smtpd_milters"):
        value = gateway.out("postconf", "-hx", parameter)
        assert "unix:/run/" in value
        assert "inet:" not in value
