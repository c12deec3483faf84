"""Mail to receivers that want it slowly: two classes on one gateway, and a neighbour of theirs."""

from __future__ import annotations

import collections
import uuid

import pytest

pytestmark = pytest.mark.stress  # it takes several runs of site.yml

CLASSES = [
    {"domains": ["sender.example"], "concurrency": 2},
    {"domains": ["allowed.sender.example"], "delay": 4},
]
NEIGHBOUR = "internet.sender.example"
SLEEP = 4  # seconds that the receiver takes for each delivery
EACH = 4  # messages
DIGITS = {f"{hour:02}:{minute:02}:{second:02}": (hour * 60 + minute) * 60 + second
          for hour in range(24) for minute in range(60) for second in range(60)}  # fmt: skip


@pytest.fixture(scope="module")
def slow(lab):
    """The gateway, which has none of it left in the end."""
    host = lab.gateways[0]

    def run(**variables):
        return lab.site(tags="postfix", limit=host.name, **variables)

    before = settings(host)
    try:
        assert run(mail_slow_destinations=CLASSES)
        assert run(mail_slow_destinations=CLASSES) == []
        yield host
    finally:
        run()
    assert settings(host) == before


def settings(host):
    """What Postfix has of settings, services and files."""
    command = "postconf -n; postconf -M; postconf -P; find /etc/postfix -type f -not -name '.*' | sort"
    return host.out("sh", "-c", command)


@pytest.fixture(scope="module")
def receiver(lab):
    """The internet's Postfix takes mail for one more domain, and its time for each delivery."""
    host = lab.internet
    names = host.out("postconf", "-h", "mydestination").strip()
    host.out("postconf", "-e", f"mydestination={names}, allowed.sender.example",
             f"smtpd_recipient_restrictions=sleep {SLEEP}, permit_mynetworks, reject_unauth_destination")  # fmt: skip
    host.reload_postfix()
    yield
    host.out("postconf", "-e", f"mydestination={names}")
    host.out("postconf", "-X", "smtpd_recipient_restrictions")
    host.reload_postfix()


@pytest.fixture
def leaves(submit, message, mail, wait, slow, receiver):
    """leaves(domain, ...): {domain: [(service, second of a delivery), ...]} for some messages to each, all of which the
    queue manager finds at once."""

    def send(*domains):
        mark = uuid.uuid4().hex
        manager = (
            "pkill",
            "--parent",
            slow.out("cat", "/var/spool/postfix/pid/master.pid").strip(),
            "--exact",
            "qmgr",
        )
        slow.out(*manager, "--signal", "STOP")
        try:
            for domain in domains:
                for number in range(EACH):
                    text = message(mail.new_id(), ["From: alice@example.org"])
                    ((code, said),) = submit(slow, [text], recipient=f"{mark}{number}@{domain}")
                    assert code == 250, said
        finally:
            slow.out(*manager, "--signal", "CONT")

        def delivered():
            lines = [line for line in slow.mail_log().splitlines() if f"to=<{mark}" in line and "status=" in line]
            return lines if len(lines) == EACH * len(domains) else None

        found = collections.defaultdict(list)
        for line in wait(delivered, 90, "all deliveries"):
            assert "status=sent" in line
            time, _host, program = line.split()[2:5]
            found[line.partition("@")[2].partition(">")[0]].append((program.partition("[")[0], DIGITS[time]))
        return found

    return send


def test_mail_leaves_at_its_destination_s_pace(leaves):
    """The receiver takes 4 s for each: four messages take 8 s, two at once, and 28 s with 4 s between two."""
    found = leaves("sender.example", "allowed.sender.example", NEIGHBOUR)
    services = {domain: {service for service, _time in deliveries} for domain, deliveries in found.items()}
    assert services == {
        "sender.example": {"postfix/slow1/smtp"},
        "allowed.sender.example": {"postfix/slow2/smtp"},
        NEIGHBOUR: {"postfix/smtp"},
    }
    times = {domain: sorted(time for _service, time in deliveries) for domain, deliveries in found.items()}
    assert times[NEIGHBOUR][-1] - times[NEIGHBOUR][0] < SLEEP
    pairs = times["sender.example"]
    assert pairs[1] - pairs[0] < SLEEP <= pairs[2] - pairs[1] + 1
    assert pairs[3] - pairs[2] < SLEEP
    delayed = times["allowed.sender.example"]
    assert min(later - sooner for sooner, later in zip(delayed, delayed[1:], strict=False)) >= SLEEP + 4 - 1


def test_mail_that_comes_in_goes_to_the_mail_host_as_ever(mail, slow):
    mail.wait_for("alice@example.org", mail.send(slow.mail_ipv4, "alice@example.org"))
    first = slow.out("postconf", "-hx", "transport_maps").split(",")[0].strip()
    assert slow.out("postmap", "-q", "example.org", first).startswith("stunnel:unix:")
