"""The procedures of docs/operations.md and docs/dns.md, word by word: the page is the script.

A test names a section, and runs its commands in their order where the text says that they run. What stands between the
commands, such as a change of the inventory, the test does. A command that it leaves out fails it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from lab.inventory import STORE2, STORE2_VARIABLES, Inventory

ROOT = Path(__file__).resolve().parents[3]
BOB, ALICE = "bob@example.org", "alice@example.org"
EMPTY = "Mail queue is empty"


# The reader


def section(text: str, heading: str) -> str:
    """What stands below a heading of a page, up to the next heading of whatever level."""
    found = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"{len(found)} sections {heading}"
    return found[0]


def commands(text: str) -> list[str]:
    """The indented lines of a section, without their comments. Text within a list has less than four spaces; what
    stands between fences is for a file."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^ {4,}(\S.*)$", text, re.MULTILINE)
    return [re.sub(r"\s+# .*", "", line).strip() for line in lines]


def replaced(command: str, names: dict[str, str]) -> str:
    """The command with what stands for something of the reader's own replaced, at one go."""
    return re.sub("|".join(map(re.escape, names)), lambda found: names[found[0]], command)


def test_the_reader_takes_commands_in_order_and_no_text():
    text = "Text `x`.\n\n    one -a 'b'      # why\n\n1. Text,\n   more text:\n\n       two\n\n```\na:\n    b: 1\n```\n"
    page = f"# A\n\n    no\n\n## B\n\n{text}\n### C\n\n    three\n"
    assert commands(section(page, "B")) == ["one -a 'b'", "two"]
    assert replaced("copy mx1 to mx2", {"mx1": "mx2", "mx2": "mx3"}) == "copy mx2 to mx3"


def test_every_section_with_commands_has_its_test():
    pages = [(ROOT / f"docs/{page}.md").read_text() for page in ("operations", "dns")]
    headings = [heading for page in pages for heading in re.findall(r"^#+ (.*)$", page, re.MULTILINE)]
    texts = {heading: section(page, heading) for page in pages for heading in headings if f"# {heading}\n" in page}
    listed = dict(re.findall(r"^\| (.*) \| `(test_\w+)`", (ROOT / "docs/design.md").read_text(), re.MULTILINE))
    assert set(listed) == {heading for heading, text in texts.items() if commands(text)}
    for heading, test in listed.items():
        assert f'procedure("{heading}"' in inspect.getsource(globals()[test])


# The runner


class Procedure:
    """A section of a page, whose commands are run one after the other."""

    def __init__(self, lab: Any, inventory: Inventory, page: str, heading: str, names: dict[str, str]) -> None:
        self.lab, self.inventory = lab, inventory
        self.names = {"inventories/mysite": str(inventory.folder), " --ask-vault-pass": "", **names}
        self.left = commands(section((ROOT / f"docs/{page}.md").read_text(), heading))

    def take(self, beginning: str) -> str:
        """The next command of the page, which begins so."""
        assert self.left, f"the page has no more commands, so none that begins with {beginning}"
        command = replaced(self.left.pop(0), self.names)
        assert command.startswith(beginning), command
        print(f"  {command}")
        return command

    def play(self, playbook: str) -> list[dict[str, Any]]:
        """Run the next command, that playbook; nothing fails. Its results."""
        program, option, inventory, *arguments = shlex.split(self.take("ansible-playbook"))
        assert (program, option, inventory) == ("ansible-playbook", "-i", str(self.inventory.folder))
        assert arguments[0] == f"playbooks/{playbook}.yml"
        started = time.monotonic()
        results = self.lab.playbook(*arguments, inventory=self.inventory.folder)
        print(f"    {time.monotonic() - started:.0f} s")
        assert [result for result in results if result.get("failed") or result.get("unreachable")] == []
        return results

    def on(self, hosts: list[Any], beginning: str, check: bool = True) -> list[str]:
        """Run the next command as root on these hosts; what each says."""
        command = self.take(beginning)
        return [host.run("bash", "-c", command, check=check).stdout for host in hosts]

    def on_controller(self, beginning: str) -> str:
        """Run the next command on this machine, with nothing of what molecule tells Ansible's programs."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE"))
        }
        result = subprocess.run(
            ["bash", "-o", "pipefail", "-c", self.take(beginning)],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert result.returncode == 0, f"{result.stdout}{result.stderr}"
        return result.stdout


@pytest.fixture
def procedure(lab, inventory):
    """procedure(heading, page=, names): the section as a Procedure; at the end none of its commands is left."""

    @contextlib.contextmanager
    def read(heading: str, page: str = "operations", **names: str) -> Iterator[Procedure]:
        print(f"\n{heading}")
        found = Procedure(lab, inventory, page, heading, names)
        yield found
        assert found.left == [], f"commands of {heading} that the test did not run"

    return read


@pytest.fixture
def lab_as_before(lab):
    """Afterwards the lab has the mailboxes and limits of its inventory."""
    yield
    lab.site(tags="dovecot,greylist,postfix")


GREETED = """
import json, smtplib, sys
def greets(address):
    try:
        smtplib.SMTP(address, timeout=3).close()
    except OSError:
        return False
    return True
