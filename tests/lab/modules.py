"""Scenario modules: a bare host of each platform, and single tasks on them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from .hosts import ROOT, Host, ansible_environment

INVENTORY = ROOT / "molecule/modules/hosts.yml"
HOSTS = yaml.safe_load(INVENTORY.read_text())["all"]["children"]["modules"]["hosts"]


def bare(image: str) -> Host:
    """A host of scenario modules, named for its image."""
    return Host(image, {"lab_container": f"modules-{image}", **HOSTS[image]})


# One of each family has its turn in `make test`.
MORE = [pytest.param(image, marks=pytest.mark.platforms) for image in HOSTS if image not in ("debian12", "el9")]


@pytest.fixture(scope="session", params=["debian12", "el9", *MORE])
def platform(request: pytest.FixtureRequest) -> Host:
    """A test that asks for it runs once on each host of scenario modules."""
    return bare(request.param)


@pytest.fixture(scope="session")
def debian12() -> Host:
    return bare("debian12")


@pytest.fixture(scope="session")
def el9() -> Host:
    return bare("el9")


@pytest.fixture(scope="session")
def el10() -> Host:
    return bare("el10")


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
            ["ansible-playbook", "-i", str(INVENTORY), *arguments, str(self.playbook)],
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
