"""How much one client may do at a time: limits that strangers meet, and neither the VPN nor the other gateways do."""

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

    def lower(**parameters):
        gateway.out("postconf", "-e", *(f"{name} = {value}" for name, value in parameters.items()))
        gateway.out("postfix", "reload")

    yield lower
    gateway.out("cp", "/etc/postfix/candidate/main.cf", "/etc/postfix/main.cf")
    gateway.out("postfix", "reload")


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


def test_size_that_was_not_announced(lab, gateway, smtp):
    """Announced sizes are in test_one_policy. The text is one octet too long."""
    size = int(gateway.out("postconf", "-h", "message_size_limit"))
    text = {"raw": ("x" * 78 + "\r\n") * (size // 80 + 1) + ".\r\n"}
    replies = smtp(gateway.mail_ipv4, *HELLO, TO, "DATA", text, "QUIT")
    assert replies[4].startswith("354 ")
    assert replies[5].startswith("552 5.3.4 ")
