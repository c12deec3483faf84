"""The gateways refuse the same things with the same words: dialogues and what a stranger is told at their end."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

EHLO = "EHLO internet.sender.example"
FROM = "MAIL FROM:<carol@sender.example>"
TO = "RCPT TO:<alice@example.org>"
MANY = ["RCPT TO:<alice@example.org>"] * 201

# {what is tried: ([line, ...], how the reply to the last line begins)}
DIALOGUES = {
    "no HELO": ([FROM], "503 5.5.1"),
    "HELO without a name": (["HELO"], "501"),
    "HELO that is no name": (["HELO in_valid!", FROM, TO], "501 5.5.2"),
    "HELO that is not fully qualified": (["HELO host", FROM, TO], "504 5.5.2"),
    "HELO that is an address without brackets": (["HELO 203.0.113.66", FROM, TO], "504 5.5.2"),
    "HELO twice": ([EHLO, EHLO, FROM, FROM], "503 5.5.1"),
    "EHLO": ([EHLO], "250 8BITMIME"),
    "no sender": ([EHLO, TO], "503 5.5.1"),
    "no recipient": ([EHLO, FROM, "DATA"], "554 5.5.1"),
    "sender without a domain": ([EHLO, "MAIL FROM:<carol>", TO], "504 5.5.2"),
    "sender that is not fully qualified": ([EHLO, "MAIL FROM:<carol@sender>", TO], "504 5.5.2"),
    "sender of no domain": ([EHLO, "MAIL FROM:<carol@no-such.example>", TO], "450 4.1.8"),
    "sender without brackets": ([EHLO, "MAIL FROM:carol@sender.example"], "501 5.1.7"),
    "sender with a phrase": ([EHLO, "MAIL FROM:Carol <carol@sender.example>"], "501 5.1.7"),
    "sender by route": ([EHLO, "MAIL FROM:<@a.example,@b.example:carol@sender.example>"], "501"),
    "sender by route, in disguise": ([EHLO, "mail  from : < @a.example:carol@sender.example> SIZE=9"], "501"),
    "sender with an unknown parameter": ([EHLO, FROM + " FOO=BAR"], "555 5.5.4"),
    "sender that wants SMTPUTF8": ([EHLO, FROM + " SMTPUTF8"], "555 5.5.4"),
    "sender that announces too much": ([EHLO, FROM + " SIZE=999999999"], "552 5.3.4"),
    "null sender to many": ([EHLO, "MAIL FROM:<>", TO, "RCPT TO:<bob@example.org>", "DATA"], "550 5.5.3"),
    "unknown recipient": ([EHLO, FROM, "RCPT TO:<nobody-here@example.org>"], "550 5.1.1"),
    "recipient of another domain": ([EHLO, FROM, "RCPT TO:<dave@elsewhere.example>"], "554 5.7.1"),
    "recipient of a subdomain": ([EHLO, FROM, "RCPT TO:<alice@sub.example.org>"], "554 5.7.1"),
    "recipient by percent": ([EHLO, FROM, "RCPT TO:<dave%elsewhere.example@example.org>"], "554 5.7.1"),
    "recipient by bang": ([EHLO, FROM, "RCPT TO:<elsewhere.example!dave@example.org>"], "554 5.7.1"),
    "recipient by route": ([EHLO, FROM, "RCPT TO:<@example.org:dave@elsewhere.example>"], "554 5.7.1"),
    "recipient at a bare name": ([EHLO, FROM, "RCPT TO:<dave@elsewhere>"], "554 5.7.1"),
    "recipient at loopback": ([EHLO, FROM, "RCPT TO:<root@[127.0.0.1]>", "RCPT TO:<root@localhost>"], "554 5.7.1"),
    "recipient without brackets": ([EHLO, FROM, "RCPT TO:alice@example.org"], "501 5.1.3"),
    "recipient that is empty": ([EHLO, FROM, "RCPT TO:<>"], "501 5.1.3"),
    "too many recipients": ([EHLO, FROM, *MANY], "452 4.5.3"),
    "too many errors": ([EHLO, *["VRFY alice"] * 11], "421 4.7.0"),
    "VRFY": ([EHLO, "VRFY alice"], "502 5.5.1"),
    "EXPN": ([EHLO, "EXPN alice"], "500 5.5.2"),
    "ETRN": ([EHLO, "ETRN example.org"], "554 5.7.1"),
    "HELP": ([EHLO, "HELP"], "500 5.5.2"),
    "BDAT": ([EHLO, FROM, TO, "BDAT 5 LAST"], "521 5.5.1"),
    "AUTH": ([EHLO, "AUTH PLAIN AGFsaWNlAHNlY3JldA=="], "503 5.5.1"),
    "pipelining before it is offered": ([{"raw": EHLO + "\r\n" + FROM + "\r\n"}], "554 5.5.0"),
    "pipelining past DATA": ([EHLO, FROM, TO, {"raw": "DATA\r\nhello\r\n.\r\n"}], "554 5.5.0"),
    "HTTP": (["GET / HTTP/1.1"], "221 2.7.0"),
}


def transcript(smtp, gateway, lines):
    """The replies with the gateway's own name and addresses taken out."""
    replies = smtp(gateway.mail_ipv4, *lines)
    text = "\n".join(replies).replace(gateway.name, "GATEWAY").replace(gateway.mail_ipv4, "ADDRESS")
    # Postfix 3.10 says what it knows, and those before it that they do not know HELP.
    text = re.sub(r"^214 2\.0\.0 Commands: .*", "500 5.5.2 Error: command not recognized", text, flags=re.MULTILINE)
    return re.sub(r"queued as \w+", "queued as ID", text)


@pytest.mark.parametrize("name", DIALOGUES)
def test_every_gateway_says_the_same(lab, smtp, name):
    lines, told = DIALOGUES[name]
    with ThreadPoolExecutor() as pool:  # some dialogues are slow, since mistakes are answered late
        first, *others = pool.map(lambda gateway: transcript(smtp, gateway, lines), lab.gateways)
    assert first.splitlines()[-1].startswith(told), first
    assert others == [first] * len(others)


def test_there_are_two_gateways_to_compare(lab):
    assert len(lab.gateways) >= 2


def test_a_different_policy_would_be_seen(lab, smtp):
    """The control: one parameter changed on the last gateway alone makes the transcripts differ."""
    first, last = lab.gateways[0], lab.gateways[-1]
    last.out("postconf", "-e", "disable_vrfy_command = no")
    last.reload_postfix()
    try:
        lines = [EHLO, "VRFY alice@example.org"]
        assert transcript(smtp, first, lines) != transcript(smtp, last, lines)
    finally:
        last.out("cp", "/etc/postfix/candidate/main.cf", "/etc/postfix/main.cf")
        last.reload_postfix()
