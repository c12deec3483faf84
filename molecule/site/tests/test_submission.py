"""Submission: only over TLS, only after a login, only as oneself, only from the VPN."""

from __future__ import annotations

import base64

import pytest
from lab.mail import LOGIN

PORT = 32841
HELLO = "EHLO client.example.org"
TO_THE_WORLD = "RCPT TO:<dave@sender.example>"


def plain(login, password):
    return "AUTH PLAIN " + base64.b64encode(f"\0{login}\0{password}".encode()).decode()


@pytest.fixture(scope="module")
def passwords(vault):
    return vault["vault_mail_login_passwords"]


@pytest.fixture
def submit(lab, smtp, gateway, passwords):
    """submit(login, line, ...): the last reply line to each line after the login."""

    def hold(login, *lines):
        before = (HELLO, "STARTTLS", HELLO, plain(login, passwords[login]))
        replies = smtp(gateway.mail_vpn_address, *before, *lines, client=lab.client, port=PORT)
        assert replies[4].startswith("235 "), replies
        return replies[5:]

    return hold


def test_nothing_goes_before_starttls(lab, smtp, gateway, passwords):
    lines = (HELLO, plain("alice@example.org", passwords["alice@example.org"]), "MAIL FROM:<alice@example.org>", "QUIT")
    replies = smtp(gateway.mail_vpn_address, *lines, client=lab.client, port=PORT)
    assert [reply[:3] for reply in replies[2:4]] == ["530", "530"]


def test_what_is_offered(lab, gateway):
    """Before TLS no AUTH at all; after it PLAIN and LOGIN, and neither CRAM-MD5 nor DIGEST-MD5."""
    order = {"host": gateway.mail_vpn_address, "port": PORT, "send": [HELLO, "STARTTLS", HELLO, "QUIT"]}
    dialogue = lab.client.python("smtp_client.py", order)
    clear, tls = dialogue[1][1], dialogue[3][1]
    assert not [line for line in clear if "AUTH" in line]
    assert [sorted(line.split()[1:]) for line in tls if "AUTH" in line] == [["LOGIN", "PLAIN"]]


def test_port_25_takes_no_login(lab, smtp, gateway, passwords):
    lines = (HELLO, "STARTTLS", HELLO, plain("alice@example.org", passwords["alice@example.org"]), "QUIT")
    assert smtp(gateway.mail_vpn_address, *lines, client=lab.client)[4].startswith("503 ")


def test_wrong_password_is_refused_and_logged(lab, smtp, gateway, wait):
    lines = (HELLO, "STARTTLS", HELLO, plain("alice@example.org", "correct horse alice guesses"), "QUIT")
    assert smtp(gateway.mail_vpn_address, *lines, client=lab.client, port=PORT)[4].startswith("535 ")
    told = "postfix/submission/smtpd"
    wait(
        lambda: [
            line
            for line in gateway.mail_log().splitlines()
            if told in line and "authentication failed" in line and lab.client.lab_vpn_address in line
        ],
        20,
        "a line about the wrong password",
    )


def test_without_a_login_nothing_is_taken(lab, smtp, gateway):
    lines = (HELLO, "STARTTLS", HELLO, "MAIL FROM:<alice@example.org>", "RCPT TO:<bob@example.org>", "QUIT")
    assert smtp(gateway.mail_vpn_address, *lines, client=lab.client, port=PORT)[5].startswith("554 5.7.1 ")


@pytest.mark.enforcing
@pytest.mark.parametrize(
    ("login", "sender", "code"),
    [
        ("alice@example.org", "alice@example.org", "250"),
        ("alice@example.org", "alice+shop@example.org", "250"),
        ("alice@example.org", "", "250"),  # a notice of her program's
        ("alice@example.org", "bob@example.org", "553"),
        ("alice@example.org", "nobody-here@example.org", "553"),
        ("alice@example.org", "alice@sender.example", "553"),
        ("alice@example.org", "alice", "504"),
        ("store@example.org", "alice@example.org", "250"),  # may send for its whole domain
        ("store@example.org", "news@example.org", "250"),
        ("store@example.org", "carol@sender.example", "553"),
    ],
)
def test_a_login_uses_its_own_senders_only(submit, login, sender, code):
    assert submit(login, f"MAIL FROM:<{sender}>", TO_THE_WORLD, "QUIT")[1][:3] == code


def test_recipients_that_cannot_be_are_refused_at_once(submit):
    replies = submit(
        "alice@example.org",
        "MAIL FROM:<alice@example.org>",
        "RCPT TO:<nobody-here@example.org>",
        "RCPT TO:<dave@no-such.example>",
        "RCPT TO:<bob@example.org>",
        TO_THE_WORLD,
        "QUIT",
    )
    assert [reply[:3] for reply in replies[1:5]] == ["550", "450", "250", "250"]


def test_nobody_answers_on_the_internet(lab, gateway):
    """Neither at the public address nor, from outside, at all; on the VPN, the control, somebody does."""
    knock = "timeout 3 bash -c 'head -1 < /dev/tcp/{}/{}'"
    for address in (gateway.mail_ipv4, gateway.mail_ipv6):
        assert "220 " not in lab.internet.run("sh", "-c", knock.format(address, PORT), check=False).stdout
        assert "220 " in lab.internet.out("sh", "-c", knock.format(address, 25))
    assert "220 " in lab.client.out("sh", "-c", knock.format(gateway.mail_vpn_address, PORT))
    listening = gateway.out("ss", "--no-header", "--listening", "--tcp", "--numeric", f"sport = :{PORT}").split()
    assert f"{gateway.mail_vpn_address}:{PORT}" in listening
    assert not [word for word in listening if word.endswith(f":{PORT}") and gateway.mail_vpn_address not in word]


def test_odd_line_ends_leave_as_one_message_or_not_at_all(published, submit, as_one):
    assert "\r\n..\r\n" in as_one(lambda lines: submit(LOGIN, *lines))
