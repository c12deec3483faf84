"""Recipients that the mail host pushes: known within seconds without Ansible, and the key can do nothing else."""

from __future__ import annotations

import hashlib
import json
import time

import pytest

pytestmark = pytest.mark.stress  # two runs of site.yml

PEOPLE = "/etc/dovecot/people"  # which is the operator's, beside site.yml's own
SOURCES = {
    "mail_recipients_sources": [{"users_file": PEOPLE}, {"doveadm": "*"}],
    "mail_aliases": {"info@example.org": "alice@example.org", "sales@example.org": "dora@example.org"},
}
TAGS = ("playbooks/site.yml", "--tags", "dovecot,recipients,postfix")
MORE = [f"more{number}@example.org" for number in range(6)]
TABLES = "cat /etc/postfix/recipients/* /var/lib/gatehouse-recipients/*.json | sha256sum"
UP, DOWN = "250", "550"


def failed(results):
    return [(result["host"], result["task"], result.get("msg")) for result in results if result.get("failed")]


def people(lab, *addresses):
    lab.store.out("tee", PEOPLE + ".new", given="".join(f"{address}:{{CRYPT}}*::::::\n" for address in addresses))
    lab.store.out("mv", PEOPLE + ".new", PEOPLE)


@pytest.fixture(scope="module")
def pushed(lab, wait):
    """The mail host pushes, and each gateway has taken a list."""
    people(lab)
    try:
        assert failed(lab.playbook(*TAGS, "--extra-vars", json.dumps(SOURCES))) == []
        wait(lambda: lab.store.run("gatehouse-recipients", "status", check=False).returncode == 0, 60, "the first push")
        yield
    finally:
        results = lab.playbook(*TAGS)
        lab.store.out("rm", "-f", PEOPLE)
    assert failed(results) == []


@pytest.fixture
def rcpt(smtp):
    def ask(gateway, recipient):
        lines = ("EHLO internet.sender.example", "MAIL FROM:<carol@sender.example>", f"RCPT TO:<{recipient}>", "QUIT")
        return smtp(gateway.mail_ipv4, *lines)[3][:3]

    return ask


@pytest.fixture
def soon(lab, rcpt):
    """soon(recipient, code): every gateway gives that code within 5 s."""

    def see(recipient, code, seconds=5.0):
        begin = time.monotonic()
        while (codes := {rcpt(gateway, recipient) for gateway in lab.gateways}) != {code}:
            assert time.monotonic() - begin < seconds, f"{recipient}: {codes} after {seconds} s"
        print(f"{recipient}: {code} at every gateway after {time.monotonic() - begin:.1f} s")

    return see


@pytest.mark.usefixtures("pushed")
def test_a_mailbox_made_at_the_mail_host_is_known_everywhere_within_5_s(lab, mail, soon, wait):
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


def serial(gateway):
    return json.loads(gateway.out("cat", "/var/lib/gatehouse-recipients/store.example.org.json"))["serial"]


def stream(number, addresses, host="store.example.org", **wrong):
    body = "".join(f"{address}\n" for address in addresses)
    said = {"count": len(addresses), "length": len(body), "digest": hashlib.sha256(body.encode()).hexdigest(), **wrong}
    return f"gatehouse-recipients 1 {host} {number} {said['count']} {said['length']} {said['digest']} keep\n{body}"


def ssh(lab, gateway, *words, given=""):
    configuration = f"/etc/gatehouse/recipients/gateways/{gateway.name}.conf"
    return lab.store.run("timeout", "30", "ssh", "-F", configuration, *words, given=given, check=False)


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


@pytest.mark.usefixtures("pushed")
def test_a_push_that_is_refused_changes_nothing(lab, gateway, soon, wait):
    people(lab, *MORE)
    soon(MORE[-1], UP)
    lab.store.out("systemctl", "stop", "gatehouse-recipients.timer", "gatehouse-recipients.path")
    lab.store.out("gatehouse-recipients", "push")  # by whose answer none is under way any more
    try:
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
    finally:
        lab.store.out("systemctl", "start", "gatehouse-recipients.timer", "gatehouse-recipients.path")


@pytest.mark.usefixtures("pushed")
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