print(json.dumps([address for address in json.load(sys.stdin) if greets(address)]))
"""


class Stream:
    """A mail every so many seconds from one client on the internet, whose Postfix follows MX records and tries again;
    and each second a look whether a gateway greets."""

    def __init__(self, mail: Any, every: float) -> None:
        self.mail, self.every, self.over = mail, every, threading.Event()
        self.ids: list[str] = []
        self.greeted: list[list[str]] = []
        self.before = set(mail.bounced())

    def again(self, every: float, act: Any) -> None:
        due = time.monotonic()
        while not self.over.wait(due - time.monotonic()):
            act()
            due += every

    def send(self) -> None:
        self.again(self.every, lambda: self.ids.extend(self.mail.queue(1, BOB)))

    def look(self) -> None:
        lab = self.mail.lab
        order = json.dumps([gateway.mail_ipv4 for gateway in lab.gateways])
        self.again(1, lambda: self.greeted.append(json.loads(lab.internet.out("python3", "-c", GREETED, given=order))))

    def arrives(self, wait: Any, store: Any) -> None:
        """Each mail is in the mailbox once, nothing was returned, and a gateway was there all the time."""

        def there() -> dict[str, int]:
            command = ["doveadm", "-f", "tab", "fetch", "-u", BOB, "hdr.message-id", "mailbox", "INBOX"]
            found = store.run(*command, check=False).stdout.split()
            return {number: found.count(number) for number in self.ids}

        wait(lambda: all(there().values()), 120, f"each of {len(self.ids)} mails")
        assert set(there().values()) == {1}
        assert set(self.mail.bounced()) - self.before == set()
        assert self.greeted
        assert [] not in self.greeted
        print(f"  {len(self.ids)} mails: 0 lost, 0 twice, 0 bounced; {len(self.greeted)} looks: always a greeting")


@contextlib.contextmanager
def mail_without_end(mail, every: float = 1) -> Iterator[Stream]:
    stream = Stream(mail, every)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(stream.send), pool.submit(stream.look)]
        try:
            yield stream
        finally:
            stream.over.set()
        for each in busy:
            each.result()


def emptied(gateway, wait):
    wait(lambda: EMPTY in gateway.out("postqueue", "-p"), 120, f"the queue of {gateway.name}")


def queued_for(gateway, address):
    """{queue id: why it waits} of the mail for an address."""
    return {
        message["queue_id"]: recipient.get("delay_reason", "")
        for message in gateway.queue()
        for recipient in message["recipients"]
        if recipient["address"] == address
    }


# The procedures


@pytest.mark.stress
def test_a_mailbox_goes(lab, mail, wait, inventory, procedure, lab_as_before):
    """Two mails wait for it; one of them is given to somebody else, the other is deleted."""
    gateway, store = lab.gateways[0], lab.store
    before = set(mail.bounced())
    store.out("systemctl", "stop", "gatehouse-lmtp.socket", "gatehouse-lmtp@*")
    ids = [mail.send(gateway.mail_ipv4, BOB) for _number in range(2)]
    wait(lambda: all(queued_for(gateway, BOB).values()) and len(queued_for(gateway, BOB)) == 2, 60, "two mails queued")
    with inventory.edit() as variables:
        variables["mail_mailboxes"].remove(BOB)
        variables["mail_aliases"][BOB] = ALICE
    with inventory.edit("group_vars/all/vault.yml") as secrets:
        del secrets["vault_mail_password_hashes"][BOB]
    with procedure("A mailbox goes") as page:
        page.play("site")
        page.play("site")
        gateway.out("postqueue", "-f")  # who has waited for minutes waits for minutes more
        wait(lambda: all("550 5.1.1" in why for why in queued_for(gateway, BOB).values()), 60, "the mail host's no")
        said, _other = page.on(lab.gateways, "postqueue -p")
        assert said.count("550 5.1.1") == 2
        requeued, deleted = queued_for(gateway, BOB)
        page.names["QUEUE_ID"] = requeued
        page.on([gateway], f"postsuper -r {requeued}")
        page.names["QUEUE_ID"] = deleted
        page.on([gateway], f"postsuper -d {deleted}")
    emptied(gateway, wait)
    assert sorted(len(mail.copies(ALICE, number)) for number in ids) == [0, 1]
    assert set(mail.bounced()) == before


# The lab's hosts are from one image, and its keys come with it.
OTHER_KEY = """
rm /etc/ssh/ssh_host_*
ssh-keygen -A
systemctl restart ssh || systemctl restart sshd
"""


@pytest.mark.stress
def test_a_gateway_is_rebuilt(lab, mail, wait, submit, received, verifies, message, inventory, procedure, state,
                                published):  # fmt: skip
    """ssh knows the host by its name and refuses another key, as on a real controller."""
    gateway, known = lab["mx2.example.org"], inventory.folder / "known_hosts"
    with inventory.edit("group_vars/lab.yml") as variables:
        variables["ansible_ssh_common_args"] = (
            f"-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={known}"
            f" -o HostKeyAlias={{{{ inventory_hostname }}}} -o ControlPath={state}/%C -o LogLevel=ERROR"
        )
    key = gateway.out("cat", "/etc/ssh/ssh_host_ed25519_key.pub")
    known.write_text(f"{gateway.name} {key}")
    forget = {"ssh-keygen": f"ssh-keygen -f {known}"}
    with mail_without_end(mail) as stream, procedure("A gateway is rebuilt", mx1="mx2", **forget) as page:
        page.on([gateway], "firewall-cmd --zone=internet --remove-port=25/tcp")
        page.on([gateway], "postqueue -f")
        wait(lambda: EMPTY in gateway.out("postqueue", "-p"), 120, "its queue")
        assert page.on([gateway], "postqueue -p") == [f"{EMPTY}\n"]
        subprocess.run(["podman", "rm", "--force", "--time=0", gateway.container], check=True, timeout=60)
        create = lab.playbook("molecule/shared/create.yml")
        assert [result for result in create if result.get("failed")] == []
        gateway.out("sh", "-c", OTHER_KEY)
        assert gateway.out("cat", "/etc/ssh/ssh_host_ed25519_key.pub") != key
        page.on_controller("ssh-keygen")
        page.play("rotate_dkim")
        page.play("site")
    stream.arrives(wait, lab.store)
    mail.wait_for(ALICE, mail.send(gateway.mail_ipv4, ALICE))
    signed_by(gateway, submit, received, verifies, message)


def signed_by(gateway, submit, received, verifies, message):
    """Mail goes out through the gateway, and both of its signatures verify by what DNS says."""
    mark = f"<{time.time_ns()}@example.org>"
    ((code, said),) = submit(gateway, [message(mark, [f"From: {ALICE}"])])
    assert code == 250, said
    text = received([mark])[mark]
    assert text.count(b"DKIM-Signature:") == 2
    assert verifies(text, 0)
    assert verifies(text, 1)


# Not in what firewalld keeps of its former files.
TRACES = "grep -rlwE --exclude='*.old' '{}' /etc /var/lib/unbound /var/lib/postfix 2> /dev/null || true"
# Nor in the name of a file, in what the mail host keeps of pushes and of strangers, or in what the firewall has loaded.
MORE_TRACES = """
find /etc /var/lib /var/spool -name '*mx3.example.org*'
grep -rlwE '{words}' /var/lib/gatehouse-recipients ~postgrey 2> /dev/null
firewall-cmd --list-all-zones | grep -wE '{words}'
true
"""


@pytest.mark.stress
def test_a_gateway_comes_and_leaves(lab, mail, wait, smtp, submit, received, verifies, message, inventory, procedure,
                                    published, lab_as_before):  # fmt: skip
    """A third MX, by one line; for a while all mail comes by it alone, since the others prefer it."""
    ns, store = lab["ns.example.net"], lab.store
    zones = ["example.org", ns.lab_reverse_zones[0], ns.lab_reverse_zones[2]]
    name = "mx3.example.org"
    words = f"mx3|{ns.lab_internet4}.13|{ns.lab_internet6}::13|{ns.lab_vpn4}.13".replace(".", r"\.")
    nobody = f"dan@[{lab.stranger(99)}]"  # no host has that address

    def served():
        own = ("SOA", "RRSIG", "NSEC", "NSEC3", "DNSKEY", "CDS", "CDNSKEY")
        lines = [line.split(maxsplit=4) for zone in zones for line in ns.out("knotc", "zone-read", zone).splitlines()]
        found = {(owner, kind, data) for _zone, owner, _ttl, kind, data in lines if kind not in own}
        # Keys of the others may move on meanwhile.
        return {record for record in found if "._domainkey." not in record[0] or "mx3" in record[0]}

    def traces(hosts):
        script = f"{TRACES.format(words)}\n{MORE_TRACES.format(words=words)}"
        return {host.name: host.out("bash", "-c", script).splitlines() for host in hosts}

    def leaves():
        """retire.yml outside the page; what failed, and all results."""
        results = lab.playbook("playbooks/retire.yml", "-e", f"gateway={name}", "-e", "retire_wait=10",
                               inventory=inventory.folder)  # fmt: skip
        return [str(result["msg"]) for result in results if result.get("failed")], results

    def answers(gateway, recipient):
        lines = ("EHLO internet.sender.example", "MAIL FROM:<carol@sender.example>", f"RCPT TO:<{recipient}>", "QUIT")
        return smtp(gateway.mail_ipv4, *lines)[3]

    def ways():
        return store.out("dig", "+short", "@127.0.0.1", "gateways.gatehouse.internal", "MX")

    others = [*lab.gateways, store]
    before = served()
    assert [files for files in traces(others).values() if files] == []
    own = {
        "mail_ipv4": "{{ lab_internet4 }}.13", "mail_ipv6": "{{ lab_internet6 }}::13", "mail_preference": 5,
        "mail_vpn_address": "{{ lab_vpn4 }}.13", "lab_container": "mx3", "lab_image": "debian12",
    }  # fmt: skip
    # Five mails a second of one client are more than any may send.
    kinds = ("connection", "message", "recipient", "new_tls_session")
    unlimited = {f"postfix_smtpd_client_{kind}_rate_limit": 0 for kind in kinds}
    (inventory.folder / "group_vars/all/limits.yml").write_text(json.dumps(unlimited))
    with inventory.hosts("mail_stores") as hosts:  # who pushes knows a gateway's keys
        hosts[store.name]["mail_recipients_sources"] = [{"doveadm": "*"}]
    lab.site(tags="postfix,recipients", inventory=inventory.folder)
    with inventory.new_host(lab, "mail_gateways", name, own) as mx3:
        with mail_without_end(mail, every=0.2) as stream:
            with procedure("A gateway is new") as page:
                page.play("site")
                page.play("dns")
            assert all(traces(others).values())
            assert ("example.org.", "MX", f"5 {name}.") in served()
            signed_by(mx3, submit, received, verifies, message)
            taken = mail.queue(20, BOB)
            wait(lambda: all(mail.arrived(taken).values()), 60, "mail by the new gateway")
            assert [number for number in taken if number not in mx3.mail_log()] == []
            assert [number for host in lab.gateways for number in taken if number in host.mail_log()] == []
            for recipient in ("nobody@example.org", "somebody@example.com", "BOB+x@example.org", "info@example.org"):
                assert answers(mx3, recipient) == answers(lab.gateways[0], recipient)
            assert answers(mx3, "nobody@example.org").startswith("550 5.1.1")
            assert name in ways()
            with procedure("A gateway leaves") as page:
                with inventory.hosts("mail_gateways") as hosts:
                    hosts[name]["mail_retiring"] = True
                (said,) = next_steps(page.play("retire"))
                assert "senders may know them until" in said
                assert ("example.org.", "MX", f"5 {name}.") not in served()
                wait(lambda: lab.gateways[0].name in ways(), 10, "the mail host's resolver")
                assert name not in ways()
                wait_for_ttl()
                # Its sender says what Postfix says of an empty queue.
                mx3.out("sendmail", "-f", f'"{EMPTY}"@example.org', nobody, given="Subject: waits\n\n")
                with inventory.hosts("mail_gateways") as hosts:
                    hosts[name]["mail_retiring"] = "shut"
                said = leaves()[0][-1]
                assert "its queue still has mail" in said
                assert nobody in said
                mx3.out("postfix", "status")
                mx3.out("firewall-cmd", "--reload")
                assert not smtp(mx3.mail_ipv4, "QUIT")[0].startswith("220 ")
                assert smtp(lab.gateways[0].mail_ipv4, "QUIT")[0].startswith("220 ")
                (number,) = queued_for(mx3, nobody)
                mx3.out("postsuper", "-d", number)
                page.play("retire")
                assert mx3.run("postfix", "status", check=False).returncode != 0
                assert mx3.out("ss", "-Hltn", "sport = :25") == ""
                assert mx3.run("systemctl", "is-enabled", "postfix", check=False).stdout == "disabled\n"
                failed, results = leaves()  # once more
                assert failed == []
                assert [result["task"] for result in results if result.get("changed")] == []
                returned = [line for line in mx3.mail_log().splitlines() if "status=bounced" in line]
                assert returned == []
                with inventory.hosts("mail_gateways") as hosts:
                    del hosts[name]
                page.play("site")
                said = named(page.play("rotate_dkim"))
                due = {owner.split(".")[0] for owner, _kind, _data in served() - before}
                assert due
                assert all("mx3" in selector for selector in due)  # the domain's keys and those of senders
                assert {line.split(".")[0] for line in said if "mx3" in line} == due
                wait(lambda: not any(traces(others).values()), 30, f"the end of {traces(others)}")
                wait(lambda: page.lab and ripe(page), 60, "the day from which the keys go")
                assert [line for line in named(page.play("rotate_dkim")) if "mx3" in line] == []
        stream.arrives(wait, store)
        assert served() == before


def next_steps(results):
    """What retire.yml says that comes next."""
    return {result["msg"] for result in results if result["task"] == "Show what is next" and "msg" in result}


def named(results):
    """What dns.yml, or rotate_dkim.yml by it, says at its end."""
    return next(result["msg"] for result in results if result["task"] == "Show what differs")


def ripe(page):
    """Whether the retired keys may go, as rotate_dkim.yml itself says in check mode."""
    results = page.lab.playbook("playbooks/rotate_dkim.yml", "--check", inventory=page.inventory.folder)
    said = next(result["msg"] for result in results if result["task"] == "Show the next steps")
    return all("now" in line for line in said if "mx3" in line)


def test_the_ca_s_key_gets_another_passphrase(procedure, tmp_path):
    key, old, new = tmp_path / ".pki/ca.key", "short", "correct horse battery"
    key.parent.mkdir()
    command = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes256"]
    subprocess.run([*command, "-pass", f"pass:{old}", "-out", key], check=True, capture_output=True, timeout=60)
    names = {
        "-in .pki": f"-passin 'pass:{old}' -passout 'pass:{new}' -in {tmp_path}/.pki",
        " .pki": f" {tmp_path}/.pki",
    }
    with procedure("Its key gets another passphrase", **names) as page:
        page.on_controller("openssl pkey")
        page.on_controller("chmod 600")
        page.take("ansible-vault edit")
    load_pem_private_key(key.read_bytes(), new.encode())
    with pytest.raises(ValueError, match="password"):
        load_pem_private_key(key.read_bytes(), old.encode())
    assert key.stat().st_mode & 0o777 == 0o600


@pytest.mark.stress
def test_the_ca_is_replaced(lab, mail, wait, inventory, procedure, state, published):
    """Its key was known to others, so the hosts' keys are made anew, too."""
    hosts, ours = [*lab.gateways, lab.store], inventory.folder / ".pki"
    shutil.copytree(state / "pki", ours)
    with inventory.edit("group_vars/lab.yml") as variables:
        del variables["certificate_ca_directory"]  # a site's is beside its inventory

    def files():
        return [host.out("sh", "-c", "cd /etc/pki/gatehouse && sha256sum *.key *.crt").splitlines() for host in hosts]

    before = files()
    try:
        with mail_without_end(mail) as stream, procedure("The CA is replaced") as page:
            page.on_controller("mv")
            page.on(hosts, "rm /etc/pki/gatehouse/*.key")
            page.play("site")
            page.on(lab.gateways, "postqueue -f")
        stream.arrives(wait, lab.store)
    finally:
        shutil.rmtree(state / "pki")
        shutil.copytree(ours, state / "pki")
    assert [set(old) & set(new) for old, new in zip(before, files())] == [set() for _host in hosts]
    for host in hosts:
        host.out("openssl", "verify", "-CAfile", "/etc/pki/gatehouse/ca.crt", "/etc/pki/gatehouse/private.crt")


