"""Recipients that the mail host pushes: known within seconds without Ansible, and the key can do nothing else."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import itertools
import json
import os
import re
import secrets
import subprocess
import threading
import time

import pytest
from lab.hosts import ROOT, ansible_environment

pytestmark = pytest.mark.stress  # two runs of site.yml

PEOPLE = "/etc/dovecot/people"  # which is the operator's, beside site.yml's own
ALIASES = "/etc/mail-aliases"
SOURCES = {
    "mail_recipients_sources": [{"users_file": PEOPLE}, {"doveadm": "*"}, {"aliases_file": ALIASES}],
    "mail_aliases": {"info@example.org": "alice@example.org", "sales@example.org": "dora@example.org"},
}
TAGS = "dovecot,dmarc,submission,recipients,postfix"
MORE = [f"more{number}@example.org" for number in range(6)]
TABLES = "cat /etc/postfix/recipients/* /var/lib/gatehouse-recipients/*.json | sha256sum"
UP, LATER, DOWN = "250", "450", "550"
SOON = 30  # seconds, on a machine that has other tests; docs/performance.md says how long it takes


def failed(results):
    return [(result["host"], result["task"], result.get("msg")) for result in results if result.get("failed")]


def people(lab, *addresses):
    put(lab, PEOPLE, "".join(f"{address}:{{CRYPT}}*::::::\n" for address in addresses))


def put(lab, path, text):
    lab.store.out("tee", path + ".new", given=text)
    lab.store.out("mv", path + ".new", path)


@contextlib.contextmanager
def by_hand(lab):
    """Nothing is pushed but by this test, and no push is under way."""
    for kinds in ((".timer", ".path"), (".service",), ("@*.service",)):  # in this order: each starts what comes next
        lab.store.out("systemctl", "stop", *(f"gatehouse-recipients{kind}" for kind in kinds))
    lab.store.run("gatehouse-recipients", "push", check=False)
    try:
        yield
    finally:
        lab.store.out("systemctl", "start", "gatehouse-recipients.timer", "gatehouse-recipients.path")


@pytest.fixture(scope="module")
def pushed(lab, wait):
    """The mail host pushes, and each gateway has taken a list."""
    people(lab)
    put(lab, ALIASES, "")
    try:
        lab.site(tags=TAGS, **SOURCES)
        wait(lambda: lab.store.run("gatehouse-recipients", "status", check=False).returncode == 0, 60, "the first push")
        yield
    finally:
        try:
            lab.site(tags=TAGS, postfix_allow_shrink=True)
        finally:
            lab.store.out("rm", "-f", PEOPLE, ALIASES)


@pytest.fixture(autouse=True)
def as_it_was(lab, pushed):
    """Each test begins with the mail host's own people at every gateway, whatever one that was broken off has left."""
    people(lab)
    put(lab, ALIASES, "")
    lab.store.out("gatehouse-recipients", "push", "--accept-shrink")


@pytest.fixture
def rcpt(smtp):
    def ask(gateway, recipient):
        lines = ("EHLO internet.sender.example", "MAIL FROM:<carol@sender.example>", f"RCPT TO:<{recipient}>", "QUIT")
        said = smtp(gateway.mail_ipv4, *lines)[3]
        return UP if "Greylisted" in said else said[:3]  # which comes after recipients are looked at

    return ask


@pytest.fixture
def soon(lab, rcpt):
    """soon(recipient, code): every gateway gives that code, and it says after how many seconds."""

    def see(recipient, code):
        begin = time.monotonic()
        while (codes := {rcpt(gateway, recipient) for gateway in lab.gateways}) != {code}:
            assert time.monotonic() - begin < SOON, f"{recipient}: {codes} after {SOON} s"
        print(f"{recipient}: {code} at every gateway after {time.monotonic() - begin:.1f} s")

    return see


def test_a_mailbox_made_at_the_mail_host_is_known_everywhere_within_seconds(lab, mail, soon, wait):
    (alice,) = [
        line
        for line in lab.store.out("cat", "/etc/dovecot/users").splitlines()
        if line.startswith("alice@example.org:")
    ]
    soon("dora@example.org", DOWN)
    soon("sales@example.org", DOWN)  # an alias of the inventory, which ends there
    try:
        lab.store.out("sh", "-c", f"cat > {PEOPLE}", given=alice.replace("alice@", "dora@", 1) + "\n")
        soon("dora@example.org", UP)
        soon("sales@example.org", UP)
        ids = [mail.send(gateway.mail_ipv4, "sales@example.org") for gateway in lab.gateways]
        wait(lambda: set(mail.arrived(ids, "dora@example.org").values()) == {1}, 30, "mail in the new mailbox")
    finally:
        people(lab)
    soon("dora@example.org", DOWN)
    soon("sales@example.org", DOWN)
    soon("alice@example.org", UP)
    assert mail.bounced() == []


