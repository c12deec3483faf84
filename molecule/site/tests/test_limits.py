"""How much one client may do at a time: limits that strangers meet, and neither the VPN nor the other gateways do."""

import base64
import json

import pytest

# Hold several connections at once: standard input is {"host", "count"}; standard output is the greeting of each.
CROWD = """
import json, socket, sys
order = json.load(sys.stdin)
crowd = [socket.create_connection((order["host"], 25), timeout=20) for _number in range(order["count"])]
print(json.dumps([one.makefile().readline().strip() for one in crowd]))
"""
HELLO = ("EHLO internet.sender.example", "MAIL FROM:<carol@sender.example>")
TO = "RCPT TO:<bob@example.org>"


@pytest.fixture
def limited(gateway):
    """limited(name=value, ...): lower limits on the gateway until the test is over; the lab's own are out of reach."""

    def lower(service="", **parameters):
        change = ("-P", f"{service}/") if service else ("-e", "")
        gateway.out("postconf", change[0], *(f"{change[1]}{name}={value}" for name, value in parameters.items()))
        gateway.reload_postfix()

    yield lower
    for name in ("main.cf", "master.cf"):
        gateway.out("cp", f"/etc/postfix/candidate/{name}", f"/etc/postfix/{name}")
    gateway.reload_postfix()


def crowd(host, address, count):
    return json.loads(host.out("python3", "-c", CROWD, given=json.dumps({"host": address, "count": count})))


def test_connections_at_a_time(lab, gateway, limited):
    limited(smtpd_client_connection_count_limit=2)
    greetings = sorted(crowd(lab.internet, gateway.mail_ipv4, 4))
    assert [greeting[:9] for greeting in greetings[2:]] == ["421 4.7.0"] * 2
    assert greetings[:2] == [f"220 {gateway.name} ESMTP"] * 2
    assert crowd(lab.client, gateway.mail_vpn_address, 4) == [f"220 {gateway.name} ESMTP"] * 4


def test_connections_in_a_minute(lab, gateway, smtp, limited):
    limited(smtpd_client_connection_rate_limit=2)
    told = [smtp(gateway.mail_ipv4, "QUIT")[0][:9] for _number in range(4)]
    assert told[-1] == "421 4.7.0"
    others = [host for host in lab.gateways if host is not gateway]
    for friend, address in [(lab.client, gateway.mail_vpn_address), *((host, gateway.mail_ipv4) for host in others)]:
        for _number in range(4):
            assert smtp(address, "QUIT", client=friend)[0].startswith("220 ")


def test_messages_in_a_minute(lab, gateway, smtp, limited):
    limited(smtpd_client_message_rate_limit=2)
    lines = [HELLO[0], *(line for _number in range(4) for line in (HELLO[1], "RSET"))]
    assert smtp(gateway.mail_ipv4, *lines)[-2].startswith("450 4.7.1 ")
    assert smtp(gateway.mail_vpn_address, *lines, client=lab.client)[-2].startswith("250 ")


def test_recipients_in_a_minute(lab, gateway, smtp, limited):
    limited(smtpd_client_recipient_rate_limit=2)
    assert smtp(gateway.mail_ipv4, *HELLO, *[TO] * 4)[-1].startswith("450 4.7.1 ")
    assert smtp(gateway.mail_vpn_address, *HELLO, *[TO] * 4, client=lab.client)[-1].startswith("250 ")


def test_new_tls_sessions_in_a_minute(lab, gateway, smtp, limited):
    limited(smtpd_client_new_tls_session_rate_limit=1)
    for client, address, code in (
        (lab.internet, gateway.mail_ipv4, "454 "),
        (lab.client, gateway.mail_vpn_address, "220 "),
    ):
        told = [smtp(address, HELLO[0], "STARTTLS", "QUIT", client=client)[2] for _number in range(3)]
        assert told[0].startswith("220 ")
        assert told[-1].startswith(code)


def test_guesses_of_a_password_in_a_minute(lab, gateway, smtp, limited):
    """The one limit that the VPN meets, and only on the port of submission."""
    limited(f"{gateway.mail_vpn_address}:32841/inet", smtpd_client_auth_rate_limit=2)
    guess = "AUTH PLAIN " + base64.b64encode(b"\0alice@example.org\0wrong").decode()
    lines = ("EHLO client.example.org", "STARTTLS", "EHLO client.example.org", guess, guess, guess)
    told = smtp(gateway.mail_vpn_address, *lines, client=lab.client, port=32841)
    assert [line[:3] for line in told[-3:]] == ["535", "535", "450"]
    assert "too many AUTH commands" in told[-1]


def test_size_that_was_not_announced(lab, gateway, smtp):
    """Announced sizes are in test_one_policy. The text is one octet too long."""
    size = int(gateway.out("postconf", "-h", "message_size_limit"))
    text = {"raw": ("x" * 78 + "\r\n") * (size // 80 + 1) + ".\r\n"}
    replies = smtp(gateway.mail_ipv4, *HELLO, TO, "DATA", text, "QUIT")
    assert replies[4].startswith("354 ")
    assert replies[5].startswith("552 5.3.4 ")


@pytest.fixture
def everyone(gateway):
    """An alias of 1,200 targets, beside the site's own; nothing is delivered to them, and what is queued is deleted."""
    targets = ", ".join(f"target-{number}@sender.example" for number in range(1200))
    gateway.out("tee", "/etc/postfix/everyone", given=f"everyone@example.org {targets}\n")
    gateway.out("postmap", "lmdb:/etc/postfix/everyone")
    yield "lmdb:/etc/postfix/virtual_alias, lmdb:/etc/postfix/everyone"
    gateway.out("sh", "-c", "postsuper -d ALL && rm /etc/postfix/everyone*")


def test_an_alias_reaches_as_many_as_the_limit_says(gateway, limited, everyone, smtp, header):
    """The limit that main.cf has for an alias of 1,200, beside Postfix' own."""
    dialogue = [*HELLO, "RCPT TO:<everyone@example.org>", "DATA", f"{header}\r\nhello\r\n.", "QUIT"]
    answers = {}
    for limit in (1000, 1200):
        limited(virtual_alias_maps=everyone, virtual_alias_expansion_limit=limit, defer_transports="smtp")
        answers[limit] = smtp(gateway.mail_ipv4, *dialogue)[-2]
    assert answers[1000].startswith("451 4.6.0 Alias expansion error")
    assert answers[1200].startswith("250 2.0.0 Ok: queued")
    assert len([each for one in gateway.queue() for each in one["recipients"]]) == 1200
