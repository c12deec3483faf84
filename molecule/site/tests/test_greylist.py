"""One greylist for all gateways: who must come again, where, and what happens while it is away."""

from __future__ import annotations

import json
import uuid

import pytest

TO = "alice@example.org"
STRANGER, EXCEPTION, MAIL_SERVER = 75, 69, 68  # last octets; wl.example knows .68 as a mail server, see test_checks
DATABASES = {"RedHat": "/var/spool/postfix/postgrey", "Debian": "/var/lib/postgrey"}

# Hold dialogues, one right after the other; they go on to the end of the message where the recipient is accepted.
# Standard input: "message", and "questions", a list of [gateway, own address, sender, recipient]; standard output: for
# each [the reply to RCPT, seconds from MAIL to that reply, the last code].
ASK = """
import json, smtplib, sys, time
order = json.load(sys.stdin)
answers = []
for gateway, source, sender, recipient in order["questions"]:
    with smtplib.SMTP(gateway, 25, "internet.sender.example", 60, (source, 0)) as client:
        client.ehlo()
        started = time.monotonic()
        client.mail(sender)
        code, text = client.rcpt(recipient)
        seconds = time.monotonic() - started
        end = client.data(order["message"])[0] if code == 250 else code
        answers.append([f"{code} {text.decode()}", seconds, end])
print(json.dumps(answers))
"""
# A policy service, asked as Postfix does (SMTPD_POLICY_README).
POLICY = """
import socket, sys
with socket.create_connection(("127.0.0.1", 60001), timeout=10) as plain:
    plain.sendall(b"request=smtpd_access_policy\\nclient_address=203.0.113.7\\nclient_name=unknown\\n"
                  b"sender=carol@sender.example\\nrecipient=alice@example.org\\netrn_domain=\\n\\n")
    print(plain.recv(1000).decode())
"""


def fresh():
    """A sender whom no greylist has seen. Letters, since postgrey takes numbers in a name for the same name."""
    return f"carol.x{uuid.uuid4().hex}@sender.example"


@pytest.fixture
def ask(lab, header):
    """ask((gateway, sender), ..., octet=, recipient=): [reply to RCPT, seconds until then, last code] for each."""

    def hold(*questions, octet=STRANGER, recipient=TO):
        asked = [[gateway.mail_ipv4, lab.stranger(octet), sender, recipient] for gateway, sender in questions]
        order = {"questions": asked, "message": f"{header}To: {TO}\r\n\r\nhello\r\n"}
        return json.loads(lab.internet.out("python3", "-c", ASK, given=json.dumps(order)))

    return hold


def greylisted(answer):
    return answer[0].startswith(f"450 4.2.0 <{TO}>: Recipient address rejected: Greylisted, come again in ")


def accepted(answer):
    return answer[0].startswith("250 2.1.5 ") and answer[2] == 250


@pytest.mark.enforcing
def test_who_was_told_by_one_gateway_to_wait_may_come_to_another(lab, ask, wait, gateway):
    other = next(host for host in lab.gateways if host is not gateway)
    sender = fresh()
    assert all(map(greylisted, ask((gateway, sender), (other, sender), (gateway, sender))))
    wait(lambda: accepted(ask((other, sender))[0]), 20, "the delay to pass")
    assert accepted(ask((gateway, sender))[0])


@pytest.mark.parametrize(
    ("octet", "recipient"),
    [(EXCEPTION, TO), (MAIL_SERVER, TO), (STRANGER, "postmaster@example.org"), (STRANGER, "abuse@mx1.example.org")],
)
def test_who_is_excepted_need_not_wait(ask, gateway, octet, recipient):
    sender = fresh()
    assert greylisted(ask((gateway, sender))[0])
    assert accepted(ask((gateway, sender), octet=octet, recipient=recipient)[0])


def test_who_logged_in_need_not_wait(lab, submit, gateway):
    """From the VPN, at a port of its own; port 25 and the VPN are in test_checks."""
    message = f"From: alice@example.org\r\nTo: bob@example.org\r\nSubject: {uuid.uuid4()}\r\n\r\nhello\r\n"
    ((code, _text),) = submit(gateway, [message], recipient="bob@example.org")
    assert code == 250


