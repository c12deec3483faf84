"""A copy of the lab's inventory that a test may edit, and hosts that stand in it alone."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .hosts import ROOT, Host, Lab

# A second mail host, of the other family.
STORE2 = "store2.example.org"
STORE2_VARIABLES = {
    "mail_vpn_address": "{{ lab_vpn4 }}.32", "lab_address4": "{{ lab_internet4 }}.32",
    "lab_address6": "{{ lab_internet6 }}::32", "lab_container": "store2", "lab_image": "debian12",
}  # fmt: skip


class Inventory:
    """It goes on with the lab's state."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder, self.state = folder, state
        shutil.copytree(ROOT / "inventories/lab", folder)
        # After lab.yml in the order of the alphabet, so it counts.
        (folder / "group_vars/all/state.yml").write_text(json.dumps({"lab_state": str(state)}))

    @contextlib.contextmanager
    def edit(self, name: str = "group_vars/all/mail.yml", *keys: str) -> Iterator[Any]:
        """What stands in a file, or below these keys of it, to be changed."""
        file = self.folder / name
        content = part = yaml.safe_load(file.read_text())
        for key in keys:
            part = part[key]
        yield part
        file.write_text(yaml.safe_dump(content, sort_keys=False))

    def hosts(self, group: str) -> contextlib.AbstractContextManager[Any]:
        return self.edit("hosts.yml", "all", "children", group, "hosts")

    @contextlib.contextmanager
    def new_host(self, lab: Lab, group: str, name: str, variables: dict[str, Any]) -> Iterator[Host]:
        """One line more in a group, and its container, which goes at the end."""
        with self.hosts(group) as hosts:
            hosts[name] = variables
        if group == "mail_stores":  # whose login at the gateways follows from its name
            with self.edit("group_vars/all/vault.yml", "vault_mail_login_passwords") as passwords:
                passwords[f"submission@{name}"] = "correct horse other people submit"
        create = lab.playbook("molecule/shared/create.yml", inventory=self.folder)
        assert [result for result in create if result.get("failed")] == []
        host = Host(name, json.loads((self.state / "lab.json").read_text())["hosts"][name])
        try:
            yield host
        finally:
            subprocess.run(["podman", "rm", "--force", "--time=0", host.container], check=True, timeout=60)
            lab.playbook("molecule/shared/create.yml")


@pytest.fixture
def inventory(tmp_path: Path, state: Path) -> Inventory:
    return Inventory(tmp_path / "mysite", state)
