"""message/partial is refused in each spelling that a MIME reader takes for it, and in no other."""

from __future__ import annotations

import pytest

TO, SENDER, STRANGER = "alice@example.org", "alice@example.org", "carol@sender.example"
REFUSED = "550 5.6.1 a message in parts (message/partial) cannot be scanned; send it in one piece"
PARTIAL = 'message/partial; id="x@sender.example"; number=1; total=2'


def within(kind: str, field: str) -> str:
    """A part of a multipart with this field in its header."""
    return (
        f'MIME-Version: 1.0\r\nContent-Type: multipart/{kind}; boundary="=_x"\r\n\r\n'
        f"--=_x\r\nContent-Type: text/plain\r\n\r\nhello\r\n--=_x\r\n{field}\r\n\r\nhello\r\n--=_x--\r\n"
    )


# spelling: fields of the header, and where there is an empty line among them the body
BAD = {
    "as RFC 2046 writes it": f"Content-Type: {PARTIAL}",
    "without parameters": "Content-Type: message/partial",
    "upper case": f"CONTENT-TYPE: {PARTIAL.upper()}",
    "no space": f"Content-Type:{PARTIAL}",
    "a space before the colon": f"Content-Type : {PARTIAL}",
    "spaces": "Content-Type:   message / partial ; id=x",
    "tabs": "Content-Type:\tmessage\t/\tpartial\t",
    "folds": "Content-Type:\r\n message\r\n\t/\r\n partial\r\n ;id=x",
    "a comment": "Content-Type: (hello) message/partial",
    "comments everywhere": "Content-Type: (a) (b)message(c)/(d) (e)partial(f);id=x",
    "a comment in a comment": "Content-Type: (a (b (c)) d) message/partial",
    "a comment with quoted pairs": r"Content-Type: (a \) \( \\) message/partial",
    "a comment over folds": "Content-Type: (a\r\n b)\r\n message/\r\n (c\r\n d) partial",
    "a comment of 5000 octets": f"Content-Type: ({'x' * 5000}) message/partial",
    "comments in hundreds": f"Content-Type: {'(x)' * 500} message/partial",
    "comments within each other in hundreds": f"Content-Type: {'(' * 300}{')' * 300} message/partial",
    "in quotes": 'Content-Type: "message/partial"',
    "the second of two fields": f"Content-Type: text/plain\r\nContent-Type: {PARTIAL}",
    "in a part": within("mixed", f"Content-Type: {PARTIAL}"),
    "in a part, with comments and folds": within("mixed", "Content-Type:\r\n (a)message/(b)\r\n partial"),
    "in a digest": within("digest", f"Content-Type: {PARTIAL}"),
    "in a part of a part": within("mixed", within("alternative", f"Content-Type: {PARTIAL}").replace("=_x", "=_y")),
    "in an attached message": within("mixed", f"Content-Type: message/rfc822\r\n\r\nContent-Type: {PARTIAL}"),
    "in a message that is a message": f"Content-Type: message/rfc822\r\n\r\nContent-Type: {PARTIAL}\r\n\r\nhello",
}
GOOD = {
    "a file of that name": 'Content-Type: text/plain; name="message/partial.txt"',
    "a file of that name, over a fold": 'Content-Type: text/plain;\r\n name="message/partial"',
    "a comment of that name": "Content-Type: text/plain (message/partial)",
    "a subject": "Subject: Content-Type: message/partial",
    "the body": "\r\nContent-Type: message/partial; id=x",
    "another field": "X-Content-Type: message/partial",
    "another subtype": "Content-Type: message/partial-x",
    "another type": "Content-Type: x-message/partial",
    "a description": within("mixed", "Content-Type: text/plain\r\nContent-Description: message/partial"),
    "an attached message": within("mixed", "Content-Type: message/rfc822\r\n\r\nSubject: message/partial"),
    "a report": within("report; report-type=delivery-status", "Content-Type: message/delivery-status"),
    "external-body": 'Content-Type: message/external-body; access-type=URL; URL="https://sender.example/"',
}
assert len(BAD) > len(GOOD)


def header(mark: str, sender: str) -> str:
    return f"From: {sender}\r\nTo: {TO}\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: {mark}\r\n"


@pytest.fixture
def send(mail, lab, smtp, gateway):
    """send(texts): a reply to each; two in a session, since after more mistakes a client has to wait."""

    def decide(texts):
        replies = []
        for number in range(0, len(texts), 2):
            lines = ["EHLO internet.sender.example"]
            for text in texts[number : number + 2]:
                raw = f"{header(mail.new_id(), STRANGER)}{text}\r\n\r\nhello\r\n.\r\n"
                lines += [f"MAIL FROM:<{STRANGER}>", f"RCPT TO:<{TO}>", "DATA", {"raw": raw}]
            replies += smtp(gateway.mail_ipv4, *lines, source=lab.stranger(69))[5::4]
        return replies

    return decide


def test_a_message_in_parts_is_refused_however_it_is_written(send):
    replies = dict(zip(BAD, send([*BAD.values()]), strict=True))
    assert {case: reply for case, reply in replies.items() if reply != REFUSED} == {}


def test_what_only_looks_like_one_comes_in(send):
    replies = dict(zip(GOOD, send([*GOOD.values()]), strict=True))
    assert {case: reply for case, reply in replies.items() if not reply.startswith("250 ")} == {}


def test_who_logs_in_is_refused_the_same(mail, gateway, submit):
    chosen = {case: BAD[case] for case in ("as RFC 2046 writes it", "comments everywhere", "in a part")}
    chosen |= {case: GOOD[case] for case in ("a file of that name", "a report")}
    texts = [f"{header(mail.new_id(), SENDER)}{text}\r\n\r\nhello\r\n" for text in chosen.values()]
    replies = [f"{code} {text}" for code, text in submit(gateway, texts)]
    assert [reply == REFUSED for reply in replies] == [True, True, True, False, False]
    assert all(reply.startswith("250 ") for reply in replies[3:])


NASTY = ("(" * 40_000, "(" * 3000 + ")" * 2999, "(\\" * 20_000, "(a)" * 13_000 + "message", "(a(b(c)))" * 5000)


def test_no_header_makes_the_search_long(send):
    """Comments that never end, within each other and side by side: the reply comes, whatever it is."""
    for nasty in NASTY:
        (reply,) = send([f"Content-Type: {nasty}"])
        assert reply[:3] in ("250", "550", "451", "552"), nasty[:20]