# What a thief could ask for, and what it would show
THEFT = {
    "a command": (["{name}", "id"], "uid="),
    "a shell": (["-tt", "{name}"], "$ "),
    "root's part": (["{name}", "accept"], "changed"),
    "sftp": (["-s", "{name}", "sftp"], "\0"),
    "the way to another port": (["-W", "127.0.0.1:25", "{name}"], "220"),
    "a file by its name": (["{name}", "cat", "/etc/passwd"], "root:"),
    "an environment": (["-o", "SetEnv=PYTHONINSPECT=1 LC_ALL=x", "{name}", "env"], "PATH="),
}


@pytest.mark.usefixtures("pushed")
def test_a_stolen_key_can_do_nothing_else(lab, gateway):
    for name, (words, shown) in THEFT.items():
        result = ssh(lab, gateway, *(word.format(name=gateway.name) for word in words), given="id\n")
        assert shown not in result.stdout, name
        assert result.returncode != 0, name
    for way in (["-R", "127.0.0.1:2525:127.0.0.1:25"], ["-R", "/tmp/stolen:127.0.0.1:25"]):
        result = ssh(lab, gateway, "-N", "-o", "ExitOnForwardFailure=yes", *way, gateway.name)
        assert result.returncode == 255, way
        assert "forwarding" in result.stderr, way
    assert json.loads(ssh(lab, gateway, gateway.name, "id", given="").stdout)["code"] == "header"
    # By its user's own password nobody comes either, and its folder holds nothing of his own.
    assert gateway.out("getent", "shadow", "gatehouse-recipients").split(":")[1] == "*"
    owned = gateway.out(
        "find", "/etc/gatehouse", "/etc/postfix", "/var/lib/gatehouse-recipients", "-user", "gatehouse-recipients"
    )
    assert owned == ""
    right = stream(serial(gateway) + 1, lab.store.out("gatehouse-recipients", "list").split())
    assert json.loads(ssh(lab, gateway, gateway.name, given=right).stdout)["accepted"]


@pytest.mark.usefixtures("pushed")
def test_the_key_works_from_the_mail_host_s_address_alone(lab):
    first, second = lab.gateways
    key = lab.store.out("cat", "/etc/gatehouse/recipients/key")
    try:
        second.out("sh", "-c", "umask 077; cat > /root/stolen", given=key)
        to = f"gatehouse-recipients@{first.mail_vpn_address}"
        options = (
            "-i",
            "/root/stolen",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
        )
        result = second.run("ssh", *options, "-o", "UserKnownHostsFile=/dev/null", to, check=False)
    finally:
        second.out("rm", "-f", "/root/stolen")
    assert (result.returncode, result.stdout) == (255, "")
    assert "Permission denied" in result.stderr
    assert ssh(lab, first, first.name, given="x\n").returncode == 1  # from its own address it is let in


@pytest.mark.usefixtures("pushed")
def test_the_key_stays_on_the_mail_host(lab):
    for gateway in lab.gateways:
        assert gateway.run("grep", "-rl", "PRIVATE KEY", "/etc/gatehouse", check=False).stdout == ""
    assert lab.store.out("stat", "-c", "%a %U", "/etc/gatehouse/recipients/key").split() == ["600", "root"]


@pytest.mark.usefixtures("pushed")
def test_a_second_run_changes_nothing_and_takes_nothing_back(lab, soon):
    people(lab, "erin@example.org")
    soon("erin@example.org", UP)
    results = lab.playbook(*TAGS, "--extra-vars", json.dumps(SOURCES))
    assert [
        (result["host"], result["task"]) for result in results if result.get("changed") or result.get("failed")
    ] == []
    soon("erin@example.org", UP)
    people(lab)


@pytest.mark.usefixtures("pushed")
def test_a_gateway_that_was_away_learns_it_within_60_s(lab, rcpt, wait):
    first, second = lab.gateways
    second.run("systemctl", "stop", "ssh.socket", "ssh.service", "sshd.service", check=False)
    try:
        people(lab, "frank@example.org")
        wait(lambda: rcpt(first, "frank@example.org") == UP, 5, "the one that is there")
        time.sleep(40)  # by now it waits for long
        assert rcpt(second, "frank@example.org") == DOWN
    finally:
        second.run("systemctl", "start", "ssh.service", check=False)
        second.run("systemctl", "start", "sshd.service", check=False)
    begin = time.monotonic()
    wait(lambda: rcpt(second, "frank@example.org") == UP, 60, "the one that was away")
    print(f"{second.name} learnt it {time.monotonic() - begin:.0f} s after its return")
    people(lab)
    wait(lambda: {rcpt(each, "frank@example.org") for each in lab.gateways} == {DOWN}, 5, "all to forget")