@pytest.mark.stress
def test_an_address_changes(lab, mail, wait, submit, received, verifies, message, inventory, procedure, published):
    """All three of a gateway's addresses at once; the world is told to prefer it meanwhile."""
    gateway, others = lab["mx2.example.org"], [lab["mx1.example.org"], lab.store]
    old = {key: gateway.variables[key] for key in ("mail_ipv4", "mail_ipv6", "mail_vpn_address")}
    new = {key: re.sub(r"12$", "22", address) for key, address in old.items()}
    moved = dataclasses.replace(gateway, variables={**gateway.variables, **new})
    words = "|".join(re.escape(address) for address in old.values())

    def address(action, addresses):
        for key, value in addresses.items():
            length, device = (64 if ":" in value else 24), ("vpn0" if "vpn" in key else "inet0")
            gateway.out("ip", "address", action, f"{value}/{length}", "dev", device)

    try:
        with mail_without_end(mail) as stream, procedure("An address changes") as page:
            address("add", new)
            with inventory.hosts("mail_gateways") as hosts:
                hosts[gateway.name].update(new, mail_preference=5)
            with inventory.edit() as variables:
                terms = [f"ip4:{old['mail_ipv4']}", f"ip6:{old['mail_ipv6']}"]
                variables["mail_spf"] = ["gateways", *terms, "-all"]
            page.play("site")
            page.play("dns")
            wait_for_ttl()
            ids = [mail.send(known.mail_ipv4, ALICE) for known in (gateway, moved)]  # who has the old one, and the new
            address("del", old)
            address("replace", new)  # the kernel takes away with the first address of a network the others
            with inventory.edit() as variables:
                del variables["mail_spf"]
            page.play("dns")
            page.on([gateway], "postqueue -f")
            assert [host.out("bash", "-c", TRACES.format(words)) for host in others] == ["", ""]
            ids.append(mail.send(moved.mail_ipv4, ALICE))
            for number in ids:
                mail.wait_for(ALICE, number)
            signed_by(moved, submit, received, verifies, message)
        stream.arrives(wait, lab.store)
        zone = lab["ns.example.net"].out("knotc", "zone-read", "example.org")
        assert new["mail_ipv4"] in zone
        assert not re.search(words, zone)
    finally:
        address("replace", old)
        lab.site()
        lab.playbook("playbooks/dns.yml")
        address("del", new)
        address("replace", old)


