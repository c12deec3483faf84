"""The columns for awstats, from lines as Postfix 3.5 to 3.10 writes them."""

from __future__ import annotations

import datetime
import re
import time

import maillog
import pytest

NOW = datetime.date(2026, 11, 26)
HEAD = "Nov 26 10:00:00 mx1 postfix"
ACCEPTED = [
    f"{HEAD}/smtpd[1]: 4dFx2B1zXyz3: client=out.example[198.51.100.66]",
    f"{HEAD}/cleanup[2]: 4dFx2B1zXyz3: message-id=<1@sender.example>",
    f"{HEAD}/qmgr[3]: 4dFx2B1zXyz3: from=<carol@sender.example>, size=1234, nrcpt=1 (queue active)",
]
DELIVERED = (
    f"{HEAD}/lmtp[4]: 4dFx2B1zXyz3: to=<alice@example.org>, relay="
    "mx1.example.org[/run/gatehouse-lmtp/store.example.org], delay=0.2, delays=0/0/0/0, "
    "dsn=2.0.0, status=sent (250 2.0.0 <alice@example.org> abc Saved)"
)
REMOVED = f"{HEAD}/qmgr[3]: 4dFx2B1zXyz3: removed"


def read(*lines, now=NOW):
    """What awstats would read, without the time; nothing was left unread."""
    unread = maillog.Unread()
    found = [str(record).split(" ", 2)[2] for record in maillog.records(lines, now, unread)]
    assert unread.lines == []
    return found


def test_a_message_is_one_line_when_it_is_handed_over():
    assert read(*ACCEPTED, DELIVERED, REMOVED) == [
        "carol@sender.example alice@example.org out.example[198.51.100.66] "
        "mx1.example.org[/run/gatehouse-lmtp/store.example.org] SMTP - 250 1234"
    ]


def test_the_time_has_its_year():
    (record,) = maillog.records([*ACCEPTED, DELIVERED], NOW, maillog.Unread())
    assert str(record).startswith("2026-11-26 10:00:00 ")


YEARS = {
    "today": (11, 26, NOW, 2026),
    "a clock that is a little behind": (11, 27, NOW, 2026),
    "December in January": (12, 31, datetime.date(2027, 1, 1), 2026),
    "January in January": (1, 1, datetime.date(2027, 1, 1), 2027),
    "a leap day in a year that has none": (2, 29, datetime.date(2029, 1, 5), 2028),
}


@pytest.mark.parametrize("month, day, now, year", YEARS.values(), ids=YEARS)
def test_a_stamp_is_of_the_last_year_in_which_it_can_be(month, day, now, year):
    assert maillog.year_of(month, day, now) == year


def test_two_recipients_are_two_lines_and_a_null_sender_is_named():
    second = DELIVERED.replace("to=<alice@example.org>", "to=<bob@example.org>, orig_to=<team@example.org>")
    bounce = [line.replace("from=<carol@sender.example>", "from=<>") for line in ACCEPTED]
    assert [line.split()[:2] for line in read(*bounce, DELIVERED, second, REMOVED)] == [
        ["<>", "alice@example.org"],
        ["<>", "bob@example.org"],
    ]


def test_what_waits_is_counted_once_and_once_more_when_it_arrives():
    waits = re.sub(r"dsn=.*", "dsn=4.4.1, status=deferred (connect to 10.8.0.31[10.8.0.31]:24: refused)", DELIVERED)
    said = re.sub(r"dsn=.*", "dsn=4.2.2, status=deferred (host 10.8.0.31[10.8.0.31] said: 452 4.2.2 full)", DELIVERED)
    other = said.replace("alice@", "bob@")
    lines = read(*ACCEPTED, waits, waits, other, DELIVERED, REMOVED)
    assert [(line.split()[1], line.split()[-2]) for line in lines] == [
        ("alice@example.org", "451"), ("bob@example.org", "452"), ("alice@example.org", "250")
    ]  # fmt: skip


