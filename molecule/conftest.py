"""What the scenarios' tests share: the lab's hosts, an SMTP client on the internet, a mail reader on the VPN."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import email
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Callable

import dkim
import dns.message
import dns.query
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

ROOT = Path(__file__).resolve().parent.parent
PREFIX = os.environ.get("GH_LAB", "ght")
STATE = ROOT / ".lab" / PREFIX
VAULT = yaml.safe_load((ROOT / "inventories/lab/group_vars/all/vault.yml").read_text())


INJECT = """
import json, smtplib, sys
order = json.load(sys.stdin)
with smtplib.SMTP("127.0.0.1") as client:
    for number in order["ids"]:
        client.sendmail("carol@sender.example", [order["to"]],
            f"From: carol@sender.example\\r\\nTo: {order['to']}\\r\\nDate: {order['date']}\\r\\n"
            f"Message-ID: {number}\\r\\n\\r\\nhello\\r\\n")
print("null")
"""


DATE = "Sun, 22 Nov 2026 10:00:00 +0000"
# What RFC 5322 3.6 wants of a header; opendmarc refuses a message that has less.
HEADER = f"From: Carol <carol@sender.example>\r\nDate: {DATE}\r\n"


def ansible_environment(**more: str) -> dict[str, str]:
    """The environment of Ansible's programs: this project's settings, and none that molecule has for its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))}
    return {**inherited, "GH_LAB": PREFIX, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **more}