def wait_for_ttl():
    """The page says to wait for as long as the lab's mail_dns_ttl; nobody tells when it is over."""
    time.sleep(60)


@pytest.mark.stress
def test_a_domain_moves_to_another_mail_host(lab, mail, wait, inventory, procedure, state, published, lab_as_before):
    """With its numbers, flags and folders; the passwords come by the inventory."""
    old = lab.store
    kept = mail.send(lab.gateways[0].mail_ipv4, ALICE)
    mail.wait_for(ALICE, kept)
    old.out("doveadm", "mailbox", "create", "-u", ALICE, "Kept")
    old.out("doveadm", "copy", "-u", ALICE, "Kept", "mailbox", "INBOX", "header", "message-id", kept)
    old.out("doveadm", "flags", "add", "-u", ALICE, "\\Flagged", "mailbox", "Kept", "all")

    def messages(host):
        fields = "mailbox uid guid flags hdr.message-id"
        said = host.out("doveadm", "-f", "tab", "fetch", "-u", ALICE, fields, "all")
        return re.sub(r" ?\\Recent", "", said).splitlines()  # which says who has looked

    before = messages(old)
    assert any(line.startswith("Kept\t") and "Flagged" in line for line in before)
    with inventory.new_host(lab, "mail_stores", STORE2, STORE2_VARIABLES) as store:
        there = mail.of(store)
        by_ssh = f"ssh -i {state}/id_ed25519 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        names = {f"ssh {host.name}": f"{by_ssh} ops@{host.mail_vpn_address}" for host in (old, store)}
        with mail_without_end(mail) as stream, procedure("A domain moves to another mail host", **names) as page:
            with inventory.edit() as variables:
                variables["mail_domains"][0]["store"] = old.name
            page.play("site")
            page.on([old], "systemctl stop gatehouse-lmtp.socket dovecot")
            page.on_controller("ssh")
            with inventory.edit() as variables:
                variables["mail_domains"][0]["store"] = store.name
            page.play("site")
            page.on(lab.gateways, "postqueue -f")
            assert messages(store) == before
            assert len(there.copies(ALICE, kept)) == 1
            page.on([old], "rm -r /var/spool/dovecot/vmail/example.org")
        stream.arrives(wait, store)
        assert old.run("test", "-e", "/var/spool/dovecot/vmail/example.org", check=False).returncode == 1


