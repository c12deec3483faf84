"""A site may let people send from the internet as well: at the same ports, with limits, and with bans."""

from __future__ import annotations

import base64

import pytest

pytestmark = pytest.mark.stress  # it takes several runs of site.yml

ALICE, PORTS = "alice@example.org", (587, 465)
TAGS = "firewall,submission,fail2ban"
HELLO = "EHLO people.sender.example"


def plain(password):
    return "AUTH PLAIN " + base64.b64encode(f"\0{ALICE}\0{password}".encode()).decode()


@pytest.fixture(scope="module")
def say(lab, smtp):
    """say(port, password, source=): the reply to a login from the internet."""

    def login(port, password, source=None):
        lines = [HELLO, plain(password), "QUIT"] if port == 465 else [HELLO, "STARTTLS", HELLO, plain(password), "QUIT"]
        replies = smtp(lab.store.lab_address4, *lines, client=lab.internet, port=port, tls=port == 465, source=source)
        return replies[0] if len(replies) < len(lines) else replies[len(lines) - 1]

    return login


def test_people_come_from_the_internet_where_a_site_says_so(lab, inventory, say, wait):
    store = lab.store
    password = store.lab_passwords[ALICE]
    stranger = lab.stranger(98)
    lab.internet.out("ip", "address", "replace", f"{stranger}/24", "dev", "inet0")

    def run(**where):
        return lab.site(tags=TAGS, limit=store.name, **where)

    with inventory.hosts("mail_stores") as hosts:
        hosts[store.name]["mail_ipv4"] = "{{ lab_internet4 }}.31"
    with inventory.edit() as variables:
        variables["mail_submission_zones"] = ["internet", "vpn"]
    before = store.out("sh", "-c", "postconf -M; postconf -P")
    assert "235" not in "".join(say(port, password) for port in PORTS)
    try:
        assert run(inventory=inventory.folder)
        assert run(inventory=inventory.folder) == []
        assert [say(port, password)[:3] for port in PORTS] == ["235", "235"]
        for port, jail in zip(PORTS, ("gatehouse-submission", "gatehouse-submissions")):
            assert {say(port, "correct horse guesses", stranger)[:3] for _guess in range(5)} == {"535"}
            banned = ("fail2ban-client", "get", jail, "banip")
            wait(lambda: stranger in store.out(*banned), 30, f"the ban by {jail}")  # noqa: B023
            assert not say(port, password, stranger).startswith("235")
            assert say(port, password).startswith("235")  # another one is as before
        assert "smtpd_client_message_rate_limit=120" in store.out("postconf", "-P").replace(" ", "")
    finally:
        store.out("fail2ban-client", "unban", "--all")
        run()
    assert store.out("sh", "-c", "postconf -M; postconf -P") == before
    assert "235" not in "".join(say(port, password) for port in PORTS)
