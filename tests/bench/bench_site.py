"""What site.yml takes on fresh hosts and on hosts where nothing is to be done: tasks, seconds, and processor.

Makes the lab GH_LAB, with three gateways more, and takes it away again, so that lab must not be up.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import measure
from lab.inventory import Inventory
from throwaway import ROOT

LAB = os.environ.get("GH_LAB", "ght")
SHARED = ROOT / "molecule/shared"
# As the lab's own two gateways, one of each family, and one more.
MORE = {
    f"mx{number}.example.org": {
        "mail_ipv4": f"{{{{ lab_internet4 }}}}.1{number}", "mail_ipv6": f"{{{{ lab_internet6 }}}}::1{number}",
        "mail_vpn_address": f"{{{{ lab_vpn4 }}}}.1{number}", "mail_preference": 10 * number,
        "lab_container": f"mx{number}", "lab_image": image,
    }
    for number, image in ((3, "el9"), (4, "debian12"), (5, "el9"))
}  # fmt: skip
WITHOUT = ("--limit", ":".join(["all", *(f"!{name}" for name in MORE)]))


class Run(NamedTuple):
    """A run of site.yml. The processor's seconds are Ansible's and the hosts', whatever else the machine does."""

    seconds: float
    processor: float
    tasks: int  # counted once for each host that ran them
    changed: int


def ansible(inventory: Path, *arguments: object, **more: str) -> str:
    environment = {**os.environ, "GH_LAB": LAB, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **more}
    command = ["ansible-playbook", "-i", inventory, *arguments]
    result = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError((result.stdout + result.stderr)[-4000:])
    return result.stdout


def container_seconds(container: str) -> float:
    """Seconds of the processor that a container has used (cgroups of either version; cpuacct.usage, cpu.stat)."""
    shown = ["podman", "inspect", "--format", "{{.State.Pid}} {{.Id}}", container]
    pid, name = subprocess.run(shown, check=True, capture_output=True, text=True).stdout.split()
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        folder = path[: path.index(name) + len(name)]
        if controllers == "cpuacct":
            return int(Path(f"/sys/fs/cgroup/cpuacct{folder}/cpuacct.usage").read_text()) / 1e9
        usage = Path(f"/sys/fs/cgroup{folder}/cpu.stat")
        if not controllers and usage.exists():
            return int(usage.read_text().split()[1]) / 1e6  # usage_usec
    raise RuntimeError(f"{container}: no group that counts the processor")


def processor_seconds() -> float:
    """What the containers have used, and Ansible itself."""
    here = resource.getrusage(resource.RUSAGE_CHILDREN)
    return here.ru_utime + here.ru_stime + sum(map(container_seconds, containers()))


def containers() -> list[str]:
    said = subprocess.run(["podman", "ps", "--format", "{{.Names}}"], check=True, capture_output=True, text=True).stdout
    return [name for name in said.split() if name.startswith(f"{LAB}-")]


def site(inventory: Path, *arguments: str) -> Run:
    used, started = processor_seconds(), time.perf_counter()
    said = ansible(inventory, ROOT / "playbooks/site.yml", *arguments, ANSIBLE_STDOUT_CALLBACK="ansible.posix.jsonl")
    seconds, used = time.perf_counter() - started, processor_seconds() - used
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    outcomes = [
        outcome for event in events if event["_event"] == "v2_runner_on_ok" for outcome in event["hosts"].values()
    ]
    return Run(seconds, used, len(outcomes), sum(bool(outcome.get("changed")) for outcome in outcomes))


def row(what: str, run: Run, allowed: float) -> None:
    measure.row(f"site.yml, {what}: {run.tasks} tasks, {run.changed} changed", run.seconds, allowed)
    measure.row(f"site.yml, {what}: processor", run.processor)


def main() -> str | int:
    if containers():
        return f"the lab {LAB} is up: destroy it, or set GH_LAB to another prefix"
    with tempfile.TemporaryDirectory() as folder:
        inventory = Inventory(Path(folder) / "site", ROOT / ".lab" / LAB)
        with inventory.hosts("mail_gateways") as hosts:
            hosts.update(MORE)
        try:
            ansible(inventory.folder, SHARED / "create.yml", SHARED / "prepare.yml")
            first, second = site(inventory.folder, *WITHOUT), site(inventory.folder, *WITHOUT)
            site(inventory.folder)
            five = site(inventory.folder)
        finally:
            ansible(inventory.folder, SHARED / "destroy.yml")
    row("first run, 2 gateways and a mail host", first, 600)
    row("second run", second, 180)
    row("second run, 5 gateways and a mail host", five, 360)
    measure.row("site.yml, second run, 5 gateways: times 2 gateways", five.seconds / second.seconds, 2.2)
    return measure.report()


if __name__ == "__main__":
    raise SystemExit(main())