def test_the_mail_host_is_away(lab, mail, wait, inventory, procedure):
    gateway, store = lab["mx2.example.org"], lab.store  # Debian has qshape with Postfix
    store.out("systemctl", "stop", "gatehouse-lmtp.socket", "gatehouse-lmtp@*")
    before = len(gateway.mail_log())
    number = mail.send(gateway.mail_ipv4, BOB)
    wait(lambda: any(queued_for(gateway, BOB).values()), 60, "a first try")
    wait(lambda: "Connection refused" in gateway.mail_log()[before:], 20, "what stunnel says of it")
    with procedure("The mail host is away") as page:
        (said,) = page.on([gateway], "postqueue -p")
        assert BOB in said
        assert "lost connection" in said
        (said,) = page.on([gateway], "grep 'stunnel")
        assert "Connection refused" in said
        (said,) = page.on([gateway], "qshape deferred")
        assert "example.org" in said
        (page.names["QUEUE_ID"],) = queued_for(gateway, BOB)
        (said,) = page.on([gateway], "postcat -q")
        assert number in said
        store.out("systemctl", "start", "gatehouse-lmtp.socket")
        page.on([gateway], "postqueue -f")
        mail.wait_for(BOB, number)
        (said,) = page.on([gateway], "grep -E")
        assert f"to=<{BOB}>" in said
        written = page.take("postfix_maximal_queue_lifetime")
        (inventory.folder / "group_vars/all/lifetime.yml").write_text(f"{written}\n")
        changed = lab.site("--check", tags="postfix", limit="mail_gateways", inventory=inventory.folder)
        assert {host for host, _task in changed} == {here.name for here in lab.gateways}
        assert page.on([store], "systemctl status")[0].count("Active: active") == 2
        (said,) = page.on([store], "ss -ltn")
        places = [f"{store.mail_vpn_address}:24", f"{store.mail_vpn_address}:993", "127.0.0.1:24"]
        assert [place for place in places if not re.search(rf"{re.escape(place)}\s", said)] == []
        assert re.search(r"^vpn.*\n +interfaces: vpn0", page.on([store], "firewall-cmd")[0], re.MULTILINE)
        (said,) = page.on([store], "grep 'stunnel")
        assert f"CN={gateway.name}" in said
        assert "/alice" in page.on([store], "doveadm user")[0]


