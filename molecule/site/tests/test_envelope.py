"""Whatever stands in an envelope: what the gateway takes, the mail host takes."""

from __future__ import annotations

import pytest

OCTETS = [octet for octet in range(1, 256) if octet != ord("\n")]
# How an octet can be written where a local part goes on.
WRITTEN = {"bare": "{}x", "quoted pair": "\\{}x", "in quotes": '"{}x"', "quoted pair in quotes": '"\\{}x"'}
RECIPIENTS = {
    # Quotes are around the whole local part.
    "a mailbox": "ali{}ce@example.org",
    "a mailbox, after the delimiter": "alice+{}@example.org",
    "an alias, after the delimiter": "info+{}@example.org",
}
HONEST_RECIPIENTS = (
    "<alice@example.org>", "<ALICE@Example.ORG>", '<"alice"@example.org>', "<alice+a/b@example.org>",
    "<alice+..@example.org>", "<alice+@example.org>", '<"alice+a b"@example.org>', '<"alice+a\\ b"@example.org>',
    "<alice+a+b@example.org>", "<alice+$#*@example.org>", "<alice+b=example.net@example.org>", "<info+a@example.org>",
    '<"info+a b"@example.org>', "<postmaster>",
)  # fmt: skip
HONEST_SENDERS = (
    "<>", "<carol@sender.example>", "<carol+a@sender.example>", '<"carol of sender"@sender.example>',
    '<"carol,"@sender.example>', '<"c\\"o"@sender.example>', "<SRS0=HHH=TT=example.net=dave@sender.example>",
    "<prvs=0123abcdef=carol@sender.example>", "<list-bounces+alice=example.org@sender.example>",
    "<bounce-1_2.3-alice=example.org@sender.example>", "<o'neill@sender.example>", "<a/b=c@sender.example>",
    "<müller@sender.example>", "<用户@sender.example>", "<carol@sender.example> BODY=8BITMIME SIZE=1000",
)  # fmt: skip
DECIDED = ("250", "501", "550", "553", "554")
FROM, TO = "MAIL FROM:<carol@sender.example>", "RCPT TO:<alice@example.org>"


def spelled(where: str, form: str, octet: int) -> str:
    """The octet, written in this way, within the local part of an address."""
    before, after = where.split("{}")
    letter = bytes([octet]).decode("ascii", "surrogateescape")
    if "quotes" not in form:
        return before + WRITTEN[form].format(letter) + after
    rest, domain = after.split("@")
    return f'"{before}{WRITTEN[form][1:-1].format(letter)}{rest}"@{domain}'


@pytest.fixture
def ask(lab, mail, gateway, header):
    """ask({case: [line, line]}): {case: (its Message-ID, the reply)}, from the VPN, which has no limits."""

    def decide(cases):
        marks = {mail.new_id(): case for case in cases}
        order = {
            "host": gateway.mail_vpn_address,
            "header": header,
            "envelopes": {m: cases[c] for m, c in marks.items()},
        }
        replies = lab.client.python("envelopes.py", order)
        assert replies.keys() == marks.keys()
        return {case: (mark, replies[mark]) for mark, case in marks.items()}

    return decide


@pytest.fixture
def all_arrive(mail, gateway, wait):
    """all_arrive(answers): nothing of what was taken waits in the queue, and each came once."""

    def check(answers):
        taken = {mark: reply.split()[-1] for mark, reply in answers.values() if reply.startswith("250 ")}
        wait(lambda: 0 not in mail.arrived([*taken], "alice@example.org").values() or waiting(taken), 60, "the mail")
        assert waiting(taken) == []
        names = {mark: case for case, (mark, _reply) in answers.items()}
        copies = mail.arrived([*taken], "alice@example.org")
        assert {names[mark]: count for mark, count in copies.items() if count != 1} == {}
        return len(taken)

    def waiting(taken):
        """What the mail host did not take: it says so at once."""
        return [one for one in gateway.queue() if one["queue_id"] in taken.values() and one["queue_name"] == "deferred"]

    return check


def decided(answers):
    """The answers, if each is a word that holds: taken, or refused for good."""
    assert {case: reply for case, (_mark, reply) in answers.items() if reply[:3] not in DECIDED} == {}
    return answers


def test_each_octet_in_a_recipient_is_refused_or_arrives(ask, all_arrive):
    cases = {
        (name, form, octet): [FROM, f"RCPT TO:<{spelled(where, form, octet)}>"]
        for name, where in RECIPIENTS.items()
        for form in WRITTEN
        for octet in OCTETS
    }
    assert all_arrive(decided(ask(cases))) > 200


def test_each_octet_in_a_sender_is_refused_or_arrives(ask, all_arrive):
    cases = {
        (form, octet): [f"MAIL FROM:<{spelled('ca{}rol@sender.example', form, octet)}>", TO]
        for form in WRITTEN
        for octet in OCTETS
    }
    assert all_arrive(decided(ask(cases))) > 100


def test_honest_envelopes_are_taken(ask, all_arrive):
    cases = {recipient: [FROM, f"RCPT TO:{recipient}"] for recipient in HONEST_RECIPIENTS}
    cases |= {f"from {sender}": [f"MAIL FROM:{sender}", TO] for sender in HONEST_SENDERS}
    answers = ask(cases)
    assert {case: reply for case, (_mark, reply) in answers.items() if not reply.startswith("250 ")} == {}
    assert all_arrive(answers) == len(cases)
