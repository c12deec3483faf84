"""What breaks costs time and never mail: what strangers are told meanwhile, and that all mail arrives afterwards.

Each fault is on all gateways at once, or on the mail host, so that no other host hides it. One of each kind runs with
the other tests; `make stress` runs all of them.
"""

import dataclasses
import re
import time
from typing import Callable, Union

import pytest

COUNT = 200  # messages that are under way meanwhile
RECOVERY = 60  # seconds from the cure until all mail is where it belongs
QUEUE = "/var/spool/postfix"
ACCEPTED = r"250 2\.0\.0 Ok: queued"
UNKNOWN_SENDER = r"450 4\.1\.8 .*Domain not found"
NO_TABLE = r"451 4\.3\.0 .*Temporary lookup failure"
UNJUDGED = r"451 4\.7\.1 Service unavailable"
FULL = r"452 4\.3\.1 Insufficient system storage"
CLAMD = "'clamd@*' 'clamav-daemon*'"  # by the names of both families; systemctl wants no match of either
WITH_CLAMD = "systemctl start clamav-milter"
DIALOGUE = (
    "EHLO internet.sender.example",
    "MAIL FROM:<carol@sender.example>",
    "RCPT TO:<bob@example.org>",
    "DATA",
    "From: carol@sender.example\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\r\nhello\r\n.",
    "QUIT",
)

