"""Several gateways behave as one, and the loss of one, or of the mail host, costs no mail."""

import contextlib
import subprocess

HUNDRED = 100


def podman(*arguments):
    subprocess.run(["podman", *arguments], check=True, capture_output=True, timeout=60)


@contextlib.contextmanager
def killed(host):
    podman("kill", host.container)
    try:
        yield
    finally:
        podman("start", host.container)
        host.out("timeout", "60", "bash", "-c", "until head -1 < /dev/tcp/127.0.0.1/25; do sleep 0.2; done")


def all_arrived(mail, ids, hosts):
    """Flush these queues and look. To be asked again: what was tried too early waits for its queue's next turn."""
    for host in hosts:
        host.out("postqueue", "-f")
    return all(mail.arrived(ids).values())


def test_mail_follows_the_mx_records_to_the_backup(lab, mail, wait):
    with killed(lab.gateways[0]):
        ids = mail.queue(HUNDRED)
        wait(lambda: all(mail.arrived(ids).values()), 90, "100 messages through the backup MX")
    assert set(mail.arrived(ids).values()) == {1}
    assert mail.bounced() == []


def test_nothing_is_lost_when_the_first_gateway_dies_in_the_middle(lab, mail, wait):
    ids = mail.queue(HUNDRED)
    wait(lambda: sum(mail.arrived(ids).values()) >= 10, 60, "the first 10 of 100 messages")
    with killed(lab.gateways[0]):
        pass
    hosts = [*lab.gateways, lab.internet]
    wait(lambda: all_arrived(mail, ids, hosts), 90, "100 messages after the first gateway's return")
    assert mail.bounced() == []


def test_mail_waits_for_the_mail_host(lab, mail, wait):
    store = lab.store
    store.out("systemctl", "stop", "gatehouse-lmtp.socket", "dovecot")
    try:
        ids = [
            message_id
            for gateway in lab.gateways
            for message_id in mail.send_many(HUNDRED // 2, gateway.mail_ipv4, "bob@example.org")
        ]
        for gateway in lab.gateways:
            wait(lambda here=gateway: len(here.queue()) == HUNDRED // 2, 30, "50 messages in the queue")
    finally:
        store.out("systemctl", "start", "dovecot", "gatehouse-lmtp.socket")
    wait(lambda: all_arrived(mail, ids, lab.gateways), 90, "100 messages after the mail host's return")
    assert set(mail.arrived(ids).values()) == {1}
    assert mail.bounced() == []