@pytest.mark.stress
def test_an_installed_collection_does_what_a_clone_does(lab, procedure, tmp_path):
    """No server is asked for the collections that it needs, and a lab that is as its inventory says stays so."""
    elsewhere, installed = f"cd {tmp_path} &&", f"{tmp_path}/collections"
    names = {
        "collection build": f"collection build --output-path {tmp_path}",
        "ansible-galaxy collection install": f"{elsewhere} ansible-galaxy collection install --no-deps -p {installed}",
        "ansible-playbook": f"{elsewhere} ANSIBLE_COLLECTIONS_PATH={installed} ansible-playbook",
    }
    with procedure("An installed collection", **names) as page:
        page.on_controller("ansible-galaxy collection build")
        page.on_controller(f"{elsewhere} ansible-galaxy collection install")
        said = page.on_controller(f"{elsewhere} ANSIBLE_COLLECTIONS_PATH")
    numbers = r"^(\S+) +: ok=\d+ +changed=0 +unreachable=0 +failed=0 "
    assert set(re.findall(numbers, said, re.MULTILINE)) == {host.name for host in (*lab.gateways, lab.store)}


@pytest.mark.stress
def test_records_are_published_and_keys_move_on(procedure, state, published):
    with procedure("DNS", page="dns") as page:
        page.play("dns")
        assert named(page.play("dns")) == ["every server says what is wanted"]
    with procedure("Keys grow old", page="dns") as page:
        page.play("rotate_dkim")
        page.play("rotate_dkim")
        page.play("rotate_dkim")
        keys = yaml.safe_load((state / "mail_dkim.yml").read_text())["mail_dkim"]
        assert "published" in {key["stage"] for key in keys}