Act = Union[str, Callable[..., None]]  # a shell command for each host, or a function of (lab, hosts)


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is broken and mended on each of the hosts; what a stranger is told meanwhile, and how soon, in seconds."""

    where: str
    broken: Act
    mended: Act
    reply: str
    soon: float = 5
    afterwards: Act = "true"  # when all is well again, for the sake of other tests
    once: bool = True  # a delivery that is cut off before its last reply may be done twice (RFC 5321 section 6.1)


def stopped(where: str, unit: str, reply: str) -> Fault:
    return Fault(where, f"systemctl stop {unit}", f"systemctl start {unit}", reply)


def killed(where: str, unit: str, reply: str) -> Fault:
    """Nobody mends it but systemd."""
    return Fault(where, f"systemctl kill --signal=KILL {unit}", "true", reply, once=False)


def hung(where: str, unit: str, reply: str, soon: float = 5) -> Fault:
    mended = f"systemctl restart {unit}"
    return Fault(where, f"systemctl kill --signal=STOP {unit}", mended, reply, soon, once=False)


def each_second(signal: str, units: str) -> Fault:
    """Of units that are there for a connection alone; in the end there has been one that was met."""
    count = f"systemctl list-units --plain --no-legend '{units}' | wc -l"
    again = f"while sleep 1; do {count}; systemctl kill --signal={signal} '{units}'; done"
    broken = f'systemd-run --quiet --collect --unit=fault --property=StandardOutput=truncate:/run/fault sh -c "{again}"'
    mended = f"systemctl stop fault && systemctl stop '{units}'"
    met = "grep -q '[1-9]' /run/fault && rm /run/fault"
    return Fault("store", broken, mended, ACCEPTED, afterwards=met, once=False)


def run_site(lab, _hosts):
    lab.site(tags="postfix", limit="mail_gateways")


def full_queue(_lab, hosts):
    """Move the queue to a file system of its own, and fill that one to the last octet."""
    for host in hosts:
        host.out("systemctl", "stop", "postfix*")
        host.out("cp", "-a", QUEUE, f"{QUEUE}.aside")
        host.mount("mount", "-t", "tmpfs", "-o", "size=200m,mode=755", "tmpfs", QUEUE)
        host.out("cp", "-a", f"{QUEUE}.aside/.", QUEUE)
        host.out("systemctl", "start", "postfix")
        host.out("sh", "-c", f"cat /dev/zero > {QUEUE}/filler 2> /dev/null || true")


def old_queue(_lab, hosts):
    for host in hosts:
        host.out("systemctl", "stop", "postfix*")
        host.out("sh", "-c", f"rm -r {QUEUE}.aside && cp -a {QUEUE} {QUEUE}.aside")
        host.mount("umount", QUEUE)
        host.out("sh", "-c", f"rm -r {QUEUE}/* && cp -a {QUEUE}.aside/. {QUEUE} && rm -r {QUEUE}.aside")
        host.out("systemctl", "start", "postfix")


def table(name: str, what: str) -> Fault:
    path = f"/etc/postfix/{name}"
    broken = {
        "missing": f"rm {path}",
        "damaged": f"head --bytes=20000 /dev/urandom > {path}.new && mv {path}.new {path}",
        "truncated": f"head --bytes=5000 {path} > {path}.new && mv {path}.new {path}",
    }
    act = broken[what] + " && postfix reload"  # or processes go on with the file that they have open
    if what == "truncated":  # the kernel kills who reads past the end, and Postfix waits a minute before it tries again
        return Fault("gateways", act, run_site, "closed", soon=70)
    return Fault("gateways", act, run_site, NO_TABLE)


FAULTS = {
    "unbound stopped": stopped("gateways", "unbound", UNKNOWN_SENDER),
    "unbound killed": killed("gateways", "unbound", f"{UNKNOWN_SENDER}|{ACCEPTED}"),
    "unbound hangs": hung("gateways", "unbound", UNKNOWN_SENDER, soon=90),
    "opendkim stopped": stopped("gateways", "opendkim", UNJUDGED),
    "opendkim killed": killed("gateways", "opendkim", f"{UNJUDGED}|{ACCEPTED}"),
    "opendkim hangs": hung("gateways", "opendkim", UNJUDGED, soon=40),
    "the judge stopped": stopped("gateways", "gatehouse-dmarc", UNJUDGED),
    "the judge killed": killed("gateways", "gatehouse-dmarc", f"{UNJUDGED}|{ACCEPTED}"),
    "the judge hangs": hung("gateways", "gatehouse-dmarc", UNJUDGED, soon=40),
    "clamd stopped": dataclasses.replace(stopped("gateways", CLAMD, UNJUDGED), mended=WITH_CLAMD),
    "clamd killed": killed("gateways", CLAMD, f"{UNJUDGED}|{ACCEPTED}"),
    "clamd hangs": hung("gateways", CLAMD, UNJUDGED, soon=20),
    "Postfix killed": killed("gateways", "postfix*", f"ConnectionRefusedError|{ACCEPTED}"),
    "stunnel's socket stopped": stopped("store", "gatehouse-lmtp.socket", ACCEPTED),
    "stunnels killed": each_second("KILL", "gatehouse-lmtp@*"),
    "stunnels hang": each_second("STOP", "gatehouse-lmtp@*"),
    "Dovecot stopped": stopped("store", "dovecot", ACCEPTED),
    "Dovecot killed": killed("store", "dovecot", ACCEPTED),
    "Dovecot hangs": hung("store", "dovecot", ACCEPTED),
    "the mail host's link is down": Fault("store", "ip link set vpn0 down", "ip link set vpn0 up", ACCEPTED),
    "the mail host hears nothing": Fault(
        "store", "firewall-cmd --zone=drop --change-interface=vpn0", "firewall-cmd --zone=vpn --change-interface=vpn0",
        ACCEPTED, once=False,
    ),
    "queue file system full": Fault("gateways", full_queue, f"rm {QUEUE}/filler", FULL, afterwards=old_queue),
    "relay_recipients missing": table("relay_recipients.lmdb", "missing"),
    "relay_recipients damaged": table("relay_recipients.lmdb", "damaged"),
    "relay_recipients truncated": table("relay_recipients.lmdb", "truncated"),
    "virtual_alias missing": table("virtual_alias.lmdb", "missing"),
    "virtual_alias damaged": table("virtual_alias.lmdb", "damaged"),
    "transport missing": table("transport.lmdb", "missing"),
    "transport damaged": table("transport.lmdb", "damaged"),
}  # fmt: skip
OFTEN = ["unbound stopped", "Dovecot killed", "queue file system full", "relay_recipients missing"]


def act(lab, hosts, what):
    if callable(what):
        what(lab, hosts)
    else:
        for host in hosts:
            host.out("sh", "-c", what)


def verdict(smtp, gateway):
    """The reply that decided what becomes of a stranger's message: the first that is no 2xx or 3xx, or the last one."""
    *replies, _last = [*smtp(gateway.mail_ipv4, *DIALOGUE), ""]
    decided = [reply for reply in replies if not reply.startswith(("2", "3"))]
    return [*decided, *(reply for reply in replies if "queued as" in reply)][0]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in OFTEN else pytest.mark.stress) for name in FAULTS]
)
def test_fault_costs_no_mail(lab, mail, smtp, wait, name):
    fault = FAULTS[name]
    hosts = {"gateways": lab.gateways, "store": [lab.store]}[fault.where]
    act(lab, hosts, fault.broken)
    try:
        for gateway in lab.gateways:
            wait(lambda here=gateway: re.match(fault.reply, told(smtp, here, fault.soon)), 15, fault.reply)
        ids = mail.queue(COUNT)
        wait(lambda: not [one for one in lab.internet.queue() if one["queue_name"] == "incoming"], 60, "a first try")
    finally:
        act(lab, hosts, fault.mended)
    since = time.monotonic()
    wait(lambda: all(mail.arrived(ids).values()), RECOVERY, f"{COUNT} messages after {name}")
    print(f"{name}: recovered in {time.monotonic() - since:.0f} s")
    act(lab, hosts, fault.afterwards)
    if fault.once:
        assert set(mail.arrived(ids).values()) == {1}
    assert mail.bounced() == []


def told(smtp, gateway, soon):
    started = time.monotonic()
    reply = verdict(smtp, gateway)
    taken = time.monotonic() - started
    print(f"{gateway.name}: {reply} after {taken:.1f} s")
    assert taken < soon
    return reply
