"""Two mail hosts: what is away on one of them holds up nobody's mail on the other."""

from __future__ import annotations

import subprocess
import time

import pytest
from lab.inventory import STORE2, STORE2_VARIABLES, Inventory
from lab.mail import DOORS

CAROL, BOB = "carol@two.example", "bob@example.org"
COUNT = 10  # messages for each mail host by each gateway, every ten seconds: no more than a stranger may send
AWAY = 20  # seconds, so that deliveries are tried again; Postfix waits the longer, the older a message is
SOON = 10  # seconds in which a message is there that nothing holds up
RECOVERY = 60


def written(mail):
    """A message of Carol's, and its Message-ID."""
    mark = mail.new_id()
    lines = (f"From: {CAROL}", f"To: {CAROL}", "Date: Sun, 22 Nov 2026 10:00:00 +0000", f"Message-ID: {mark}")
    return "\r\n".join([*lines, "", "hello", ""]), mark


def podman(*command):
    subprocess.run(["podman", *command], check=True, capture_output=True, timeout=60)


# name: what makes a mail host be away, and what brings it back.
ABSENCES = {
    "dead": (
        lambda host: host.out("systemctl", "stop", "gatehouse-lmtp.socket", "gatehouse-lmtp@*", "dovecot"),
        lambda host: host.out("systemctl", "start", "dovecot", "gatehouse-lmtp.socket"),
    ),
    "frozen": (lambda host: podman("pause", host.container), lambda host: podman("unpause", host.container)),
    "black-holed": (
        lambda host: host.out("firewall-cmd", "--zone=drop", "--change-interface=vpn0"),
        lambda host: host.out("firewall-cmd", "--zone=vpn", "--change-interface=vpn0"),
    ),
}


@pytest.fixture(scope="module")
def other(lab, mail, state, tmp_path_factory):
    """The mailboxes of a second mail host, which has a domain and a mailbox of its own."""
    inventory = Inventory(tmp_path_factory.mktemp("two") / "mysite", state)
    with inventory.edit() as variables:
        variables["mail_domains"][0]["store"] = lab.store.name
        variables["mail_domains"].append({"name": "two.example", "store": STORE2})
        variables["mail_mailboxes"].append(CAROL)
    with inventory.edit("group_vars/all/vault.yml") as secrets:
        for passwords in ("vault_mail_password_hashes", "lab_passwords"):
            secrets[passwords][CAROL] = secrets[passwords][BOB]
    with inventory.new_host(lab, "mail_stores", STORE2, STORE2_VARIABLES) as host:
        lab.site(inventory=inventory.folder)
        yield mail.of(host)
    lab.site()


@pytest.mark.parametrize("name", ABSENCES)
@pytest.mark.stress
def test_a_mail_host_that_is_away_holds_up_its_own_mail_alone(lab, mail, other, wait, name):
    """Mail of the other is there at once; its own is, soon after it is back."""

    def arrives(ids, mailboxes, mailbox, seconds):
        wait(lambda: all(mailboxes.arrived(ids, mailbox).values()), seconds, f"{len(ids)} messages for {mailbox}")
        return set(mailboxes.arrived(ids, mailbox).values())

    away, back = ABSENCES[name]
    late, started = [], time.monotonic()
    away(other.lab.store)
    try:
        while time.monotonic() < started + AWAY:
            for gateway in lab.gateways:
                late += mail.send_many(COUNT, gateway.mail_ipv4, CAROL)
                assert arrives(mail.send_many(COUNT, gateway.mail_ipv4, BOB), mail, BOB, SOON) == {1}
            time.sleep(10)
    finally:
        back(other.lab.store)
    started = time.monotonic()
    often = arrives(late, other, CAROL, RECOVERY)
    print(f"{name}: {len(late)} messages within {time.monotonic() - started:.0f} s")
    # A delivery that is cut off before its last reply may be done twice (RFC 5321, 6.1).
    assert often == {1} or (name == "frozen" and often <= {1, 2})
    assert mail.bounced() == []


@pytest.mark.parametrize("port", [465, 587])
@pytest.mark.stress
def test_people_send_by_a_mail_host_of_either_family(lab, mail, other, send, received, port):
    """By Debian's: to the world by both gateways, to a mailbox of the other mail host, and to one beside it."""
    store = other.lab.store
    texts, marks = zip(*(written(mail) for _number in range(20)), strict=True)
    assert {code for code, _text in send(list(texts), login=CAROL, port=port, store=store)} == {250}
    outside = received(list(marks))
    hops = b"".join(outside.values()).decode()
    assert [gateway.name for gateway in lab.gateways if f"from {gateway.name} " not in hops] == []
    for mailbox, home in ((BOB, mail), (CAROL, other)):
        text, mark = written(mail)
        assert send([text], login=CAROL, recipient=mailbox, port=port, store=store)[0][0] == 250
        home.wait_for(mailbox, mark, 60)
        text, mark = written(mail)
        back = text.replace(f"From: {CAROL}", f"From: {BOB}")
        assert send([back], login=BOB, recipient=mailbox, port=port)[0][0] == 250
        home.wait_for(mailbox, mark, 60)
    refused = send([written(mail)[0]], login=CAROL, sender=BOB, port=port, store=store)
    assert refused[0][0] == 553


@pytest.mark.stress
def test_a_login_is_taken_at_its_own_mail_host_alone(lab, doors, other):
    password = other.lab.store.lab_passwords[CAROL]  # which is Bob's as well
    assert [doors(login, password, host) for login in (BOB, CAROL) for host in (lab.store, other.lab.store)] == [
        DOORS, [], [], DOORS,
    ]  # fmt: skip
    assert doors(CAROL, "wrong", other.lab.store) == []