def test_the_greylist_is_stopped_and_forgets(lab, procedure, wait, smtp):
    gateway, store = lab.gateways[0], lab.store
    sender = f"carol.x{time.time_ns():x}@sender.example".translate(str.maketrans("0123456789", "ghijklmnop"))
    lines = ("EHLO internet.sender.example", f"MAIL FROM:<{sender}>", f"RCPT TO:<{BOB}>", "QUIT")

    def waits():
        """Whether a stranger with this sender must come again."""
        return "Greylisted" in smtp(gateway.mail_ipv4, *lines, source=lab.stranger(75))[3]

    assert waits()
    wait(lambda: not waits(), 20, "the delay to pass")
    with procedure("The greylist") as page:
        page.on([store], "systemctl status postgrey")
        (said,) = page.on([store], "grep")
        assert {"greylist", "pass"} <= set(re.findall(r"action=(\w+)", said))
        page.on([store], "systemctl stop postgrey")
        assert not waits()
        page.on([store], "systemctl stop postgrey")
        page.on([store], "rm ~postgrey")
        page.on([store], "systemctl start postgrey")
        wait(waits, 20, "the greylist that has forgotten")


@pytest.mark.stress
def test_the_scanner_is_away(lab, procedure, wait):
    gateway = lab["mx2.example.org"]  # the page has the names of Debian
    gateway.out("systemctl", "kill", "--signal=STOP", "clamav-daemon")
    with procedure("The scanner is away") as page:
        (said,) = page.on([gateway], "gatehouse-eicar", check=False)
        assert "550" not in said
        page.on([gateway], "systemctl restart clamav-daemon")
        assert "lab.ndb" in page.on([gateway], "ls -l /var/lib/clamav")[0]
        page.on([gateway], "journalctl -u clamav-daemon")
        page.on([gateway], "free")
    wait(lambda: "550" in gateway.run("gatehouse-eicar", check=False).stdout, 60, "the scanner")


