"""Submission is a submission agent (RFC 6409): what leaves is whole, signed, and from whom it says."""

from __future__ import annotations

import email
import email.utils
import re

import pytest

ALICE, BOB = "alice@example.org", "bob@example.org"
DATE = "Date: Sun, 22 Nov 2026 10:00:00 +0000"
# What a message of alice's may have for its writer, and what it may not.
OWN = (
    f"From: {ALICE}", f"From: Alice <{ALICE}>", f'From: "Alice (A)" <{ALICE.upper()}>', "From: alice+shop@example.org",
    f"From: =?utf-8?q?=C3=84?=\r\n <{ALICE}>", f"From: {ALICE}\r\nSender: {ALICE}",
    f"From: {ALICE}\r\nResent-From: {ALICE}", f"From: {ALICE}\r\nReply-To: {BOB}",
    f"From: Alice <{ALICE}>, Shop <alice+shop@example.org>",
)  # fmt: skip
ANOTHERS = {
    f"From: {BOB}": "may not write as bob@example.org",
    f"From: Alice <{ALICE}>, Bob <{BOB}>": "may not write as bob@example.org",
    "From: ceo@reject.example": "may not write as ceo@reject.example",
    f"From: {ALICE}\r\nSender: {BOB}": "may not write as bob@example.org",
    f"From: {ALICE}\r\nResent-From: {BOB}": "may not write as bob@example.org",
    f"From: {ALICE}\r\nFrom: {ALICE}": "2 From fields",
    f"From: {ALICE}\r\nFrom: {BOB}": "2 From fields",
    "X-None: none": "no From field",
    f"From: {BOB} <{ALICE}>": "the From field is not",
    f"From: {ALICE} <{BOB}>": "the From field is not",
    "From: Alice": "the From field is not",
    "From: ": "the From field is not",
    "From: us:;": "the From field is not",
    f'From: "alice@example.org" <{BOB}>': "may not write as bob@example.org",
    "From: alice@other.example": "may not write as alice@other.example",
    'From: "bob"@example.org': "may not write as bob@example.org",
}


@pytest.fixture
def try_all(mail, gateway, submit):
    """try_all(header lines, login): [code, text] of a message with each of these."""

    def send(headers, login=ALICE):
        texts = [f"{lines}\r\n{DATE}\r\nMessage-ID: {mail.new_id()}\r\n\r\nhello\r\n" for lines in headers]
        # Who makes more than three mistakes is made to wait.
        few = [texts[first : first + 3] for first in range(0, len(texts), 3)]
        return [reply for part in few for reply in submit(gateway, part, login=login, sender=login)]

    return send


@pytest.mark.same_on_all_gateways
def test_a_writer_is_held_to_the_login(try_all):
    assert {lines: code for lines, (code, _text) in zip(OWN, try_all(OWN)) if code != 250} == {}
    for (lines, words), (code, text) in zip(ANOTHERS.items(), try_all(ANOTHERS)):
        assert code == 550, (lines, text)
        assert words in text, (lines, text)


def test_who_may_send_for_a_domain_may_write_for_it(try_all):
    froms = (f"From: {BOB}", "From: anybody@example.org", "From: ceo@reject.example")
    assert [code for code, _text in try_all(froms, "store@example.org")] == [250, 250, 550]


def test_what_is_missing_is_added_and_signed(lab, gateway, submit, received, verifies, published, mail):
    bare = mail.new_id()
    before = email.utils.localtime()
    ((code, text),) = submit(gateway, [f"From: {ALICE}\r\nX-Mark: {bare}\r\n\r\nhello\r\n"])
    assert code == 250, text
    message = received([bare])[bare]
    parsed = email.message_from_bytes(message)
    assert abs((email.utils.parsedate_to_datetime(parsed["Date"]) - before).total_seconds()) < 120
    assert re.fullmatch(rf"<[0-9a-f]{{32}}@{re.escape(gateway.name)}>", parsed["Message-ID"])
    for name in ("Date", "Message-ID"):
        assert len(parsed.get_all(name)) == 1
        signed = [str(value).replace("\r\n", "").lower() for value in parsed.get_all("DKIM-Signature")]
        assert all(name.lower() in value for value in signed)
    assert [verifies(message, index) for index in (0, 1)] == [True, True]


def test_what_is_there_stays_and_port_25_adds_nothing(lab, gateway, submit, received, mail):
    mark = mail.new_id()
    assert submit(gateway, [f"From: {ALICE}\r\n{DATE}\r\nMessage-ID: {mark}\r\n\r\nhello\r\n"])[0][0] == 250
    head = received([mark])[mark].decode()
    assert head.count(DATE) == 1
    assert re.findall(r"(?im)^message-id: (.*)\r$", head) == [mark]
    bare = f"From: carol@sender.example\r\n{DATE}\r\nX-Mark: {mark}\r\n\r\nhello\r\n"
    assert mail.offer(gateway, [("<carol@sender.example>", f"<{ALICE}>", bare)])[0].startswith("250 ")
    (text,) = mail.stored([f"X-Mark: {mark}"]).values()
    assert not re.search(rb"(?im)^message-id:", text)


def test_no_result_of_ours_leaves(lab, gateway, submit, received, mail):
    """Nor does the scanner's name and version; a forwarded message keeps what it says within."""
    mark = mail.new_id()
    forged = f"Authentication-Results: {gateway.name}; dkim=pass\r\n"
    forged += "DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=s; h=from; bh=A; b=A"
    assert submit(gateway, [f"{forged}\r\nFrom: {ALICE}\r\n{DATE}\r\nMessage-ID: {mark}\r\n\r\nhello\r\n"])[0][0] == 250
    parsed = email.message_from_bytes(received([mark])[mark])
    assert [value.split(";")[0] for value in parsed.get_all("Authentication-Results")] == ["internet.sender.example"]
    assert not [name for name in parsed if name.lower().startswith(("x-virus", "x-spam", "arc-", "received-spf"))]


ADDED = (
    "Content-Transfer-Encoding: base64", "Content-Type: text/html", "MIME-Version: 1.0", "Sender: x@sender.example",
    "Reply-To: x@sender.example", "Message-ID: <x@sender.example>", "In-Reply-To: <x@sender.example>",
    "Cc: x@sender.example", "Resent-From: x@sender.example", "Disposition-Notification-To: x@sender.example",
    "Content-Disposition: attachment", "References: <x@sender.example>", "Subject: x", "From: x@sender.example",
    "To: x@sender.example", "Date: x",
)  # fmt: skip


def test_what_is_added_on_the_way_breaks_the_signatures_but_for_what_lists_add(
    mail, gateway, submit, received, verifies, published
):
    mark = mail.new_id()
    submit(gateway, [f"From: {ALICE}\r\nTo: dave@sender.example\r\n{DATE}\r\nMessage-ID: {mark}\r\n\r\nhello\r\n"])
    message = received([mark])[mark]
    for line in (
        "",
        "List-Id: <x.sender.example>\r\n",
        "List-Unsubscribe: <mailto:x@sender.example>\r\n",
        "X-Any: x\r\n",
    ):
        assert [verifies(line.encode() + message, index) for index in (0, 1)] == [True, True], line
    for line in ADDED:
        assert [verifies(f"{line}\r\n".encode() + message, index) for index in (0, 1)] == [False, False], line
