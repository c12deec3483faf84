"""What the model costs: its core alone, by hosts and by domains, and the play around it."""

from __future__ import annotations

import importlib
import json
import os
import runpy
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import measure

ROOT = Path(__file__).resolve().parents[2]
runpy.run_path(str(ROOT / "tests/unit/conftest.py"))  # lets Python import this collection from a clone
MODEL = importlib.import_module("ansible_collections.gatehouse.mail.plugins.plugin_utils._model.model")
PLAY = """
- hosts: mail_gateways:mail_stores
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: gatehouse.mail.mail, rolespec_validate: false}
"""


def site(gateways: int, domains: int) -> dict[str, Any]:
    """An inventory with so many gateways and domains, a mailbox and an alias in each domain."""
    names = [f"domain{number}.example" for number in range(domains)]
    return {
        "all": {
            "vars": {
                "mail_vpn_networks": ["10.8.0.0/16"],
                "mail_domains": [{"name": name} for name in names],
                "mail_mailboxes": [f"alice@{name}" for name in names],
                "mail_aliases": {f"info@{name}": f"alice@{name}" for name in names},
                "mail_postmaster": f"alice@{names[0]}",
                "mail_clear_secrets": True,
                "mail_unrouted_addresses": True,
                "vault_mail_password_hashes": {f"alice@{name}": "{BLF-CRYPT}$2b$10$" + "u" * 53 for name in names},
            },
            "children": {
                "mail_gateways": {
                    "hosts": {
                        f"mx{number}.example.org": {
                            "mail_ipv4": f"198.18.{number // 250}.{number % 250 + 1}",
                            "mail_vpn_address": f"10.8.{number // 250}.{number % 250 + 1}",
                        }
                        for number in range(gateways)
                    }
                },
                "mail_stores": {"hosts": {"store.example.org": {"mail_vpn_address": "10.8.255.1"}}},
            },
        }
    }


def core(gateways: int, domains: int) -> float:
    """The least of five times that the pure function takes, in seconds of the processor."""
    inventory = site(gateways, domains)["all"]
    groups = {group: list(members["hosts"]) for group, members in inventory["children"].items()}
    hosts = {
        host: {**inventory["vars"], **own}
        for members in inventory["children"].values()
        for host, own in members["hosts"].items()
    }
    taken = []
    for _turn in range(5):
        started = time.process_time()
        MODEL.site_and_hosts(hosts, groups)
        taken.append(time.process_time() - started)
    return min(taken)


def play(gateways: int, domains: int) -> float:
    """Seconds of an ansible-playbook that runs role mail and nothing else, its start included."""
    with tempfile.TemporaryDirectory() as folder:
        inventory, playbook = Path(folder) / "hosts.json", Path(folder) / "play.yml"
        inventory.write_text(json.dumps(site(gateways, domains)))
        playbook.write_text(PLAY)
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
        command = ["ansible-playbook", "-i", inventory, playbook]
        started = time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started


def main() -> str | int:
    whole = core(100, 1000)
    measure.row("model: 100 gateways, 1,000 domains, 3,000 addresses", whole, 0.1)
    measure.row("model: ten times the domains", core(100, 10000), 20 * whole)
    measure.row("model: four times the gateways", core(400, 1000), 8 * whole)
    measure.row("ansible-playbook with role mail alone: 4 hosts, 10 domains", play(3, 10), 5)
    measure.row("ansible-playbook with role mail alone: 101 hosts, 1,000 domains", play(100, 1000), 40)
    return measure.report()


if __name__ == "__main__":
    raise SystemExit(main())
