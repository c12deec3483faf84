"""Inbound mail, from a stranger's point of view: who gets a 250, who does not, and where the mail is then."""

import pytest
from lab.mail import ENDINGS

FAMILIES = ("mail_ipv4", "mail_ipv6")
HELLO = ("EHLO internet.sender.example", "MAIL FROM:<carol@sender.example>")


@pytest.fixture(params=FAMILIES)
def address(request, gateway):
    return getattr(gateway, request.param)


@pytest.mark.enforcing
def test_known_recipient_gets_the_message(mail, address):
    message_id = mail.send(address, "alice@example.org")
    assert "hello" in mail.wait_for("alice@example.org", message_id)


def test_alias_arrives_where_it_points_and_nowhere_else(mail, address):
    message_id = mail.send(address, "info@example.org")
    mail.wait_for("alice@example.org", message_id)
    assert mail.copies("bob@example.org", message_id) == []


def test_detail_after_the_delimiter_reaches_the_mailbox(mail, address):
    mail.wait_for("bob@example.org", mail.send(address, "bob+list@example.org"))


def test_two_recipients_get_one_copy_each(mail, address):
    message_id = mail.send(address, "alice@example.org", "bob@example.org")
    mail.wait_for("alice@example.org", message_id)
    mail.wait_for("bob@example.org", message_id)


@pytest.mark.parametrize("local_part", ["postmaster", "abuse"])
def test_addresses_that_rfc_2142_wants_arrive(mail, address, gateway, local_part):
    for domain in ("example.org", gateway.name):
        mail.wait_for("alice@example.org", mail.send(address, f"{local_part}@{domain}"))


def test_bare_postmaster_arrives(mail, address):
    mail.wait_for("alice@example.org", mail.send(address, "postmaster"))


def test_mail_from_the_null_sender_arrives(mail, address):
    mail.wait_for("alice@example.org", mail.send(address, "alice@example.org", sender=""))


@pytest.mark.enforcing
@pytest.mark.parametrize(
    ("recipient", "reply"),
    [
        ("nobody-here@example.org", "550 5.1.1 <nobody-here@example.org>"),
        ("alice@sub.example.org", "554 5.7.1 <alice@sub.example.org>"),
        ("dave@example.net", "554 5.7.1 <dave@example.net>"),
        ("dave%example.net@example.org", "554 5.7.1 <dave%example.net@example.org>"),
        ("@sender.example:dave@example.net", "554 5.7.1 <"),
        ("dave@example.net@example.org", "554 5.7.1 <dave@example.net@example.org>"),
    ],
)
def test_others_are_refused_at_rcpt(smtp, address, recipient, reply):
    replies = smtp(address, *HELLO, f"RCPT TO:<{recipient}>", "RCPT TO:<alice@example.org>", "QUIT")
    assert replies[3].startswith(reply)
    assert replies[4].startswith("250 ")  # the control: the same session may still write to alice


def test_own_names_know_their_aliases_only(smtp, address, gateway):
    replies = smtp(address, *HELLO, f"RCPT TO:<alice@{gateway.name}>", f"RCPT TO:<root@[{gateway.mail_ipv4}]>", "QUIT")
    assert replies[3].startswith("550 5.1.1 ")
    assert replies[4].startswith("550 5.1.1 ")


def test_nothing_relays_even_from_the_vpn(lab, smtp, gateway):
    replies = smtp(gateway.mail_vpn_address, *HELLO, "RCPT TO:<dave@example.net>", "QUIT", client=lab.client)
    assert replies[3].startswith("554 5.7.1 ")


def test_sender_checks_bind_strangers_and_not_the_vpn(lab, smtp, gateway):
    lines = ("HELO helo", "MAIL FROM:<dave@no-such.example>", "RCPT TO:<alice@example.org>", "QUIT")
    assert smtp(gateway.mail_ipv4, *lines)[3].startswith("504 5.5.2 ")
    assert smtp(gateway.mail_vpn_address, *lines, client=lab.client)[3].startswith("250 ")
    good_helo = ("HELO internet.sender.example", *lines[1:])
    assert smtp(gateway.mail_ipv4, *good_helo)[3].startswith("450 4.1.8 ")
    assert smtp(gateway.mail_vpn_address, *good_helo, client=lab.client)[3].startswith("250 ")


def test_end_of_data_that_is_none_makes_no_second_message(mail, smtp, gateway, header):
    """What follows a malformed end of data must not become a message of its own."""
    markers = {}
    for ending in ENDINGS:
        markers[ending] = mail.new_id()
        text = (
            f"{header}Message-ID: {mail.new_id()}\r\n\r\nfirst{ending}"
            "MAIL FROM:<forged@sender.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
            f"{header}Message-ID: {markers[ending]}\r\n\r\nsecond\r\n.\r\n"
        )
        replies = smtp(gateway.mail_ipv4, *HELLO, "RCPT TO:<alice@example.org>", "DATA", {"raw": text}, "QUIT")
        assert replies[4].startswith("354 ")
        assert len(replies) == 7, (ending, replies)  # one reply to all of the text
    mail.wait_for("bob@example.org", mail.send(gateway.mail_ipv4, "bob@example.org"))  # the control
    arrived = mail.arrived(list(markers.values()))
    assert [ending for ending in ENDINGS if arrived[markers[ending]]] == []


def test_nothing_bounced(lab, gateway, wait):
    wait(lambda: gateway.queue() == [], 30, "an empty queue")
    log = gateway.mail_log()
    assert "status=sent" in log
    assert "status=bounced" not in log
