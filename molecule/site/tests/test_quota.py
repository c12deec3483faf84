"""Quotas: mail for a full mailbox waits on the gateway, and nothing is returned."""

import re

import pytest

BOB = "bob@example.org"
USERS = "/etc/dovecot/users"


def limit_of(store, mailbox):
    """What `doveadm quota get` shows of the storage, in KiB or -."""
    line = next(line for line in store.out("doveadm", "quota", "get", "-u", mailbox).splitlines() if "STORAGE" in line)
    return line.split()[-2]


@pytest.fixture
def full(lab, gateway, mail):
    """Bob has a mail, and no room; full() gives him what he had."""
    store = lab.store
    mail.wait_for(BOB, mail.send(gateway.mail_ipv4, BOB))
    users = store.out("cat", USERS)

    def use(text):
        store.run("tee", USERS, given=text)
        store.out("systemctl", "reload", "dovecot")

    lines = [line for line in users.splitlines() if not line.startswith(f"{BOB}:")]
    (bob,) = [line for line in users.splitlines() if line.startswith(f"{BOB}:")]
    use("\n".join([*lines, re.sub(r"\d+B$", "1B", bob), ""]))
    yield lambda: use(users)
    use(users)


def test_the_quota_is_the_site_s_or_the_mailbox_s_own(lab):
    assert limit_of(lab.store, "alice@example.org") == str(10 * 2**20)
    assert limit_of(lab.store, BOB) == str(20 * 2**20)


def reasons_of(host):
    """Why Bob's mail is still in a host's queue."""
    recipients = [to for entry in host.queue() for to in entry["recipients"] if to["address"] == BOB]
    return [to.get("delay_reason", "") for to in recipients]


def test_what_a_neighbour_writes_waits_as_well(lab, mail, message, send, wait, full):
    returned, mark = lab.store.mail_log().count("status=bounced"), mail.new_id()
    assert send([message(mark, ["From: alice@example.org"])], recipient=BOB)[0][0] == 250
    wait(lambda: any("452 4.2.2" in reason for reason in reasons_of(lab.store)), 30, "it to be told to come again")
    full()
    lab.store.out("postqueue", "-f")
    mail.wait_for(BOB, mark, 60)
    assert lab.store.mail_log().count("status=bounced") == returned


@pytest.mark.enforcing
def test_mail_for_a_full_mailbox_waits_until_there_is_room(lab, gateway, mail, wait, full):
    returned = mail.bounced()
    waiting = mail.send(gateway.mail_ipv4, BOB)
    mail.wait_for("alice@example.org", mail.send(gateway.mail_ipv4, "alice@example.org"))  # for others there is room

    def reasons():
        return reasons_of(gateway)

    wait(lambda: any("452 4.2.2" in str(reason) for reason in reasons()), 30, "Bob's mail to be told to come again")
    assert "in reply to RCPT TO command" in " ".join(reasons())  # and not after the message, each time
    assert mail.copies(BOB, waiting) == []
    full()
    gateway.out("postqueue", "-f")
    mail.wait_for(BOB, waiting, 60)
    assert mail.bounced() == returned
