# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories in the layouts that Ansible knows, read by Ansible itself: what a run could write beside them."""

from __future__ import annotations

import os
import shutil
import subprocess
import types
from pathlib import Path

import pytest
import yaml

pytest.importorskip("ansible")

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible_collections.gatehouse.mail.plugins.filter.model import model
from ansible_collections.gatehouse.mail.plugins.lookup import written_files
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _written

VARIABLES = {
    "mail_vpn_networks": ["10.99.0.0/24"],
    "mail_domains": [{"name": "example.org"}],
    "mail_mailboxes": ["alice@example.org"],
    "mail_postmaster": "alice@example.org",
    "mail_unrouted_addresses": True,
    "vault_mail_password_hashes": {"alice@example.org": "{BLF-CRYPT}$2y$05$" + "u" * 53},
}
GATEWAYS = {f"mx{n}.example.org": {"mail_ipv4": f"198.51.100.{n}", "mail_vpn_address": f"10.99.0.{n}"} for n in (1, 2)}
STORES = {"store.example.org": {"mail_vpn_address": "10.99.0.31"}}
INI = """
[mail_gateways]
mx1.example.org mail_ipv4=198.51.100.1 mail_vpn_address=10.99.0.1
[mail_stores]
store.example.org mail_vpn_address=10.99.0.31
[all:vars]
mail_postscreen=false
"""


def write(path, variables=None, gateways=None, stores=None):
    """A YAML inventory; GATEWAYS and STORES where nothing else is said."""
    gateways, stores = GATEWAYS if gateways is None else gateways, STORES if stores is None else stores
    groups = {"mail_gateways": {"hosts": gateways}, "mail_stores": {"hosts": stores}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"all": {"vars": variables or {}, "children": groups}}))
    return path


def said(folder, *sources):
    """What the lookup says of these inventories."""
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(source) for source in sources])
    hostvars = HostVars(inventory, VariableManager(loader=loader, inventory=inventory), loader)
    models = model(hostvars, inventory.get_groups_dict())
    variables = {
        "ansible_inventory_sources": [str(source) for source in sources],
        "playbook_dir": str(folder / "playbooks"),
        "hostvars": hostvars,
    }
    return written_files.LookupModule(loader=loader).run([models["site"], models["hosts"]], variables=variables)


def group_vars(folder, name, variables=None):
    path = folder / "group_vars" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(VARIABLES if variables is None else variables))


def test_usual_layouts_pass(tmp_path):
    one = write(tmp_path / "one/hosts.yml", VARIABLES)
    assert said(tmp_path, one) == []
    ini = tmp_path / "ini/hosts.ini"
    ini.parent.mkdir()
    ini.write_text(INI)
    group_vars(tmp_path / "ini", "all/main.yml")
    assert said(tmp_path, ini) == []
    write(tmp_path / "many/10-gateways.yml", stores={})
    write(tmp_path / "many/20-stores.yml", gateways={})
    group_vars(tmp_path / "many", "all/main.yml")
    assert said(tmp_path, tmp_path / "many") == []
    gateways = write(tmp_path / "first/hosts.yml", VARIABLES, stores={})
    stores = write(tmp_path / "second/hosts.yml", gateways={})
    assert said(tmp_path, gateways, stores) == []


@pytest.mark.parametrize("name", ["all.yml", "all.yaml", "all"])
def test_a_file_that_the_folder_would_hide_is_named_with_a_remedy_that_works(tmp_path, name):
    hosts = write(tmp_path / "site/hosts.yml")
    group_vars(tmp_path / "site", name)
    (first, second) = said(tmp_path, hosts)
    folder = tmp_path / "site/group_vars"
    assert first.startswith(
        f'host mx1.example.org: opendkim_inventory_file: "{folder}/all/mail_dkim.yml" would make Ansible pass over '
        f"{folder}/{name}; run `"
    )
    assert second.startswith("host mx2.example.org: ")
    subprocess.run(["sh", "-c", first.split("`")[1]], check=True)
    shutil.copytree(hosts.parent, tmp_path / "again")  # Ansible remembers for a process what it found in a folder
    assert said(tmp_path, tmp_path / "again/hosts.yml") == []


def test_keys_that_are_known_need_no_file(tmp_path):
    hosts = write(tmp_path / "site/hosts.yml")
    group_vars(tmp_path / "site", "all.yml", {**VARIABLES, "opendkim_inventory_file": str(tmp_path / "mail_dkim.yml")})
    assert said(tmp_path, hosts) == []


def test_gateways_of_two_inventories_want_one_file(tmp_path):
    mx1, mx2 = ({host: own} for host, own in GATEWAYS.items())
    first = write(tmp_path / "a/hosts.yml", VARIABLES, mx1)
    second = write(tmp_path / "b/hosts.yml", VARIABLES, mx2, {})
    (problem,) = said(tmp_path, first, second)
    file = tmp_path / "a/group_vars/all/mail_dkim.yml"
    assert problem.startswith("host mx2.example.org: opendkim_inventory_file: ")
    assert problem.endswith(f'is not the file of host mx1.example.org, and one of the two would be read; write '
                            f'opendkim_inventory_file: "{file}" for all hosts')  # fmt: skip


def test_a_file_that_nobody_reads_is_refused(tmp_path):
    write(tmp_path / "site/deep/hosts.yml", VARIABLES)
    first, _second = said(tmp_path, tmp_path / "site")
    assert "is in no folder in which Ansible reads group_vars; name the inventory by " in first
    assert first.endswith(f"`-i {tmp_path}/site/deep`")
    assert said(tmp_path, tmp_path / "site/deep") == []


def test_what_cannot_be_written_is_refused(tmp_path, monkeypatch):
    hosts = write(tmp_path / "site/hosts.yml", VARIABLES)
    assert said(tmp_path, hosts) == []
    guarded = types.SimpleNamespace(**{**vars(os), "access": lambda path, _mode: Path(path) != tmp_path / "site"})
    monkeypatch.setattr(_written, "os", guarded)
    ca, *keys = said(tmp_path, hosts)
    assert ca.startswith(f'host mx1.example.org: certificate_ca_directory: "{tmp_path}/site/.pki" cannot be written (')
    assert len(keys) == 2 and "opendkim_inventory_file" in keys[0]
    (tmp_path / "site/.pki").mkdir()
    (tmp_path / "site/.pki/ca.key").touch()
    assert len(said(tmp_path, hosts)) == 2


def test_a_file_in_the_place_of_a_folder_cannot_be_written_in(tmp_path):
    (tmp_path / "x").touch()
    assert _written.why_not(tmp_path / "x/ca.key") == (
        f"cannot be written ({tmp_path}/x)",
        "let who runs Ansible write there, or write another path",
    )
