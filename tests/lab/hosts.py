"""The lab: its hosts, commands and playbooks on them, and this machine's share of it."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml
from known import PLATFORMS

from .processes import command_of, descendants, kill

ROOT = Path(__file__).resolve().parents[2]
PREFIX = os.environ.get("GH_LAB", "ght")
STATE = ROOT / ".lab" / PREFIX
INVENTORY = ROOT / "inventories/lab"
MACHINES = ROOT / "molecule/selinux/hosts.yml"
VAULT = yaml.safe_load((ROOT / "inventories/lab/group_vars/all/vault.yml").read_text())


def ansible_environment(**more: str) -> dict[str, str]:
    """The environment of Ansible's programs: this project's settings, and none that molecule has for its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))}
    return {**inherited, "GH_LAB": PREFIX, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **more}


# How much more time all may take: a machine's processor is software.
PATIENCE = float(os.environ.get("GH_PATIENCE", "1"))


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """What a condition gives as soon as it is true; the test fails when that takes longer than the seconds."""
    end = time.monotonic() + seconds * PATIENCE
    while not (value := condition()):
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds} s in vain for {what}")
        time.sleep(0.3)
    return value


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The first process of each container and its namespace, by which it is known to be still that one.
_first: dict[str, tuple[int, str]] = {}


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


# By systemd, or the next run of site.yml finds that main.cf has not been read. The master process tells its children
# after the command has returned, and an idle one may take a client until then. Who is still busy after 20 s is ended.
RELOAD_POSTFIX = """
old=$(pgrep --parent $(cat /var/spool/postfix/pid/master.pid) --exact 'smtpd|smtp|cleanup|qmgr')
systemctl reload postfix
for _ in {1..2000}; do kill -0 $old 2> /dev/null || exit 0; sleep 0.01; done
kill $old 2> /dev/null
while kill -0 $old 2> /dev/null; do sleep 0.01; done
"""