def test_what_expires_is_given_up_for_who_still_waits():
    waits = re.sub(r"dsn=.*", "dsn=4.4.1, status=deferred (no route)", DELIVERED)
    bob = DELIVERED.replace("alice@", "bob@")
    expired = f"{HEAD}/qmgr[3]: 4dFx2B1zXyz3: from=<carol@sender.example>, status=expired, returned to sender"
    assert [line.split()[1:8:5] for line in read(*ACCEPTED, waits, bob, expired, REMOVED)] == [
        ["alice@example.org", "451"], ["bob@example.org", "250"], ["alice@example.org", "554"]
    ]  # fmt: skip


REFUSALS = {
    "an unknown recipient": (
        "/smtpd[1]: NOQUEUE: reject: RCPT from out.example[198.51.100.66]: 550 5.1.1 <who@example.org>: Recipient "
        "address rejected: User unknown in relay recipient table; from=<carol@sender.example> to=<who@example.org> "
        "proto=ESMTP helo=<out.example>",
        "carol@sender.example who@example.org out.example[198.51.100.66] - SMTP - 550 0",
    ),
    "the greylist, an IPv6 client, and a null sender": (
        "/smtpd[1]: NOQUEUE: reject: RCPT from unknown[2001:db8::66]: 450 4.2.0 <alice@example.org>: Recipient address "
        "rejected: Greylisted; from=<> to=<alice@example.org> proto=ESMTP helo=<x>",
        "<> alice@example.org unknown[2001:db8::66] - SMTP - 450 0",
    ),
    "postscreen": (
        "/postscreen[1]: NOQUEUE: reject: RCPT from [198.51.100.66]:41234: 550 5.7.1 Service unavailable; client "
        "[198.51.100.66] blocked using bl.example; from=<carol@sender.example>, to=<alice@example.org>, proto=ESMTP, "
        "helo=<x>",
        "carol@sender.example alice@example.org [198.51.100.66] - SMTP - 550 0",
    ),
    "a milter, of the message": (
        "/cleanup[1]: 4dFx2B1zXyz3: milter-reject: END-OF-MESSAGE from out.example[198.51.100.66]: 5.7.1 rejected "
        "by DMARC policy of brand.example; from=<carol@sender.example> to=<alice@example.org> proto=ESMTP helo=<x>",
        "carol@sender.example alice@example.org out.example[198.51.100.66] - SMTP - 550 0",
    ),
    "a milter that is away": (
        "/smtpd[1]: NOQUEUE: milter-reject: MAIL from out.example[198.51.100.66]: 451 4.7.1 Service unavailable - "
        "try again later; from=<carol@sender.example> proto=SMTP helo=<x>",
        "carol@sender.example - out.example[198.51.100.66] - SMTP - 451 0",
    ),
    "a table of cleanup": (
        "/cleanup[1]: 4dFx2B1zXyz3: reject: header Subject: x from y[192.0.2.1]; from=<> to=<>: 5.7.1 z from "
        "out.example[198.51.100.66]; from=<carol@sender.example> to=<alice@example.org> proto=ESMTP helo=<x>: 5.7.1 "
        "a: disallowed character",
        "carol@sender.example alice@example.org out.example[198.51.100.66] - SMTP - 550 0",
    ),
    "at submission": (
        "/submission/smtpd[1]: NOQUEUE: reject: RCPT from client.example.org[10.8.0.41]: 553 5.7.1 <eve@example.org>: "
        "Sender address rejected: not owned by user bob@example.org; from=<eve@example.org> to=<x@sender.example> "
        "proto=ESMTP helo=<client>",
        "eve@example.org x@sender.example client.example.org[10.8.0.41] - SMTP - 553 0",
    ),
}