@pytest.mark.stress
def test_somebody_is_banned_and_let_out(lab, procedure, wait, smtp):
    gateway, source = lab.gateways[0], lab.stranger(81)
    lab.internet.out("ip", "address", "replace", f"{source}/24", "dev", "inet0")
    gateway.out("fail2ban-client", "set", "gatehouse-smtp", "banip", source)
    wait(lambda: smtp(gateway.mail_ipv4, "QUIT", source=source) == ["ConnectionRefusedError"], 10, "the ban")
    with procedure("Somebody is banned", **{"198.51.100.7": source}) as page:
        assert source in page.on([gateway], "fail2ban-client banned")[0]
        assert source in page.on([gateway], "grep ' Ban")[0]
        page.on([gateway], "grep", check=False)
        page.on([gateway], "fail2ban-client unban")
        wait(lambda: smtp(gateway.mail_ipv4, "QUIT", source=source)[0].startswith("220 "), 10, "the end of the ban")
        page.on([gateway], "fail2ban-client unban --all")
        page.on([gateway], "systemctl stop fail2ban")
    lab.site(tags="fail2ban", limit=gateway.name)
    assert "gatehouse-smtp" in gateway.out("fail2ban-client", "status")


@pytest.mark.stress
def test_the_pages_come_to_the_controller(lab, procedure, inventory):
    with procedure("Statistics") as page:
        page.play("statistics")
        page.on(lab.gateways, "systemctl start gatehouse-statistics-pages")
        assert all(" records up to " in said for said in page.on(lab.gateways, "journalctl -u 'gatehouse-statistics*'"))
    folder = inventory.folder / ".statistics"
    index = (folder / "index.html").read_text()
    for gateway in lab.gateways:
        assert f'href="{gateway.name}/index.html"' in index
        pages = re.findall('href="(.*?)"', (folder / gateway.name / "index.html").read_text())
        assert pages
        assert all((folder / gateway.name / path).exists() for path in pages)


@pytest.mark.stress
def test_a_gateway_is_asked_what_it_thinks_and_shows(lab, procedure, smtp, published):
    gateway = lab.gateways[0]
    with procedure("Reading a refusal") as page:
        page.on([gateway], f"postmap -q {ALICE}")
        assert page.on([gateway], "postmap -q info@example.org") == [f"{ALICE}\n"]
        assert "stunnel:" in page.on([gateway], "postmap -q example.org")[0]
    with procedure("People send through their mail host") as page:
        assert "Mail queue is empty" in page.on([lab.store], "postqueue -p")[0]
        page.on([lab.store], "grep 'relay='")
        (said,) = page.on([lab.store], "dig @127.0.0.1")
        assert all(f"MX\t10 {host.name}." in said for host in lab.gateways)
    with procedure("The private CA") as page:
        (said,) = page.on([gateway], "openssl x509")
        assert f"DNS:{gateway.name}" in said
    with procedure("Certificates of your own") as page:
        (said,) = page.on([lab.internet], "openssl s_client")
        assert "BEGIN CERTIFICATE" in said
    with procedure("First run") as page:
        page.on([gateway], "systemctl list-timers")
        page.on([gateway], "journalctl -u gatehouse-firewall-trial")
        page.play("site")
        assert [result["task"] for result in page.play("site") if result.get("changed")] == []
    with procedure("Changes") as page:
        assert {result["host"] for result in page.play("site")} == {gateway.name, lab.store.name}