def descendants(pid: int) -> list[int]:
    """The processes below a process, whatever session or group they went to."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for known in found:
        found += children.get(known, [])
    return found[1:]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The first process of each container and its namespace, by which it is known to be still that one.
_first: dict[str, tuple[int, str]] = {}


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


# By systemd, or the next run of site.yml finds that main.cf has not been read. The master process tells its children
# after the command has returned, and an idle one may take a client until then.
RELOAD_POSTFIX = """
old=$(pgrep --parent $(cat /var/spool/postfix/pid/master.pid) --exact 'smtpd|smtp|cleanup|qmgr')
systemctl reload postfix
while kill -0 $old 2> /dev/null; do sleep 0.01; done
"""


@dataclasses.dataclass(frozen=True)
class Host:
    """A host of the lab: its inventory variables, and a way to run commands in its container as root."""

    name: str
    variables: dict[str, Any]

    @property
    def container(self) -> str:
        return f"{PREFIX}-{self.variables['lab_container']}"

    def __getattr__(self, key: str) -> Any:
        """Any inventory variable, such as mail_ipv4."""
        try:
            return self.variables[key]
        except KeyError:
            raise AttributeError(key) from None

    def run(self, *command: str, given: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command; with check a failure prints what the command said, and the host's last journal lines."""
        result = self._enter("--uts", "--ipc", "--net", "--pid", "--root", "--wd", *command, given=given)
        if check and result.returncode:
            journal = self.run("journalctl", "--no-pager", "--lines=30", check=False)
            pytest.fail(f"{self.name}: {' '.join(command)}: {result.stdout}{result.stderr}\njournal:\n{journal.stdout}")
        return result

    def out(self, *command: str, given: str = "") -> str:
        return self.run(*command, given=given).stdout

    def mount(self, *command: str) -> None:
        """Run this machine's mount or umount among the container's file systems; the container itself may not."""
        self._enter(*command).check_returncode()

    def _enter(self, *command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """nsenter(1), a hundredth of what podman exec takes."""
        environment = {"PATH": PATH, "HOME": "/root", "container": "podman"}
        return subprocess.run(
            ["nsenter", "--target", str(self.pid), "--mount", *command],
            input=given, capture_output=True, text=True, timeout=120, check=False, env=environment,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """The container's first process, as this machine numbers it; 0 where there is none."""
        pid, namespace = _first.get(self.container, (0, ""))
        if not namespace or _namespace(pid) != namespace:
            shown = ["podman", "inspect", "--format", "{{.State.Pid}}", self.container]
            pid = int(subprocess.run(shown, capture_output=True, check=True, timeout=60).stdout)
            _first[self.container] = (pid, _namespace(pid))
        return pid

    def python(self, script: str, order: dict[str, Any]) -> Any:
        """Run a script of this folder on the host; its standard input is the order, its output is JSON."""
        source = (ROOT / "molecule" / script).read_text()
        return json.loads(self.out("python3", "-c", source, given=json.dumps(order)))

    def reload_postfix(self) -> None:
        """Reload Postfix, and wait until no process has the old settings or remembers what it asked for."""
        self.out("timeout", "60", "bash", "-c", RELOAD_POSTFIX)

    def queue(self) -> list[dict[str, Any]]:
        """Postfix' queue, as postqueue(1) -j describes each message."""
        return [json.loads(line) for line in self.out("postqueue", "-j").splitlines()]

    def mail_log(self) -> str:
        """The mail log of a gateway or mail host; a daemon's line comes a moment after what it tells of."""
        return self.out("cat", "/var/log/gatehouse-mail.log")

    def journal(self, *units: str, since: str = "-1h", output: str = "cat") -> str:
        """The journal of these units, or of all, up to now; since and output are options of journalctl(1)."""
        self.out("journalctl", "--sync")
        chosen = (f"--since={since}", f"--output={output}", *(f"--unit={unit}" for unit in units))
        return self.out("journalctl", "--no-pager", "--all", *chosen)


@dataclasses.dataclass(frozen=True)
class Lab:
    """The lab as create.yml wrote it down."""

    hosts: dict[str, Host]
    groups: dict[str, list[str]]

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    @property
    def gateways(self) -> list[Host]:
        return [self.hosts[name] for name in self.groups["mail_gateways"]]

    @property
    def store(self) -> Host:
        return self.hosts[self.groups["mail_stores"][0]]

    @property
    def internet(self) -> Host:
        return self.hosts["internet.sender.example"]

    @property
    def client(self) -> Host:
        return self.hosts["client.example.org"]

    def stranger(self, octet: int) -> str:
        """Another address of the internet's container: the lab's network with this last octet."""
        return f"{self.internet.lab_address4.rpartition('.')[0]}.{octet}"

    def nsupdate(self, zone: str, *changes: str) -> None:
        """Change a zone of the lab's name server: "add NAME TTL TYPE DATA", "del NAME [TYPE [DATA]]" (nsupdate(1))."""
        ((name, key),) = VAULT["vault_mail_tsig_keys"].items()
        text = "\n".join(["server 127.0.0.1", f"zone {zone}.", *changes, "send", ""])
        self["ns.example.net"].run("knsupdate", "-y", f"{key['algorithm']}:{name}:{key['secret']}", given=text)

    def playbook(self, *arguments: str, inventory: Path = ROOT / "inventories/lab") -> list[dict[str, Any]]:
        """Run ansible-playbook on the lab; its results, each with "task", "host", "changed", "failed", "msg"."""
        result = subprocess.run(
            ["ansible-playbook", "-i", str(inventory), *arguments],
            cwd=ROOT, env=ansible_environment(ANSIBLE_STDOUT_CALLBACK="ansible.posix.jsonl"),
            capture_output=True, text=True, timeout=1800, check=False,
        )  # fmt: skip
        events = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
        assert events, f"ansible-playbook said nothing: {result.stderr}"
        return [
            {"task": event["task"]["name"].split(" : ")[-1], "role": event["task"]["name"].partition(" : ")[0],
             "host": host, **outcome}
            for event in events
            if event["_event"].startswith(("v2_runner_on_ok", "v2_runner_on_failed", "v2_runner_on_unreachable"))
            for host, outcome in event["hosts"].items()
        ]  # fmt: skip

    def start_playbook(self, *arguments: str, output: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start ansible-playbook on the lab, to be killed."""
        return subprocess.Popen(
            ["ansible-playbook", "-i", str(ROOT / "inventories/lab"), *arguments],
            cwd=ROOT, env=ansible_environment(), stdout=output, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def kill_playbook(self, process: subprocess.Popen[str]) -> None:
        """Kill ansible-playbook, its workers, and on the hosts what they started there."""
        kill([process.pid, *descendants(process.pid)])
        process.communicate()
        for name in [*self.groups["mail_gateways"], *self.groups["mail_stores"]]:
            inside = descendants(self.hosts[name].pid)
            sessions = [pid for pid in inside if command_of(pid).startswith("sshd: ops")]
            kill([pid for session in sessions for pid in [session, *descendants(session)]])

    def module(self, name: str, **arguments: Any) -> dict[str, Any]:
        """What a module says that runs on this machine."""
        result = subprocess.run(
            ["ansible", "localhost", "-m", name, "-a", json.dumps(arguments)],
            cwd=ROOT, env=ansible_environment(ANSIBLE_CALLBACK_RESULT_FORMAT="json"),
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        return json.loads(result.stdout.partition("=>")[2])


@pytest.fixture(scope="session")
def lab() -> Lab:
    known = json.loads((STATE / "lab.json").read_text())
    return Lab({name: Host(name, variables) for name, variables in known["hosts"].items()}, known["groups"])


@pytest.fixture(scope="session")
def state() -> Path:
    """The folder of the lab's state on this machine."""
    return STATE


@pytest.fixture(scope="session")
def published(lab: Lab) -> None:
    """The DNS records of the lab's inventory, with the keys that site.yml made, are on the lab's name server."""
    results = lab.playbook("playbooks/dns.yml")
    assert not [result for result in results if result.get("failed")]


@pytest.fixture(scope="session")
def header() -> str:
    """The lines that every message has."""
    return HEADER


@pytest.fixture(scope="session")
def vault() -> dict[str, Any]:
    """The lab's secrets, which it keeps in clear."""
    return VAULT


LOGIN, RECEIVER = "alice@example.org", "dave@sender.example"


@pytest.fixture(scope="session")
def submit(lab: Lab, vault: dict[str, Any]) -> Callable[..., list[tuple[int, str]]]:
    """submit(gateway, messages): [code, text] for each of these messages (str; surrogates are octets)."""
    passwords = vault["vault_mail_login_passwords"]

    def send(gateway: Host, messages: list[str], login: str = LOGIN, sender: str = LOGIN, recipient: str = RECEIVER):
        packed = [
            {"sender": sender, "recipient": recipient,
             "content": base64.b64encode(message.encode("utf-8", "surrogateescape")).decode()}
            for message in messages
        ]  # fmt: skip
        return lab.client.python(
            "submit.py",
            {"host": gateway.mail_vpn_address, "port": 32841, "login": login, "password": passwords[login],
             "messages": packed},
        )  # fmt: skip

    return send


@pytest.fixture(scope="session")
def received(lab: Lab) -> Callable[[list[str]], dict[str, bytes]]:
    """received(marks): {mark: the message as it came} from the receiver's mailbox, waited for."""

    def find(marks: list[str]) -> dict[str, bytes]:
        def found() -> dict[str, bytes] | None:
            order = {"folder": "/home/world/Maildir", "marks": marks}
            here = {mark: base64.b64decode(text) for mark, text in lab.internet.python("maildir.py", order).items()}
            return here if len(here) == len(marks) else None

        return wait_for(found, 90, f"{len(marks)} messages at the receiver")

    return find


@pytest.fixture(scope="session")
def verifies(lab: Lab) -> Callable[..., bool]:
    """verifies(message, index=0): whether dkimpy says so of one of its signatures, with the lab's DNS."""

    def txt(name: bytes, timeout: int = 5) -> bytes:
        question = dns.message.make_query(name.decode(), "TXT")
        answer = dns.query.tcp(question, lab["ns.example.net"].lab_address4, timeout=timeout)
        return b"".join(
            string for rrset in answer.answer for rdata in rrset for string in getattr(rdata, "strings", [])
        )

    def verify(message: bytes, index: int = 0) -> bool:
        try:
            return dkim.DKIM(message).verify(index, dnsfunc=txt)
        except dkim.ValidationError:
            return False

    return verify


@dataclasses.dataclass(frozen=True)
class Signer:
    """Signs as the owners of the lab's other domains do; the public part of the one key is on the lab's name server."""

    private: bytes
    domains: tuple[str, ...] = ("reject.example", "quarantine.example", "none.example", "sender.example")

    def record(self) -> str:
        """The key's TXT record, in strings as a zone file has them."""
        public = load_pem_private_key(self.private, None).public_key()
        packed = base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
        text = f"v=DKIM1; k=rsa; p={packed}"
        return " ".join(f'"{text[index : index + 200]}"' for index in range(0, len(text), 200))

    def sign(self, text: str, domain: str, selector: str = "s1", **options: Any) -> str:
        """The message with one signature more on top; options are dkimpy's."""
        options.setdefault("include_headers", [b"From", b"To", b"Subject"])
        given = octets(text)
        signature = dkim.sign(given, selector.encode(), domain.encode(), self.private, **options)
        return signature.decode() + text


@pytest.fixture(scope="session")
def signer(lab: Lab) -> Signer:
    made = rsa.generate_private_key(65537, 2048)
    found = Signer(made.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    for domain in found.domains:
        name = f"s1._domainkey.{domain}."
        lab.nsupdate(domain, f"del {name} TXT", f"add {name} 60 TXT {found.record()}")
    return found


@pytest.fixture(scope="session")
def message() -> Callable[..., str]:
    """message(mark, header lines, body=): a message with these lines, and a Message-ID of its own."""

    def write(mark: str, headers: list[str], body: str = "hello") -> str:
        rest = ["To: alice@example.org", f"Date: {DATE}", "Subject: hello", f"Message-ID: {mark}"]
        return "\r\n".join([*headers, *rest, "", body, ""])

    return write


@pytest.fixture(scope="session")
def results() -> Callable[[str | bytes, Host], str]:
    """results(message, gateway): what the header says in this gateway's name, all of it in one line."""

    def read(text: str | bytes, gateway: Host) -> str:
        parsed = email.message_from_bytes(octets(text))
        ours = [str(value) for value in parsed.get_all("Authentication-Results", []) if gateway.name in str(value)]
        return " ".join(" ".join(ours).split())

    return read


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for a gateway runs once for each."""
    if "gateway" in metafunc.fixturenames:
        names = json.loads((STATE / "lab.json").read_text())["groups"]["mail_gateways"]
        metafunc.parametrize("gateway", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def gateway(request: pytest.FixtureRequest, lab: Lab) -> Host:
    return lab[request.param]


# What a stranger may do in a minute, lifted for tests that do much.
LIMITS = {
    "smtpd_client_message_rate_limit": 0, "smtpd_client_connection_rate_limit": 0,
    "smtpd_client_recipient_rate_limit": 0, "smtpd_client_connection_count_limit": 0,
    "smtpd_error_sleep_time": 0, "smtpd_hard_error_limit": 100,
}  # fmt: skip


@pytest.fixture(scope="module")
def no_limits(gateway: Host) -> Iterator[None]:
    """Strangers meet no limits on the gateway while the tests of a module run."""
    gateway.out("postconf", "-e", *(f"{name}={value}" for name, value in LIMITS.items()))
    gateway.reload_postfix()
    yield
    gateway.out("cp", "/etc/postfix/candidate/main.cf", "/etc/postfix/main.cf")
    gateway.reload_postfix()


Dialogue = Callable[..., list[str]]


@pytest.fixture(scope="session")
def smtp(lab: Lab) -> Dialogue:
    """smtp(address, line, ..., client=Host): hold a dialogue; the last reply line to each line, the greeting first."""

    def hold(
        address: str, *lines: Any, client: Host | None = None, port: int = 25, source: str | None = None
    ) -> list[str]:
        # Longer than the gateways wait for a milter that hangs.
        order = {"host": address, "port": port, "source": source, "timeout": 60, "send": list(lines)}
        return [reply[-1] for _line, reply in (client or lab.internet).python("smtp_client.py", order)]

    return hold


def octets(text: str | bytes) -> bytes:
    """Text with surrogates for octets that are no UTF-8, as octets."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


@dataclasses.dataclass(frozen=True)
class Mail:
    """Sends messages that can be told apart, and finds them again."""

    lab: Lab
    smtp: Dialogue
    folder: Path = ROOT / "molecule"

    @staticmethod
    def new_id() -> str:
        return f"<{uuid.uuid4()}@sender.example>"

    def send(
        self, address: str, *recipients: str, sender: str = "carol@sender.example", client: Host | None = None
    ) -> str:
        """Send one message through address and give its Message-ID; a refusal fails the test."""
        return self.send_many(1, address, *recipients, sender=sender, client=client)[0]

    def send_many(
        self,
        count: int,
        address: str,
        *recipients: str,
        sender: str = "carol@sender.example",
        client: Host | None = None,
    ) -> list[str]:
        """Send messages one after the other over one connection and give their ids; a refusal fails the test."""
        ids = [self.new_id() for _number in range(count)]
        lines = ["EHLO internet.sender.example"]
        for message_id in ids:
            header = f"{HEADER}To: {recipients[0]}\r\nMessage-ID: {message_id}\r\n"
            lines += [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{recipient}>" for recipient in recipients)]
            lines += ["DATA", header + "\r\nhello\r\n."]
        replies = self.smtp(address, *lines, "QUIT", client=client)
        each = len(recipients) + 3
        assert all(reply.startswith("250 ") for reply in replies[each + 1 : -1 : each]), replies
        assert len(replies) == count * each + 3, replies
        return ids

    def queue(self, count: int, recipient: str = "bob@example.org") -> list[str]:
        """Messages with ids of their own for the internet's Postfix, which follows MX records and comes again."""
        ids = [self.new_id() for _number in range(count)]
        self.lab.internet.out("python3", "-c", INJECT, given=json.dumps({"ids": ids, "to": recipient, "date": DATE}))
        return ids

    def arrived(self, ids: list[str], mailbox: str = "bob@example.org") -> dict[str, int]:
        """How often each of the ids stands in the mailbox, as the mail host itself counts; 0 while Dovecot is down."""
        command = ["doveadm", "-f", "tab", "fetch", "-u", mailbox, "hdr.message-id", "mailbox", "INBOX"]
        found = self.lab.store.run(*command, check=False).stdout.split()
        return {number: found.count(number) for number in ids}

    def offer(self, gateway: Host, messages: list[tuple[str, str, str | bytes]], **order: Any) -> list[str]:
        """Offer messages (what stands behind MAIL FROM:, what stands behind RCPT TO:, text) on port 25; the reply that
        decided each. Order: source, helo, sessions, client."""
        packed = [
            {"mail": sender, "rcpt": recipient, "content": base64.b64encode(octets(text)).decode()}
            for sender, recipient, text in messages
        ]
        client = order.pop("client", self.lab.internet)
        return client.python(
            "offer.py",
            {"host": gateway.mail_ipv4, "helo": "internet.sender.example", "messages": packed, **order},
        )  # fmt: skip

    def stored(self, marks: Iterable[str], mailbox: str = "alice@example.org", seconds: float = 60) -> dict[str, bytes]:
        """{mark: the message that has it, as its file has it with CRLF} of a mailbox, waited for."""
        user, _at, domain = mailbox.partition("@")
        wanted = list(marks)
        order = {"folder": f"/var/spool/dovecot/vmail/{domain}/{user}/Maildir", "marks": wanted}

        def found() -> dict[str, bytes] | None:
            here = {mark: base64.b64decode(text) for mark, text in self.lab.store.python("maildir.py", order).items()}
            return here if len(here) == len(wanted) else None

        return wait_for(found, seconds, f"{len(wanted)} messages in the mailbox of {mailbox}") if wanted else {}

    def bounced(self) -> list[str]:
        """Lines of any log that say that mail was returned, and mail that reached the sender."""
        logs = [*(host.mail_log() for host in self.lab.gateways), self.lab.internet.out("cat", "/var/log/mail.log")]
        lines = [line for log in logs for line in log.splitlines()]
        return [line for line in lines if "status=bounced" in line or "to=<carol@sender.example>" in line]

    def copies(self, mailbox: str, value: str, field: str = "Message-ID") -> list[str]:
        """The texts of the messages in a mailbox whose header has that value, read over IMAP with TLS on the VPN."""
        store = self.lab.store
        return self.lab.client.python("imap_client.py", {
            "host": store.name, "address": store.mail_vpn_address, "port": 993, "user": mailbox,
            "ca": store.out("cat", "/etc/pki/gatehouse/ca.crt"), "password": store.lab_passwords[mailbox],
            "header": [field, value],
        })  # fmt: skip

    def wait_for(self, mailbox: str, message_id: str, seconds: float = 30) -> str:
        """The text of a message's one copy, waited for; a second copy or none fails the test."""
        texts = wait_for(lambda: self.copies(mailbox, message_id), seconds, f"{message_id} in the mailbox of {mailbox}")
        assert len(texts) == 1
        return texts[0]


@pytest.fixture(scope="session")
def mail(lab: Lab, smtp: Dialogue) -> Mail:
    return Mail(lab, smtp)


@pytest.fixture(scope="session")
def wait() -> Callable[[Callable[[], Any], float, str], Any]:
    return wait_for


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """What a condition gives as soon as it is true; the test fails when that takes longer than the seconds."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds} s in vain for {what}")
        time.sleep(0.3)
    return value


@pytest.fixture(scope="session")
def machine() -> dict[str, Any]:
    """What the build of the images found out: flags of podman, names of the images."""
    return yaml.safe_load((STATE / "machine.yml").read_text())


@pytest.fixture(scope="session")
def ansible_facts() -> Callable[[str], dict[str, Any]]:
    """ansible_facts(host): what Ansible's setup module says of a host."""

    def gather(host: str) -> dict[str, Any]:
        result = subprocess.run(
            ["ansible", "-i", str(ROOT / "inventories/lab"), host, "-m", "ansible.builtin.setup"],
            cwd=ROOT, env=ansible_environment(ANSIBLE_CALLBACK_RESULT_FORMAT="json"),
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        return json.loads(result.stdout.partition("=>")[2])["ansible_facts"]

    return gather


@pytest.fixture(scope="session")
def redhat_packages() -> list[str]:
    """Every package that a role installs on the family of CentOS."""
    lists = [yaml.safe_load(path.read_text()) for path in ROOT.glob("roles/*/vars/redhat.yml")]
    return sorted(
        {name for names in lists for key, value in names.items() if key.endswith("_packages") for name in value}
    )


def bare(image: str) -> Host:
    """A host of scenario modules, named for its image."""
    return Host(image, {"lab_container": f"modules-{image}"})


@pytest.fixture(scope="session", params=["debian12", "el9"])
def platform(request: pytest.FixtureRequest) -> Host:
    """A test that asks for it runs once on each host of scenario modules."""
    return bare(request.param)


@pytest.fixture(scope="session")
def debian12() -> Host:
    return bare("debian12")


@pytest.fixture(scope="session")
def el9() -> Host:
    return bare("el9")


class Run:
    """run(platform, module, **options): one task by ssh and sudo; its result, as a registered variable has it."""

    def __init__(self, folder: Path) -> None:
        self.playbook = folder / "play.yml"
        self.printed = ""  # by ansible-playbook, of the last run

    def __call__(self, host: Host, module: str, *arguments: str, **options: Any) -> dict[str, Any]:
        return self.tasks(host, [{module: options}], *arguments)[0]

    def tasks(self, host: Host, tasks: list[dict[str, Any]], *arguments: str, **play: Any) -> list[dict[str, Any]]:
        """The results of a play's tasks, up to the first that fails; the arguments are ansible-playbook's."""
        self.playbook.write_text(json.dumps([{"hosts": host.name, "gather_facts": False, "tasks": tasks, **play}]))
        result = subprocess.run(
            ["ansible-playbook", "-i", str(ROOT / "molecule/modules/hosts.yml"), *arguments, str(self.playbook)],
            cwd=ROOT, env=ansible_environment(ANSIBLE_STDOUT_CALLBACK="ansible.posix.jsonl"),
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        self.printed = result.stdout + result.stderr
        events = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
        results = [event["hosts"][host.name] for event in events if event["_event"].startswith("v2_runner_on_")]
        assert results, f"ansible-playbook said nothing: {self.printed}"
        return results


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)