def letter(mail, author, recipient):
    mark = mail.new_id()
    return mark, f"From: {author}\r\nTo: {recipient}\r\nMessage-ID: {mark}\r\n\r\nhello\r\n"


def test_who_was_made_at_the_mail_host_sends_as_himself(lab, mail, published, send, received, soon, verifies, wait):
    """To the world, and to his neighbours, whom the gateways know; and as nobody else."""
    dora, alice, outside = "dora@example.org", "alice@example.org", "dave@sender.example"
    (line,) = [line for line in lab.store.out("cat", "/etc/dovecot/users").splitlines() if line.startswith(alice)]
    password = lab.store.lab_passwords[alice]
    try:
        lab.store.out("sh", "-c", f"cat > {PEOPLE}", given=line.replace("alice@", "dora@", 1) + "\n")
        soon(dora, UP)

        def sends(sender, author, recipient, login=dora):
            mark, text = letter(mail, author, recipient)
            return mark, send([text], login=login, password=password, sender=sender, recipient=recipient)[0]

        for sender in (dora, "dora+list@example.org"):
            mark, (code, _text) = sends(sender, sender, outside)
            assert code == 250
            assert verifies(received([mark])[mark])
        mark, (code, _text) = sends("info+list@example.org", alice, outside, alice)  # an alias of the inventory
        assert code == 250
        for login, recipient in ((alice, dora), (dora, alice), (dora, "sales@example.org")):
            mark, (code, _text) = sends(login, login, recipient, login)
            assert code == 250
            mailbox = alice if recipient == alice else dora
            wait(lambda: mail.arrived([mark], mailbox) == {mark: 1}, 30, f"mail for {recipient}")  # noqa: B023
        assert sends(alice, dora, outside)[1][0] == 553
        assert sends(dora, alice, outside)[1][0] == 550
        assert sends(dora, dora, outside, alice)[1][0] == 553
        assert sends("sales@example.org", dora, outside)[1][0] == 553  # the inventory's, which says nothing of senders
    finally:
        people(lab)
    soon(dora, DOWN)


def serial(gateway):
    return json.loads(gateway.out("cat", "/var/lib/gatehouse-recipients/store.example.org.json"))["serial"]


def stream(number, addresses, host="store.example.org", **wrong):
    body = "".join(f"{address}\n" for address in addresses)
    said = {"count": len(addresses), "length": len(body), "digest": hashlib.sha256(body.encode()).hexdigest(), **wrong}
    return f"gatehouse-recipients 1 {host} {number} {said['count']} {said['length']} {said['digest']} keep\n{body}"


def configuration(gateway):
    return f"/etc/gatehouse/recipients/gateways/{gateway.name}.conf"


def ssh(lab, gateway, *words, given=""):
    return lab.store.run("timeout", "30", "ssh", "-F", configuration(gateway), *words, given=given, check=False)


HERE = ["alice@example.org", "bob@example.org"]
# {code of the refusal: (the stream by the serial that would be right, words of the reason)}
RAILS = {
    "empty": (lambda right: stream(right, []), "the list is empty"),
    "shrunk": (lambda right: stream(right, HERE[:1]), "the list lost 7 of 8 addresses"),
    "domain": (lambda right: stream(right, [*HERE, "carol@example.com"]), "is in no domain of store.example.org"),
    "serial": (lambda right: stream(right - 1, [*HERE, *MORE]), "is not newer than"),
    "serial far ahead": (lambda right: stream(right + 1000, [*HERE, *MORE]), "is more than 1000 ahead"),
    "host": (lambda right: stream(right, [*HERE, *MORE], host="other.example.org"), "is that of other.example.org"),
    "postmaster": (lambda right: stream(right, [*HERE[1:], *MORE]), "alice@example.org is missing"),
    "count": (lambda right: stream(right, [*HERE, *MORE], count=3), "and its header says 3"),
    "digest": (lambda right: stream(right, [*HERE, *MORE], digest="0" * 64), "not that of the header's digest"),
    "length": (lambda right: stream(right, [*HERE, *MORE], length=10), "goes on after the 10 octets"),
    "length, cut": (lambda right: stream(right, [*HERE, *MORE])[:-9], "the list ends 9 octets before"),
    "line": (lambda right: stream(right, ["al ice@example.org", *HERE, *MORE]), "is not an address"),
    "line in capitals": (lambda right: stream(right, ["Alice@example.org", *HERE, *MORE]), "is not in lower case"),
    "catch-all": (lambda right: stream(right, ["@example.org", *HERE, *MORE]), "is a catch-all"),
    "header": (lambda _right: "alice@example.org\n", "the header is"),
}


