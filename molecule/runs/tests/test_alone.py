"""Each role by itself, as its README shows it, on fresh hosts of both families, where there is no model."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import known
import pytest
from lab.hosts import ROOT, STATE, Host

pytestmark = pytest.mark.stress

# Role mail's example is a play without a role of a daemon: the model of a whole inventory.
ROLES = sorted(path.parent.name for path in (ROOT / "roles").glob("*/README.md") if path.parent.name != "mail")
# What the pages' site has, and the fresh hosts have in its place; a template, where it differs.
OURS = {
    "mx1.example.org": "{{ inventory_hostname }}",
    "store.example.org": "{{ inventory_hostname }}",
    "10.8.0.0/24": "{{ lab_vpn4 }}.0/24",
    "10.8.0.11": "{{ lab_vpn_address }}",
    "10.8.0.31": "{{ lab_vpn_address }}",
    "wg0": "vpn0",
    "/home/me/ca": "{{ lab_state }}/ca",
}
# As doveadm pw made it, of the word "secret".
HASH = "{SSHA256}x0kZ2pPBLFBHBAc0YX5PVmRKYhQyoHLiILHxxGGRHLxhYmNk"
# What the examples of roles dovecot and postfix have from elsewhere, made here: a certificate for the host's name.
CERTIFICATE = """
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$0" -keyout store.key \
    -out store.crt -addext "subjectAltName=DNS:$0" 2> /dev/null
cp store.key mx1.key
for name in ca mx1; do cp store.crt $name.crt; done
"""
EPEL = {
    "hosts": "alone",
    "become": True,
    "tasks": [
        {
            "ansible.builtin.import_role": {"name": "gatehouse.mail.platform", "tasks_from": "repositories-redhat"},
            "when": "ansible_facts.os_family == 'RedHat'",
        }
    ],
}


def ours(value: Any) -> Any:
    """The value of an example with what is the fresh hosts' own."""
    if isinstance(value, dict):
        return {key: ours(item) for key, item in value.items()}
    if isinstance(value, list):
        return [ours(item) for item in value]
    if not isinstance(value, str):
        return value
    return re.sub("|".join(map(re.escape, OURS)), lambda found: OURS[found[0]], value)


def example(role: str) -> list[dict[str, Any]]:
    """The play of a role's README, for the fresh hosts, and what it says that must be there before."""
    text = " ".join((ROOT / f"roles/{role}/README.md").read_text().split())
    return [*([EPEL] if "from EPEL" in text else []), {**ours(known.example(role)), "hosts": "alone"}]


@pytest.fixture
def alone(lab, tmp_path):
    """alone(*arguments): ansible-playbook for a fresh host of each family, which reads the lab's name server."""
    state, inventory = tmp_path / "state", tmp_path / "site"
    shutil.copytree(STATE, state)
    hosts = {
        f"{image}.example.net": {
            "lab_image": image, "lab_container": f"alone-{image}", "lab_address4": f"{{{{ lab_internet4 }}}}.{number}",
            "lab_address6": f"{{{{ lab_internet6 }}}}::{number}", "lab_vpn_address": f"{{{{ lab_vpn4 }}}}.{number}",
        }
        for number, image in enumerate(("el9", "debian12"), 21)
    }  # fmt: skip
    fresh = [Host(name, {"lab_container": host["lab_container"]}) for name, host in hosts.items()]
    (inventory / "group_vars").mkdir(parents=True)
    groups = {"lab": {"children": {"alone": None}}, "alone": {"hosts": hosts}}
    (inventory / "hosts.yml").write_text(json.dumps({"all": {"children": groups}}))
    written = ROOT / "inventories/lab/group_vars"
    shutil.copy(written / "all/lab.yml", inventory / "group_vars/all.yml")
    shutil.copy(written / "lab.yml", inventory / "group_vars/lab.yml")
    shutil.copy(written / "mail_gateways.yml", inventory / "group_vars/alone.yml")

    def run(*arguments: str) -> list[dict[str, Any]]:
        said = {
            "lab_state": str(state), "vault_hash_of_alice": HASH, "vault_store_password": "correct horse store",
            # Each host is the only one of its site.
            "opendkim_inventory_file": f"{tmp_path}/{{{{ inventory_hostname }}}}.yml",
        }  # fmt: skip
        return lab.playbook(*arguments, "--extra-vars", json.dumps(said), inventory=inventory)

    def ended() -> None:
        containers = [host.container for host in fresh]
        subprocess.run(["podman", "rm", "--force", "--ignore", "--time=0", *containers], check=True, timeout=60)

    ended()
    try:
        assert not [result for result in run("molecule/shared/create.yml") if result.get("failed")]
        for host in fresh:
            pki = tmp_path / host.name
            pki.mkdir()
            subprocess.run(["sh", "-ec", CERTIFICATE, host.name], cwd=pki, check=True, timeout=60)
            resolver = lab["ns.example.net"].lab_address4
            host.out("sh", "-ec", f"mkdir -p /etc/pki; echo nameserver {resolver} > /etc/resolv.conf")
            subprocess.run(["podman", "cp", f"{pki}/.", f"{host.container}:/etc/pki/"], check=True, timeout=60)
        yield run
    finally:
        ended()


@pytest.mark.parametrize("role", ROLES)
def test_the_example_of_each_role_runs_on_fresh_hosts_and_a_second_time_changes_nothing(alone, role, tmp_path: Path):
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps(example(role)))
    first, second = alone(str(playbook)), alone(str(playbook))
    assert [
        (result["host"], result["task"], result.get("msg"), result.get("stderr"))
        for result in first + second
        if result.get("failed")
    ] == []
    assert {result["host"] for result in first if result.get("changed")} == {"el9.example.net", "debian12.example.net"}
    assert [(result["host"], result["task"]) for result in second if result.get("changed")] == []