@pytest.fixture
def tried(lab):
    """A gateway where greylisting is only tried, as by mail_tried_checks."""
    gateway = lab.gateways[0]
    name = "smtpd_recipient_restrictions"
    chain = gateway.out("postconf", "-h", name).strip()
    assert chain.count("check_policy_service") == 1
    gateway.out("postconf", "-e", f"{name} = {chain.replace('check_policy', 'warn_if_reject check_policy')}")
    gateway.reload_postfix()
    yield gateway
    gateway.out("cp", "/etc/postfix/candidate/main.cf", "/etc/postfix/main.cf")
    gateway.reload_postfix()


def test_greylisting_that_is_tried_only_says_what_it_would_do(ask, wait, tried):
    sender = fresh()
    assert accepted(ask((tried, sender))[0])

    def warned():
        lines = [line for line in tried.mail_log().splitlines() if sender in line]
        return any("reject_warning" in line and "Greylisted" in line for line in lines)

    wait(warned, 20, "the line in the log")


# The greylist is away


@pytest.fixture
def held(lab):
    """The timer that restarts a greylist which hangs or forgets is held, and started in the end."""
    lab.store.out("systemctl", "stop", "gatehouse-greylist-probe.timer")
    yield
    lab.store.out("systemctl", "start", "gatehouse-greylist-probe.timer")