@pytest.mark.parametrize("said, columns", REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_one_line(said, columns):
    assert read(HEAD + said) == [columns]


def test_what_is_no_business_of_awstats_is_passed_over():
    assert (
        read(
            f"{HEAD}/smtpd[1]: NOQUEUE: milter-reject: EHLO from x[192.0.2.1]: 451 4.7.1 later; proto=SMTP helo=<x>",
            f"{HEAD}/smtpd[1]: connect from out.example[198.51.100.66]",
            f"{HEAD}/smtpd[1]: disconnect from out.example[198.51.100.66] ehlo=1 quit=1",
            f"{HEAD}/smtpd[1]: NOQUEUE: reject_warning: RCPT from x[192.0.2.1]: 550 no; from=<> to=<> proto=SMTP",
            "Nov  6 10:00:00 mx1 dovecot: imap-login: Login: user=<alice@example.org>",
            "Nov  6 10:00:00 mx1 spamd[77]: prefork: child states: II",
        )
        == []
    )


CUT = {
    "the beginning": DELIVERED[20:],
    "the end": DELIVERED[: DELIVERED.index("dsn=")],
    "no date": "Nov 31 " + DELIVERED[7:],
    "a refusal without its end": HEAD + "/smtpd[1]: NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 550 5.1.1 <x",
}


@pytest.mark.parametrize("line", CUT.values(), ids=CUT)
def test_a_line_that_cannot_be_read_is_counted_and_named(line):
    unread = maillog.Unread()
    found = list(maillog.records([*ACCEPTED, line, DELIVERED], NOW, unread))
    assert (unread.count, unread.lines) == (1, [line])
    assert len(found) == 1


@pytest.mark.parametrize(
    "address",
    ["<script>alert(1)</script>@x", 'a"b@x', "a b@x", "é@x", "x&y@x", "a>, size=1, nrcpt=1@x", "]: 5.7.1 x; from=<y"],
)
def test_nobody_writes_other_columns_or_markup_by_an_address(address):
    sent = HEAD + (
        f"/smtpd[1]: NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 550 5.1.1 <{address}>: Recipient address rejected: "
        f"User unknown; from=<{address}> to=<{address}> proto=ESMTP helo=<{address}>"
    )
    unread = maillog.Unread()
    for record in maillog.records([sent], NOW, unread):
        columns = str(record).split(" ")
        assert len(columns) == 10
        assert columns[4] == "unknown[192.0.2.1]"
        assert columns[6:] == ["SMTP", "-", "550", "0"]
        assert not set("<>\"'&") & set(str(record))


REFUSAL = HEAD + "/smtpd[1]: NOQUEUE: reject: RCPT from "
FILTERED = HEAD + "/cleanup[1]: 4dFx2B1zXyz3: reject: header "
LONG = {
    "addresses in a reply": REFUSAL + "x[192.0.2.1]: 550 " + "; from=<> to=<" * 600,
    "a sender": REFUSAL + "x[192.0.2.1]: 550 x; from=<" + ">, to=<" * 1000,
    "brackets": REFUSAL + "[" * 8000,
    "hosts": REFUSAL + "[x" * 4000 + "]",
    "a header": FILTERED + " from x[192.0.2.1]; from=<" * 400,
    "a HELO": FILTERED + " from x[192.0.2.1]; from=<> to=<> proto=x helo=<" * 200,
    "a recipient": DELIVERED[: DELIVERED.index("to=<") + 4] + ">, orig_to=<" * 600,
    "colons": REFUSAL + ": x" * 40,
    "a megabyte": REFUSAL + "x" * 1_000_000,
}


@pytest.mark.parametrize("line", LONG.values(), ids=LONG)
def test_a_line_that_is_made_to_last_takes_no_time(line):
    started = time.process_time()
    list(maillog.records([line], NOW, maillog.Unread()))
    assert time.process_time() - started < 0.3  # a tenth of it on a machine that is not busy


def test_it_remembers_no_more_than_it_may(monkeypatch):
    monkeypatch.setattr(maillog, "REMEMBERED", 10)
    lines = [f"{HEAD}/smtpd[1]: {number:012X}: client=x[192.0.2.1]" for number in range(1000)]
    late = DELIVERED.replace("4dFx2B1zXyz3", f"{999:012X}")
    (line,) = read(*lines, late)
    assert line.split()[2] == "x[192.0.2.1]"