@dataclasses.dataclass(frozen=True)
class Host:
    """A host of the lab: its inventory variables, and a way to run commands as root in its container or machine."""

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

    @property
    def family(self) -> str:
        """Debian or RedHat, as Ansible has it."""
        return PLATFORMS[self.lab_image]["family"]

    def run(self, *command: str, given: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command; with check a failure prints what the command said, and the host's last journal lines."""
        if self.variables.get("lab_machine"):
            result = self._ssh(*command, given=given)
        else:
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

    def _ssh(self, *command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """ssh(1) to a machine, by one connection that ends with it. SELinux lets few programs use sshd's own pipes."""
        options = {
            "ControlMaster": "auto", "ControlPath": f"{STATE}/%n.ssh", "ControlPersist": "60",
            "StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "LogLevel": "ERROR",
            "IdentityFile": f"{STATE}/id_ed25519", "ServerAliveInterval": "30",
        }  # fmt: skip
        words = [f"-o{key}={value}" for key, value in options.items()]
        inner = f"{shlex.join(command)} 2>&1 1>&3 3>&- | cat >&2; exit ${{PIPESTATUS[0]}}"
        line = f"cat | {{ {inner}; }} 3>&1 | cat; exit ${{PIPESTATUS[1]}}"
        return subprocess.run(
            ["ssh", *words, f"root@{self.lab_ssh_address}", line],
            input=given, capture_output=True, text=True, timeout=120 * PATIENCE, check=False,
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
        """Run a script of molecule/ on the host; its standard input is the order, its output is JSON."""
        source = (ROOT / "molecule" / script).read_text()
        return json.loads(self.out("python3", "-c", source, given=json.dumps(order)))

    def s_client(self, address: str, port: int, *options: str, starttls: str = "", given: str = "") -> str:
        """What openssl s_client prints on this host of a session, which a failed handshake ends, too."""
        command = ["timeout", f"{20 * PATIENCE:.0f}", "openssl", "s_client", "-connect", f"{address}:{port}"]
        command += ["-starttls", starttls] if starttls else []
        result = self.run(*command, *options, given=given, check=False)
        return result.stdout + result.stderr

    def reload_postfix(self) -> None:
        """Reload Postfix, and wait until no process has the old settings or remembers what it asked for."""
        self.out("timeout", f"{60 * PATIENCE:.0f}", "bash", "-c", RELOAD_POSTFIX)

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

    @property
    def more_inventory(self) -> tuple[str, ...]:
        """ansible-playbook's words for what the inventory says of machines, where there are any."""
        return ("-i", str(MACHINES)) if self.groups.get("lab_machines") else ()

    def stranger(self, octet: int) -> str:
        """Another address of the internet's container: the lab's network with this last octet."""
        return f"{self.internet.lab_address4.rpartition('.')[0]}.{octet}"

    def nsupdate(self, zone: str, *changes: str) -> None:
        """Change a zone of the lab's name server: "add NAME TTL TYPE DATA", "del NAME [TYPE [DATA]]" (nsupdate(1))."""
        ((name, key),) = VAULT["vault_mail_tsig_keys"].items()
        text = "\n".join(["server 127.0.0.1", f"zone {zone}.", *changes, "send", ""])
        self["ns.example.net"].run("knsupdate", "-y", f"{key['algorithm']}:{name}:{key['secret']}", given=text)

    def playbook(self, *arguments: str, inventory: Path = INVENTORY) -> list[dict[str, Any]]:
        """Run ansible-playbook on the lab; its results, each with "task", "host", "changed", "failed", "msg"."""
        result = subprocess.run(
            ["ansible-playbook", "-i", str(inventory), *self.more_inventory, *arguments],
            cwd=ROOT, env=ansible_environment(ANSIBLE_STDOUT_CALLBACK="ansible.posix.jsonl"),
            capture_output=True, text=True, timeout=1800 * PATIENCE, check=False,
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

    def site(self, *arguments: str, tags: str = "", limit: str = "", inventory: Path = INVENTORY,
             **variables: Any) -> list[tuple[str, str]]:  # fmt: skip
        """Run site.yml with these extra variables, and all goes well; (host, task) of what it changed."""
        chosen = [f"--{name}={value}" for name, value in (("tags", tags), ("limit", limit)) if value]
        extra = ("--extra-vars", json.dumps(variables))
        results = self.playbook("playbooks/site.yml", *chosen, *extra, *arguments, inventory=inventory)
        wrong = [result for result in results if result.get("failed") or result.get("unreachable")]
        assert [(result["host"], result["task"], result.get("msg")) for result in wrong] == []
        return [(result["host"], result["task"]) for result in results if result.get("changed")]

    def start_playbook(self, *arguments: str, output: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start ansible-playbook on the lab, to be killed."""
        return subprocess.Popen(
            ["ansible-playbook", "-i", str(INVENTORY), *self.more_inventory, *arguments],
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
def vault() -> dict[str, Any]:
    """The lab's secrets, which it keeps in clear."""
    return VAULT


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for a gateway runs once for each, those marked same_on_all_gateways in the long run alone. Where
    hosts are machines, a container is none of them."""
    if "gateway" in metafunc.fixturenames:
        groups = json.loads((STATE / "lab.json").read_text())["groups"]
        machines = groups.get("lab_machines", groups["mail_gateways"])
        first, *others = [name for name in groups["mail_gateways"] if name in machines]
        if metafunc.definition.get_closest_marker("same_on_all_gateways"):
            others = [pytest.param(name, marks=pytest.mark.stress) for name in others]
        metafunc.parametrize("gateway", [first, *others], indirect=True, scope="session")


@pytest.fixture(scope="session")
def gateway(request: pytest.FixtureRequest, lab: Lab) -> Host:
    return lab[request.param]


@pytest.fixture(scope="session")
def wait() -> Callable[[Callable[[], Any], float, str], Any]:
    return wait_for


@pytest.fixture(scope="session")
def machine() -> dict[str, Any]:
    """What the build of the images found out: flags of podman, names of the images."""
    return yaml.safe_load((STATE / "machine.yml").read_text())


@pytest.fixture(scope="session")
def ansible_facts() -> Callable[[str], dict[str, Any]]:
    """ansible_facts(host): what Ansible's setup module says of a host."""

    def gather(host: str) -> dict[str, Any]:
        result = subprocess.run(
            ["ansible", "-i", str(INVENTORY), host, "-m", "ansible.builtin.setup"],
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