FAULTS = {
    "stopped": ("systemctl stop postgrey", "systemctl start postgrey"),
    "hangs": ("systemctl kill --signal=STOP postgrey", "systemctl kill --signal=CONT postgrey"),
    "out of reach": ("ip link set vpn0 down", "ip link set vpn0 up"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_without_the_greylist_mail_is_accepted_within_5_s(lab, ask, wait, held, name):
    broken, mended = FAULTS[name]
    lab.store.out("sh", "-c", broken)
    try:
        answers = ask(*((gateway, fresh()) for gateway in lab.gateways))
        print(f"{name}: {answers}")
        assert all(map(accepted, answers))
        assert max(seconds for _reply, seconds, _end in answers) < 5
    finally:
        lab.store.out("sh", "-c", mended)
    wait(lambda: all(map(greylisted, ask(*((gateway, fresh()) for gateway in lab.gateways)))), 20, "the greylist")


def main_pid(host):
    return host.out("systemctl", "show", "--property=MainPID", "--value", "postgrey").strip()


def active(host):
    return host.run("systemctl", "is-active", "postgrey", check=False).stdout == "active\n"


@pytest.mark.enforcing
def test_a_killed_greylist_comes_back_and_knows_whom_it_knew(lab, ask, wait):
    gateway, store, known = lab.gateways[0], lab.store, fresh()
    assert greylisted(ask((gateway, known))[0])
    wait(lambda: accepted(ask((gateway, known))[0]), 20, "the delay to pass")
    before = main_pid(store)
    store.out("systemctl", "kill", "--signal=KILL", "postgrey")
    wait(lambda: main_pid(store) not in ("0", before) and active(store), 20, "systemd to start postgrey again")
    old, new = ask((gateway, known), (gateway, fresh()))
    assert accepted(old)
    assert greylisted(new)


@pytest.mark.stress
def test_a_greylist_that_hangs_is_restarted(lab, ask, wait, held):
    store = lab.store
    store.out("systemctl", "start", "gatehouse-greylist-probe")
    before = main_pid(store)
    store.out("systemctl", "kill", "--signal=STOP", "postgrey")
    store.out("systemctl", "start", "gatehouse-greylist-probe")  # what the timer does
    wait(lambda: main_pid(store) not in ("0", before) and active(store), 120, "postgrey to be restarted")
    assert greylisted(ask((lab.gateways[0], fresh()))[0])


@pytest.fixture
def full(lab):
    """The greylist is on a file system of its own, and there is no room left."""
    store, database = lab.store, DATABASES[lab.store.family]
    store.out("systemctl", "stop", "postgrey")
    owner = store.out("id", "--user", "postgrey").strip()
    store.mount("mount", "-t", "tmpfs", "-o", f"size=24m,mode=700,uid={owner}", "tmpfs", database)
    store.out("systemctl", "start", "postgrey")
    # As after some days: what it maps into memory has its place on the disk.
    store.out("sh", "-c", f'for file in {database}/__db.*; do fallocate -l "$(stat -c %s "$file")" "$file"; done')
    store.out("sh", "-c", f"cat /dev/zero > {database}/filler 2> /dev/null || true")
    yield
    store.out("systemctl", "stop", "postgrey")
    store.mount("umount", database)
    store.out("systemctl", "start", "postgrey")


def test_a_greylist_without_room_makes_nobody_wait_forever(lab, ask, wait, held, full):
    store, (first, second) = lab.store, lab.gateways

    def forgets():
        store.out("systemctl", "start", "gatehouse-greylist-probe")
        return "postgrey forgets whom it told to come again" in store.journal("gatehouse-greylist-probe", since="-1min")

    wait(lambda: ask(*((first, fresh()) for _number in range(10))) and forgets(), 60, "the probe to find out")
    wait(lambda: all(map(accepted, ask((first, fresh()), (second, fresh())))), 30, "mail to be accepted without it")
    assert "no room in" in store.journal("postgrey", since="-1min")
    store.out("rm", f"{DATABASES[store.family]}/filler")
    wait(lambda: active(store), 60, "postgrey, now that there is room")
    assert greylisted(ask((first, fresh()))[0])


def test_a_database_that_is_broken_is_set_aside(lab, ask, wait):
    store, sender, database = lab.store, fresh(), DATABASES[lab.store.family]
    store.out("systemctl", "stop", "postgrey")
    store.out("sh", "-c", f"head --bytes=20000 /dev/urandom > {database}/postgrey.db")
    store.out("systemctl", "start", "postgrey")
    assert "the database is broken and was set aside" in store.journal("postgrey", since="-1min")
    assert greylisted(ask((lab.gateways[0], sender))[0])
    wait(lambda: accepted(ask((lab.gateways[1], sender))[0]), 20, "the delay to pass")
    assert "postgrey.db" in store.out("ls", f"{database}/broken").split()
    store.out("rm", "-r", f"{database}/broken")


def test_the_role_alone_serves_the_other_family_as_well(lab, tmp_path):
    """A gateway on Debian, where nothing of postgrey was before; the mail host of `make demo` is a CentOS stand-in."""
    host = next(gateway for gateway in lab.gateways if gateway.family == "Debian")
    play = {"hosts": host.name, "become": True, "gather_subset": ["min"], "roles": ["gatehouse.mail.greylist"]}
    play["vars"] = {"greylist_listen": "127.0.0.1:60001", "greylist_delay": 60}
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([play]))
    try:
        looked, first, second = (lab.playbook(str(playbook), *options) for options in (["--check"], [], []))
        assert not [result for result in looked + first + second if result.get("failed")]
        assert [result["task"] for result in looked if result.get("changed")] == ["Install postgrey"]
        assert [result["task"] for result in second if result.get("changed")] == []
        assert "action=DEFER_IF_PERMIT 4.2.0 Greylisted, come again in 60 seconds" in host.out("python3", "-c", POLICY)
    finally:
        host.out("systemctl", "disable", "--now", "postgrey", "gatehouse-greylist-probe.timer")
        host.out("apt-get", "--quiet", "--yes", "purge", "postgrey")
        host.out("sh", "-c", "rm -fr /var/lib/postgrey /etc/postgrey /usr/local/sbin/gatehouse-greylist-*")
        host.out("rm", "-f", "/etc/gatehouse/greylist-probe.json")
        host.out("sh", "-c", "cd /etc/systemd/system && rm postgrey.service gatehouse-greylist-probe.*")
        host.out("systemctl", "daemon-reload")
