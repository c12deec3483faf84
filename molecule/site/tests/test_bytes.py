"""What the gateways take arrives octet for octet, line ends apart; what could not is refused while the sender waits."""

from __future__ import annotations

import re
import uuid

import pytest

TO, SENDER = "alice@example.org", "carol@sender.example"
BASE64 = b"Content-Transfer-Encoding: base64\r\n"
# In 7 bits and 8, and with a letter of two octets at each place that might be cut.
LENGTHS = (997, 998, 999, 1000, 2000, 2048, 2049, 40_000, 100_000)
PGP = (
    b"-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA512\r\n\r\n- -- \r\nhello \r\n- From here\r\n"
    b"-----BEGIN PGP SIGNATURE-----\r\n\r\niQIz\r\n=abcd\r\n-----END PGP SIGNATURE-----\r\n"
)


def multipart(kind: bytes, *parts: bytes) -> tuple[bytes, bytes]:
    field = b'MIME-Version: 1.0\r\nContent-Type: multipart/%s; boundary="=_x"\r\n' % kind
    return field, b"".join(b"--=_x\r\n%s\r\n" % part for part in parts) + b"--=_x--\r\n"


# case: the body, or (more of the header, the body). No case has Postfix' own end of the data in it.
ARRIVES = {
    **{f"{size} octets": b"x" * size + b"\r\n" for size in LENGTHS},
    **{f"{size} octets of UTF-8": ("é" * size).encode()[: size // 2 * 2] + b"\r\n" for size in LENGTHS},
    **{f"{size} octets of UTF-8 from the second on": b"x" + ("é" * (size // 2)).encode() + b"\r\n" for size in LENGTHS},
    "long lines one after the other": (b"a" * 5000 + b"\r\n" + b"b" * 5000 + b"\r\n") * 3,
    "a letter of four octets at 998": b"x" * 996 + "🙂".encode() * 300 + b"\r\n",
    "a long line in Latin 1": b"\xe9" * 3000 + b"\r\n",
    "all octets but three": bytes(octet for octet in range(1, 256) if octet not in b"\r\n") + b"\r\n",
    "control octets": b"\x01\x08\x0b\x0c\x1a\x1b[2J\x7f\x80\x9b\r\n",
    "UTF-16 without NUL": "\u4e2d\u6587".encode("utf-16-le") + b"\r\n",
    "a dot": b".\r\n",
    "dots alone": b".\r\n..\r\n...\r\n....\r\n",
    "lines that begin with dots": b".a\r\n..b\r\n...c\r\n. d\r\n.\ta\r\n",
    "a long line that begins with a dot": b"." + b"x" * 3000 + b"\r\n",
    "a dot after 998 octets": b"x" * 998 + b"." * 3000 + b"\r\n",
    "a dot after 2048 octets": b"x" * 2048 + b".\r\n",
    "nothing": b"",
    "an empty line": b"\r\n",
    "empty lines": b"\r\n" * 20,
    "empty lines at the end": b"hello\r\n" + b"\r\n" * 20,
    "spaces and tabs at the ends of lines": b"a \r\nb\t\r\n \r\n\t\r\n  \t  \r\n",
    "a long line of spaces": b" " * 3000 + b"\r\n",
    "From at the start of lines": b"From here\r\n\r\nFrom x@sender.example Sun Nov 22 10:00:00 2026\r\n>From there\r\n",
    "header fields in the body": b"Bcc: x@example.org\r\nReturn-Path: <>\r\nAuthentication-Results: x\r\n",
    "format=flowed": (b"Content-Type: text/plain; format=flowed\r\n", b"-- \r\n> a \r\n> b\r\n"),
    "quoted-printable": (b"Content-Transfer-Encoding: quoted-printable\r\n", b"a=\r\nb=20\r\n=C3=A9=00\r\n"),
    "base64": (BASE64, b"aGVsbG8=\r\n" * 50),
    "base64 in one line": (BASE64, b"aGVsbG8h" * 5000 + b"\r\n"),
    "uuencode": b"begin 644 a\r\n#86)C\r\n`\r\nend\r\n",
    "HTML in a line": (b"Content-Type: text/html\r\n", b'<p><a href="https://x.example/?1">x</a></p>' * 200 + b"\r\n"),
    "signed by PGP, in line": PGP,
    "signed by PGP": multipart(
        b'signed; micalg=pgp-sha512; protocol="application/pgp-signature"',
        b"Content-Type: text/plain\r\n\r\nhello \r\n-- \r\n" + b"x" * 1500,
        b"Content-Type: application/pgp-signature\r\n\r\n-----BEGIN PGP SIGNATURE-----\r\n\r\niQ",
    ),
    "encrypted by PGP": multipart(
        b'encrypted; protocol="application/pgp-encrypted"',
        b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1",
        b"Content-Type: application/octet-stream\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nhQ",
    ),
    "signed by S/MIME": multipart(
        b'signed; micalg=sha-256; protocol="application/pkcs7-signature"',
        b"Content-Type: text/plain\r\n\r\n  hello\t\r\n" + "é".encode() * 700,
        b"Content-Type: application/pkcs7-signature\r\n" + BASE64 + b"\r\nMIAGCSqGSIb3DQEHAqCA",
    ),
    "encrypted by S/MIME": (
        b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n" + BASE64,
        b"MIAGCSqGSIb3DQEHA6CA\r\n" * 30,
    ),
    "an attached message": multipart(
        b"mixed",
        b"Content-Type: text/plain\r\n\r\nhello",
        b"Content-Type: message/rfc822\r\n\r\nFrom: x@example.net\r\nBcc: y@example.net\r\nReferences: "
        + b"<x@example.net> " * 90 + b"\r\n\r\n.\r\nhello",
    ),
    "References in one line": (b"References:" + b" <1234567.x@sender.example>" * 50 + b"\r\n", b"hello\r\n"),
    "Cc in one line": (b"Cc: " + b", ".join([b"x%d@sender.example" % n for n in range(65)]) + b"\r\n", b"hello\r\n"),
    "a folded field with odd white space": (b"X-Odd:  a \r\n\t b\t\r\n  c\r\n", b"hello\r\n"),
    "a field in UTF-8": ("X-Odd: Grüße, 中文 🙂\r\n".encode(), b"hello\r\n"),
    "a field of 5000 octets": (b"X-Odd: " + b"x" * 5000 + b"\r\n", b"hello\r\n"),
}  # fmt: skip
# case: what is sent, what arrives. A line ends where Postfix sees one, before anybody judges the message.
LINE_ENDS = {
    "LF alone": (b"a\nb\r\n", b"a\r\nb\r\n"),
    "a dot behind LF alone": (b"a\n.b\r\n", b"a\r\n.b\r\n"),
}
NO = "550 5.7.1 disallowed character"
REFUSED = {
    "NUL": b"a\0b\r\n",
    "NUL at the start of a line": b"\0\r\n",
    "NUL after 2048 octets": b"x" * 2048 + b"\0\r\n",
    "NUL far below": (b"x" * 76 + b"\r\n") * 2000 + b"\0\r\n",
    "NUL in the header": (b"X-Odd: a\0b\r\n", b"hello\r\n"),
    "UTF-16": "hello".encode("utf-16-le") + b"\r\n",
    "CR": b"a\rb\r\n",
    "CR at the start of a line": b"\ra\r\n",
    "CR after 2047 octets": b"x" * 2047 + b"\rx\r\n",
    "CR far below": (b"x" * 76 + b"\r\n") * 2000 + b"a\rb\r\n",
    "CR CR LF": b"a\r\r\nb\r\n",
    "CR CR LF after a dot": b"a\r\n.\r\r\nb\r\n",
    "CR and a dot": b"a\r.\rb\r\n",
    "CR in the header": (b"X-Odd: a\rX-Other: b\r\n", b"hello\r\n"),
    "CR in an attached message": multipart(b"mixed", b"Content-Type: message/rfc822\r\n\r\nX: a\rb\r\n\r\nhello"),
}


def message(mark: str, run: str, case: object) -> tuple[str, bytes, bytes]:
    """(The Message-ID, the header, the body) of a case."""
    more, body = case if isinstance(case, tuple) else (b"", case)
    header = (
        f"From: Carol <{SENDER}>\r\nTo: {TO}\r\nSubject: octets {run}\r\nMessage-ID: {mark}\r\n"
        "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
    )
    return mark, header.encode() + more, body


@pytest.fixture
def send(lab, smtp, gateway):
    """send(messages, octet, parameter): a reply to each, after one another in one session from this stranger."""

    def decide(messages, octet=69, parameter=""):
        lines = ["EHLO internet.sender.example"]
        for header, body in messages:
            raw = re.sub(rb"(^|\n)\.", rb"\1..", header + b"\r\n" + body) + b".\r\n"
            lines += [f"MAIL FROM:<{SENDER}>{parameter}", f"RCPT TO:<{TO}>", "DATA"]
            lines += [{"raw": raw.decode("utf-8", "surrogateescape")}]
        return smtp(gateway.mail_ipv4, *lines, source=lab.stranger(octet))[5::4]

    return decide


@pytest.fixture
def arrived(mail, wait):
    """arrived(run, count): {Message-ID: (the header, the body)} of the messages of a run, over IMAP."""

    def read(run, count):
        def all_of_them():
            texts = mail.copies(TO, run, "Subject")
            return texts if len(texts) >= count else None

        octets = [text.encode("utf-8", "surrogateescape") for text in wait(all_of_them, 60, f"{count} messages")]
        return {
            re.search(rb"^Message-ID: (\S+)", text, re.MULTILINE)[1].decode(): text.partition(b"\r\n\r\n")[::2]
            for text in octets
        }

    return read


# Each with an address of its own, since the two together are more than a stranger may send in a minute.
@pytest.mark.parametrize(("parameter", "octet"), [("", 66), (" BODY=8BITMIME", 69)])
def test_each_octet_that_is_taken_arrives(mail, send, arrived, parameter, octet):
    """Also the fields of the header; what the gateway adds stands beside them."""
    run = uuid.uuid4().hex
    cases = {**ARRIVES, **{name: sent for name, (sent, _arriving) in LINE_ENDS.items()}}
    sent = {name: message(mail.new_id(), run, case) for name, case in cases.items()}
    replies = dict(zip(cases, send([(header, body) for _mark, header, body in sent.values()], octet, parameter)))
    assert {name: reply for name, reply in replies.items() if not reply.startswith("250 ")} == {}
    found = arrived(run, len(cases))
    for name, (mark, header, body) in sent.items():
        assert found[mark][1] == (LINE_ENDS[name][1] if name in LINE_ENDS else body), name
        for field in re.findall(rb"\S[^\r]*\r\n(?:[ \t][^\r]*\r\n)*", header):
            assert b"\r\n" + field in found[mark][0] + b"\r\n", (name, field)


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_arrive_is_refused_in_words(mail, send, case):
    run = uuid.uuid4().hex
    (reply,) = send([message(mail.new_id(), run, REFUSED[case])[1:]])
    assert reply.startswith(NO)


def test_who_logs_in_is_refused_the_same(mail, gateway, submit):
    sent = [message(mail.new_id(), "", body)[1:] for body in (b"a\0b\r\n", b"a\rb\r\n", b"hello\r\n")]
    messages = [b"\r\n".join(parts).decode().replace(SENDER, TO) for parts in sent]
    replies = [f"{code} {text}" for code, text in submit(gateway, messages)]
    assert [reply.startswith(NO) for reply in replies] == [True, True, False]
    assert replies[2].startswith("250 ")