def test_a_push_that_is_refused_changes_nothing(lab, gateway, soon, wait):
    people(lab, *MORE)
    soon(MORE[-1], UP)
    with by_hand(lab):
        for name, (made, reason) in RAILS.items():
            right = serial(gateway) + 1
            before = gateway.out("sh", "-c", TABLES)
            result = ssh(lab, gateway, gateway.name, given=made(right))
            answer = json.loads(result.stdout)
            assert (name, answer["accepted"], answer["code"]) == (name, False, name.split(",")[0].split(" ")[0])
            assert reason in answer["reason"], name
            assert gateway.out("sh", "-c", TABLES) == before, name
            wait(lambda: reason in gateway.mail_log(), 10, f"{name} in the mail log")  # noqa: B023
        assert json.loads(ssh(lab, gateway, gateway.name, given=stream(right, [*HERE, *MORE])).stdout)["accepted"]
        assert gateway.out("sh", "-c", TABLES) != before


def test_a_stream_that_is_cut_or_never_ends_changes_nothing(lab, gateway):
    with by_hand(lab):
        whole = stream(serial(gateway) + 1, [*HERE, *MORE])
        before = gateway.out("sh", "-c", TABLES)
        for moment in range(50):
            given = whole[: len(whole) * moment // 50]
            answer = json.loads(ssh(lab, gateway, gateway.name, given=given).stdout)
            assert (moment, answer["accepted"]) == (moment, False)
        begun = time.monotonic()
        header = stream(serial(gateway) + 1, HERE, length=60_000_000).partition("\n")[0]
        endless = (
            f"(echo '{header}'; head -c 1G /dev/zero | tr '\\0' x) | ssh -F {configuration(gateway)} {gateway.name}"
        )
        answer = json.loads(lab.store.run("sh", "-c", endless, check=False).stdout)
        assert (answer["accepted"], answer["code"]) == (False, "line")
        assert time.monotonic() - begun < 30
        assert gateway.out("sh", "-c", TABLES) == before
        assert json.loads(ssh(lab, gateway, gateway.name, given=whole).stdout)["accepted"]
    lab.store.out("gatehouse-recipients", "push", "--accept-shrink")


def test_a_list_that_shrank_wants_a_word_at_the_mail_host(lab, soon, wait):
    people(lab, *MORE)
    soon(MORE[-1], UP)
    people(lab)

    def refused():
        said = lab.store.run("gatehouse-recipients", "status", check=False).stdout
        return said.count("refused: the list lost 6 of 8 addresses") == len(lab.gateways)

    wait(refused, 10, "the refusal in the status")
    soon(MORE[-1], UP)
    assert lab.store.run("gatehouse-recipients", "push", check=False).returncode == 1
    lab.store.out("gatehouse-recipients", "push", "--accept-shrink")
    soon(MORE[-1], DOWN)
    soon("alice@example.org", UP)


INIT = "\0\0\0\5\1\0\0\0\3"  # sftp's first packet
OTHERS = stream(1, ["carol@example.com"], host="other.example.org", digest="0" * 64)
# What a thief could ask for: (words for ssh, standard input, what shows that he got it)
THEFT = {
    "a command": (["{name}", "id"], "", "uid="),
    "a shell": (["{name}"], "id\n", "uid="),
    "a file": (["{name}", "cat /etc/passwd"], "", "root:"),
    "sftp": (["-s", "{name}", "sftp"], INIT, "\0"),
    "another mail host's name": (["{name}", "other.example.org"], OTHERS, '"digest"'),
    "a terminal": (["-tt", "{name}"], "who types\n", "who types\n"),  # a terminal's echo
    "the way to another port": (["-W", "127.0.0.1:25", "{name}"], "", "220"),
    "a port of the gateway's": (["-R", "127.0.0.1:2525:127.0.0.1:25", "{name}"], "", None),
    "a socket of the gateway's": (["-R", "/tmp/stolen:127.0.0.1:25", "{name}"], "", None),
}  # fmt: skip


def stolen(lab, gateway, *names):
    """What of this a thief gets."""
    got = set()
    for name in names or THEFT:
        words, given, shown = THEFT[name]
        options = [] if shown else ["-o", "ExitOnForwardFailure=yes"]
        result = ssh(lab, gateway, *options, *(word.format(name=gateway.name) for word in words), given=given)
        if shown in result.stdout if shown else "forwarding failed" not in result.stderr:
            got.add(name)
    return got


# What each limit keeps a thief from, seen where it is taken away: (what to do on the gateway, what he then gets)
KEYS = "/etc/gatehouse/recipients/ssh/.ssh/authorized_keys"
LIMITS = {
    "restrict": (
        f"sed -i s/^restrict,// {KEYS}",
        {"a terminal", "the way to another port", "a port of the gateway's", "a socket of the gateway's"},
    ),
    "command": (f'sed -i \'s/,command="[^"]*"//\' {KEYS}', {"another mail host's name"}),
    "its shell too": (
        f'sed -i \'s/,command="[^"]*"//\' {KEYS}; usermod --shell /bin/sh gatehouse-recipients',
        {"a command", "a shell", "a file"},
    ),
}


def test_a_stolen_key_can_do_nothing_else(lab, gateway):
    assert stolen(lab, gateway) == set()
    assert json.loads(ssh(lab, gateway, gateway.name, "id", given="").stdout)["code"] == "header"
    # By its user's own password nobody comes either, and its folder holds nothing of his own.
    assert gateway.out("getent", "shadow", "gatehouse-recipients").split(":")[1] == "*"
    owned = gateway.out(
        "find", "/etc/gatehouse", "/etc/postfix", "/var/lib/gatehouse-recipients", "-user", "gatehouse-recipients"
    )
    assert owned == ""
    right = stream(serial(gateway) + 1, lab.store.out("gatehouse-recipients", "list").splitlines())
    assert json.loads(ssh(lab, gateway, gateway.name, given=right).stdout)["accepted"]


@pytest.mark.parametrize("limit", LIMITS)
def test_each_limit_of_the_key_is_what_keeps_a_thief_out(lab, gateway, limit):
    broken, gets = LIMITS[limit]
    gateway.out("cp", "-p", KEYS, "/root/keys")
    try:
        gateway.out("sh", "-c", broken)
        assert gets <= stolen(lab, gateway, *gets)
    finally:
        gateway.out("sh", "-c", f"cat /root/keys > {KEYS}; rm -f /root/keys /tmp/stolen")
        gateway.out("usermod", "--shell", "/usr/local/sbin/gatehouse-receiver", "gatehouse-recipients")
    assert stolen(lab, gateway, *gets) == set()


def test_no_environment_of_a_thief_s_reaches_the_receiver(lab, gateway):
    """Not even where sshd would take it: Python is told to look at none of its own."""
    drop_in = "/etc/ssh/sshd_config.d/00-thief.conf"
    gateway.out("sh", "-c", f"echo 'AcceptEnv PYTHON* LC_*' > {drop_in}; systemctl restart sshd")
    pushed = f"sleep 5 | ssh -F {configuration(gateway)} -o 'SetEnv=PYTHONVERBOSE=1' {gateway.name}"
    running = "while ! pid=$(pgrep -u gatehouse-recipients -f receiver); do sleep 0.1; done"
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            held = pool.submit(lab.store.run, "sh", "-c", pushed, check=False)
            assert "PYTHONVERBOSE=1" in gateway.out(
                "timeout", "10", "sh", "-c", f"{running}; cat /proc/$pid/environ"
            )  # so it came that far
            result = held.result()
        assert json.loads(result.stdout)["code"] == "header"
        assert "import " not in result.stderr
    finally:
        gateway.out("sh", "-c", f"rm {drop_in}; systemctl restart sshd")


def test_the_key_works_from_the_mail_host_s_address_alone(lab):
    first, second = lab.gateways
    key = lab.store.out("cat", "/etc/gatehouse/recipients/key")
    options = "-o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"

    def tried():
        words = ("ssh", "-i", "/root/stolen", *options.split())
        return second.run(*words, f"gatehouse-recipients@{first.mail_vpn_address}", check=False)

    first.out("cp", "-p", KEYS, "/root/keys")
    try:
        second.out("sh", "-c", "umask 077; cat > /root/stolen", given=key)
        result = tried()
        assert (result.returncode, result.stdout) == (255, "")
        assert "Permission denied" in result.stderr
        first.out("sed", "-i", 's/from="[^"]*",//', KEYS)
        assert json.loads(tried().stdout)["code"] == "header"  # by the address alone it was kept out
    finally:
        second.out("rm", "-f", "/root/stolen")
        first.out("sh", "-c", f"cat /root/keys > {KEYS}; rm -f /root/keys")
    assert ssh(lab, first, first.name, given="x\n").returncode == 1  # from its own address it is let in


def test_a_run_that_says_all_shows_no_private_key(lab):
    """In no output at -vvvv, no diff, no argument list of any process, and no log."""
    lines = lab.store.out("cat", "/etc/gatehouse/recipients/key").splitlines()
    canary = lines[len(lines) // 2]
    looking = threading.Event()
    seen = []

    def look():
        while not looking.is_set():
            for host in (lab.store, *lab.gateways):
                seen.append(host.out("sh", "-c", "cat /proc/[0-9]*/cmdline 2> /dev/null | tr '\\0' ' '; :"))
            seen.append(subprocess.run(["ps", "-eo", "args", "-ww"], capture_output=True, text=True, check=True).stdout)

    lab.store.out("rm", "/etc/gatehouse/recipients/key.pub")  # so that there is something to do
    looker = threading.Thread(target=look)
    looker.start()
    try:
        result = subprocess.run(
            ["ansible-playbook", "-i", "inventories/lab", "playbooks/site.yml", f"--tags={TAGS}", "-vvvv", "--diff",
             "-e", json.dumps(SOURCES)],
            cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, timeout=1200, check=True,
        )  # fmt: skip
        lab.store.out("gatehouse-recipients", "push")
    finally:
        looking.set()
        looker.join()
    assert "key.pub" in result.stdout
    assert any("gatehouse-recipients" in text for text in seen)
    logs = [host.journal() + host.mail_log() for host in (lab.store, *lab.gateways)]
    assert not [
        text for text in (result.stdout, result.stderr, *seen, *logs) if canary in text or "PRIVATE KEY" in text
    ]


def test_the_key_stays_on_the_mail_host(lab):
    for gateway in lab.gateways:
        assert gateway.run("grep", "-rl", "PRIVATE KEY", "/etc/gatehouse", check=False).stdout == ""
    assert lab.store.out("stat", "-c", "%a %U", "/etc/gatehouse/recipients/key").split() == ["600", "root"]


def test_a_second_run_changes_nothing_and_takes_nothing_back(lab, soon):
    people(lab, "erin@example.org")
    soon("erin@example.org", UP)
    assert lab.site(tags=TAGS, **SOURCES) == []
    soon("erin@example.org", UP)
    people(lab)


def test_a_gateway_that_was_away_learns_it_within_60_s(lab, rcpt, wait):
    first, second = lab.gateways
    second.run("systemctl", "stop", "ssh.socket", "ssh.service", "sshd.service", check=False)
    try:
        people(lab, "frank@example.org")
        wait(lambda: rcpt(first, "frank@example.org") == UP, SOON, "the one that is there")
        time.sleep(40)  # by now it waits for long
        assert rcpt(second, "frank@example.org") == DOWN
    finally:
        second.run("systemctl", "start", "ssh.service", check=False)
        second.run("systemctl", "start", "sshd.service", check=False)
    begin = time.monotonic()
    wait(lambda: rcpt(second, "frank@example.org") == UP, 60, "the one that was away")
    print(f"{second.name} learnt it {time.monotonic() - begin:.0f} s after its return")
    people(lab)
    wait(lambda: {rcpt(each, "frank@example.org") for each in lab.gateways} == {DOWN}, SOON, "all to forget")


def keys(gateway, name="store.example.org"):
    return sorted(
        line.split("\t")[0]
        for line in gateway.out("postmap", "-s", f"lmdb:/etc/postfix/recipients/{name}").splitlines()
    )


def test_a_new_gateway_refuses_nobody_for_good_until_its_first_push(lab, gateway, rcpt, soon):
    people(lab, "gina@example.org")
    soon("gina@example.org", UP)
    with by_hand(lab):
        gateway.out("sh", "-c", "rm /var/lib/gatehouse-recipients/*.json /etc/postfix/recipients/*")
        gateway.out("gatehouse-receiver", "refresh")
        asked = (
            "alice@example.org",
            "info@example.org",
            "gina@example.org",
            "sales@example.org",
            "nobody-here@example.org",
        )
        assert [rcpt(gateway, each) for each in asked] == [UP, UP, LATER, LATER, LATER]
        assert "no push yet" in gateway.run("gatehouse-receiver", "status", check=False).stdout
        lab.store.out("gatehouse-recipients", "push")
        soon("nobody-here@example.org", DOWN)
        assert [rcpt(gateway, each) for each in asked] == [UP, UP, UP, DOWN, DOWN]
    people(lab)
    soon("gina@example.org", DOWN)


def test_who_was_removed_is_told_to_come_again_for_the_time_of_grace(lab, soon):
    settings = "/etc/gatehouse/recipients/settings.json"
    people(lab, "hugo@example.org")
    soon("hugo@example.org", UP)
    try:
        for each in lab.gateways:
            each.out("sed", "-i", 's/"grace": 0/"grace": 1/', settings)
        people(lab)
        soon("hugo@example.org", LATER)
        soon("nobody-here@example.org", DOWN)
    finally:
        for each in lab.gateways:
            each.out("sed", "-i", 's/"grace": 1/"grace": 0/', settings)
            each.out("gatehouse-receiver", "refresh")
    soon("hugo@example.org", DOWN)


def test_a_gateway_logs_a_list_that_is_old(lab, gateway, wait):
    older = (
        "import json, pathlib; p = pathlib.Path('/var/lib/gatehouse-recipients/store.example.org.json');"
        "s = json.loads(p.read_text()); s['at'] -= 2 * 86400; p.write_text(json.dumps(s))"
    )
    with by_hand(lab):
        assert gateway.run("gatehouse-receiver", "status", check=False).returncode == 0
        gateway.out("python3", "-c", older)
        assert gateway.run("gatehouse-receiver", "status", check=False).returncode == 1
        timer = "gatehouse-receiver-watch.timer"
        assert gateway.out("systemctl", "is-enabled", timer).strip() == "enabled"
        assert gateway.out("systemctl", "is-active", timer).strip() == "active"
        assert "OnUnitActiveUSec=1h" in gateway.out("systemctl", "show", "-p", "TimersMonotonic", timer)
        following = gateway.out("systemctl", "show", "-p", "NextElapseUSecMonotonic", "--value", timer).strip()
        assert following not in ("", "0", "infinity")
        gateway.out("systemctl", "start", "gatehouse-receiver-watch.service")
        wait(lambda: re.search(r"store\.example\.org: serial .* \(TOO OLD\)", gateway.mail_log()), 10, "the alarm")
        lab.store.out("gatehouse-recipients", "push")
        assert gateway.run("gatehouse-receiver", "status", check=False).returncode == 0


def test_the_playbook_shows_what_a_push_would_change_and_pushes(lab, soon):
    chosen = ("playbooks/recipients.yml", "--extra-vars", json.dumps(SOURCES))

    def play(*more):
        results = lab.playbook(*chosen, *more)
        assert failed(results) == []
        return any(result.get("changed") for result in results), "['ida@example.org']" in json.dumps(results)

    with by_hand(lab):
        assert play("--check") == (False, False)
        people(lab, "ida@example.org")
        assert play("--check") == (True, True)
        soon("ida@example.org", DOWN)
        assert play() == (True, True)
        soon("ida@example.org", UP)
        assert play() == (False, False)
        put(lab, ALIASES, "wrong\n")
        (refusal,) = failed(lab.playbook(*chosen))
        assert "gateway mx1.example.org: nothing was sent: aliases_file" in refusal[2]
    put(lab, ALIASES, "")
    people(lab)


def test_an_alias_made_at_the_mail_host_is_known_while_its_end_is(lab, mail, soon):
    people(lab, "jane@example.org")
    put(lab, ALIASES, "desk@example.org: jane@example.org\ninfo@example.org: bob@example.org\n")
    soon("desk@example.org", UP)
    for each in lab.gateways:
        assert each.out("postmap", "-q", "info@example.org", "lmdb:/etc/postfix/recipients/virtual_alias") == (
            "alice@example.org\n"  # the inventory's
        )
    people(lab)
    soon("desk@example.org", DOWN)
    for each in lab.gateways:
        assert "desk@example.org" in each.run("gatehouse-receiver", "status", check=False).stdout
    people(lab, "jane@example.org")
    soon("desk@example.org", UP)
    people(lab)
    put(lab, ALIASES, "")
    lab.store.run("gatehouse-recipients", "push", "--accept-shrink", check=False)
    soon("desk@example.org", DOWN)
    assert mail.bounced() == []


def test_two_mail_hosts_cannot_touch_what_is_the_other_s(lab, gateway):
    """The second one is written by hand where role pushed_recipients would, and pushes from the first one's address."""
    settings = "/etc/gatehouse/recipients/settings.json"
    second = {"name": "other.example.org", "pushes": True, "domains": ["example.com"], "mailboxes": [], "needed": []}
    lab.store.out("sh", "-c", "rm -f /root/second*; ssh-keygen -q -t ed25519 -N '' -f /root/second")
    public = lab.store.out("cat", "/root/second.pub").split()[1]

    def by_second(number, addresses, host="other.example.org"):
        return ssh(
            lab,
            gateway,
            "-o",
            "IdentityFile=none",
            "-i",
            "/root/second",
            gateway.name,
            given=stream(number, addresses, host),
        )

    with by_hand(lab):
        gateway.out("cp", "-p", KEYS, "/root/keys")
        before = gateway.out("cat", settings)
        known = json.loads(before)
        try:
            gateway.out("tee", settings, given=json.dumps({**known, "mail_hosts": [*known["mail_hosts"], second]}))
            line = f'restrict,from="{lab.store.mail_vpn_address}",command="other.example.org" ssh-ed25519 {public}'
            gateway.out("sh", "-c", f"cat >> {KEYS}", given=line + "\n")
            gateway.out("gatehouse-receiver", "refresh")
            first = keys(gateway)
            for addresses, host, code in (
                (["alice@example.org", "carol@example.com"], "other.example.org", "domain"),
                (["alice@example.org"], "store.example.org", "host"),
            ):
                assert json.loads(by_second(1, addresses, host).stdout)["code"] == code
            assert json.loads(by_second(1, ["carol@example.com"]).stdout)["accepted"]
            assert (keys(gateway), keys(gateway, "other.example.org")) == (first, ["carol@example.com"])
            theirs = stream(serial(gateway) + 1, ["alice@example.org", "carol@example.com"])
            assert json.loads(ssh(lab, gateway, gateway.name, given=theirs).stdout)["code"] == "domain"
            lab.store.out("gatehouse-recipients", "push")
            assert (keys(gateway), keys(gateway, "other.example.org")) == (first, ["carol@example.com"])
        finally:
            gateway.out("sh", "-c", f"cat /root/keys > {KEYS}; rm -f /root/keys")
            gateway.out("tee", settings, given=before)
            gateway.out("gatehouse-receiver", "refresh")
            lab.store.out("sh", "-c", "rm -f /root/second*")
    assert gateway.run("ls", "/etc/postfix/recipients/other.example.org", check=False).returncode != 0


KILLED = {
    "receiver": "until pid=$(systemctl show -p MainPID --value gatehouse-receiver.service); [ $pid != 0 ]; do :; done;"
    " sleep {moment}; kill -9 $pid && echo hit",
    "pusher": "timeout --signal=KILL {moment} gatehouse-recipients push",
}


@pytest.mark.parametrize("who", KILLED)
def test_who_is_killed_leaves_a_table_that_is_whole(lab, gateway, who):
    """The old one or the new one, and the next push puts the new one there."""
    many = [f"many{number}@example.org" for number in range(3000)]
    lists = itertools.cycle([[*many, "odd@example.org"], many])
    with by_hand(lab):
        people(lab, *many)
        lab.store.out("gatehouse-recipients", "push")
        met, hits = set(), 0
        for moment in range(20):
            old, some = keys(gateway), next(lists)
            new = sorted(["alice@example.org", "bob@example.org", *some])
            people(lab, *some)
            killing = KILLED[who].format(moment=moment * (0.03 if who == "receiver" else 0.15))
            if who == "receiver":
                with concurrent.futures.ThreadPoolExecutor() as pool:
                    killed = pool.submit(gateway.run, "timeout", "20", "sh", "-c", killing, check=False)
                    lab.store.run("timeout", "4", "gatehouse-recipients", "push", check=False)
                    hits += "hit" in killed.result().stdout
            else:
                lab.store.run("sh", "-c", killing, check=False)
            found = keys(gateway)
            assert found in (old, new), f"moment {moment}: {len(found)} entries"
            met.add("old" if found == old else "new")
            lab.store.run("gatehouse-recipients", "push", check=False)
            assert keys(gateway) == new
        assert met == {"old", "new"}
        assert hits or who == "pusher", "no receiver was there any more when it was to be killed"
        people(lab)
        lab.store.out("gatehouse-recipients", "push", "--accept-shrink")


def test_a_list_that_dovecot_lets_go_of_is_asked_for_again(lab):
    """As Dovecot 2.4 does by itself, once in a hundred lists; 2.3 does not, and without its worker it says nothing."""
    if lab.store.out("dovecot", "--version").startswith("2.3"):
        pytest.skip("Dovecot 2.3 lets go of no list")
    many = [f"many{number}@example.org" for number in range(3000)]
    end_worker = "sleep {}; pkill -KILL -f '^dovecot/auth -w'"
    with by_hand(lab):
        people(lab, *many)
        lab.store.out("gatehouse-recipients", "push")
        cut = 0
        for moment in range(30):
            lab.store.run("sh", "-c", f"({end_worker.format(moment * 0.005)}) & exec gatehouse-recipients push")
            half = f"({end_worker.format(0.01)}) & exec doveadm user '*'"
            cut += lab.store.run("sh", "-c", half, check=False).returncode == os.EX_TEMPFAIL
        assert cut, "no list was cut short"
        for_long = f"timeout 2 sh -c 'while :; do {end_worker.format(0.05)}; done'"
        lab.store.run("sh", "-c", f"({for_long}) & exec gatehouse-recipients push")
        people(lab)
        lab.store.out("gatehouse-recipients", "push", "--accept-shrink")


YEAR_BACK = """
import runpy, sys, time
real = time.time
time.time = lambda: real() - 365 * 86400
sys.argv = ["gatehouse-recipients", "push"]
runpy.run_path("/usr/local/sbin/gatehouse-recipients", run_name="__main__")
"""


def test_a_mail_host_without_room_or_with_a_wrong_clock_pushes_on(lab, soon):
    state = "/var/lib/gatehouse-recipients"
    with by_hand(lab):
        lab.store.mount("mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", state)
        try:
            lab.store.out(
                "sh", "-c", f"for each in {' '.join(g.name for g in lab.gateways)}; do : > {state}/$each.lock; done"
            )
            lab.store.out("sh", "-c", f"cat /dev/zero > {state}/filler 2> /dev/null || true")
            people(lab, "kim@example.org")
            said = lab.store.run("gatehouse-recipients", "push", check=False)
            assert "No space left" in said.stdout
            soon("kim@example.org", UP)
        finally:
            lab.store.mount("umount", state)
        people(lab)
        lab.store.out("gatehouse-recipients", "push")  # whose serials are old by now
        soon("kim@example.org", DOWN)
        people(lab, "kim@example.org")
        lab.store.out("python3", "-c", YEAR_BACK)
        soon("kim@example.org", UP)
        assert "TOO OLD" in lab.store.run("gatehouse-recipients", "status", check=False).stdout
        people(lab)
        lab.store.out("gatehouse-recipients", "push")
        soon("kim@example.org", DOWN)
        assert lab.store.run("gatehouse-recipients", "status", check=False).returncode == 0


def test_no_answer_is_wrong_while_lists_are_pushed(lab):
    """10,000 known recipients and 10,000 others at each gateway, by the other one, whom it does not slow down."""
    known = [f"known{number}@example.org" for number in range(10_000)]
    unknown = [f"{secrets.token_hex(8)}@example.org" for _number in range(10_000)]
    expected = dict(
        pair for pairs in zip(((name, UP) for name in known), ((name, DOWN) for name in unknown)) for pair in pairs
    )
    first, second = lab.gateways

    def asked(there, client, part):
        return client.python("recipients_client.py", {"host": there.mail_ipv4, "expected": part, "threads": 4})

    with by_hand(lab):
        people(lab, *known)
        lab.store.out("gatehouse-recipients", "push")
        pushes, results = 0, []
        everybody = list(expected.items())
        parts = [dict(everybody[at : at + 400]) for at in range(0, len(everybody), 400)]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for part in parts:
                asking = [pool.submit(asked, *pair, part) for pair in ((first, second), (second, first))]
                people(lab, *known, f"push{pushes}@example.org")
                lab.store.out("gatehouse-recipients", "push")
                pushes += 1
                results += [each.result() for each in asking]
        people(lab)
        lab.store.out("gatehouse-recipients", "push", "--accept-shrink")
    print(f"{pushes} pushes, {sum(result['asked'] for result in results)} answers")
    assert [wrong for result in results for wrong in result["wrong"]] == []
    assert pushes >= 50
