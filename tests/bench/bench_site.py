"""What site.yml takes on fresh hosts and on hosts where nothing is to be done: tasks and seconds.

Makes the lab GH_LAB and takes it away again, so that lab must not be up.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import NamedTuple

import measure
from throwaway import ROOT

LAB = os.environ.get("GH_LAB", "ght")
SHARED = ROOT / "molecule/shared"


class Run(NamedTuple):
    """A run of site.yml on two gateways and a mail host."""

    seconds: float
    tasks: int  # counted once for each host that ran them
    changed: int


def ansible(*playbooks: object, **more: str) -> str:
    environment = {**os.environ, "GH_LAB": LAB, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **more}
    command = ["ansible-playbook", "-i", ROOT / "inventories/lab", *playbooks]
    result = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError((result.stdout + result.stderr)[-4000:])
    return result.stdout


def site() -> Run:
    started = time.perf_counter()
    said = ansible(ROOT / "playbooks/site.yml", ANSIBLE_STDOUT_CALLBACK="ansible.posix.jsonl")
    seconds = time.perf_counter() - started
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    outcomes = [
        outcome for event in events if event["_event"] == "v2_runner_on_ok" for outcome in event["hosts"].values()
    ]
    return Run(seconds, len(outcomes), sum(bool(outcome.get("changed")) for outcome in outcomes))


def main() -> str | int:
    up = subprocess.run(["podman", "ps", "--format", "{{.Names}}"], check=True, capture_output=True, text=True).stdout
    if any(name.startswith(f"{LAB}-") for name in up.split()):
        return f"the lab {LAB} is up: destroy it, or set GH_LAB to another prefix"
    try:
        ansible(SHARED / "create.yml", SHARED / "prepare.yml")
        first, second = site(), site()
    finally:
        ansible(SHARED / "destroy.yml")
    measure.row(f"site.yml, first run on 3 hosts: {first.tasks} tasks, {first.changed} changed", first.seconds, 600)
    measure.row(f"site.yml, second run: {second.tasks} tasks, {second.changed} changed", second.seconds, 180)
    return measure.report()


if __name__ == "__main__":
    raise SystemExit(main())
