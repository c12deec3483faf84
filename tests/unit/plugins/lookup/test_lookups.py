# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookups on real files, as Ansible finds and decrypts them."""

from __future__ import annotations

import subprocess

import pytest
from ansible.constants import DEFAULT_VAULT_IDENTITY
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.gatehouse.mail.plugins.lookup import certificate_problems, clear_secrets, keys_twice

SECRETS = [(DEFAULT_VAULT_IDENTITY, VaultSecret(b"passphrase"))]


@pytest.fixture
def pair(tmp_path):
    """Paths of a certificate for mx1.example.org and its key."""
    names = {"certificate": str(tmp_path / "mx1.crt"), "key": str(tmp_path / "mx1.key")}
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90",
         "-subj", "/CN=x", "-addext", "subjectAltName=DNS:mx1.example.org",
         "-out", names["certificate"], "-keyout", names["key"]],
        check=True, capture_output=True,
    )  # fmt: skip
    (tmp_path / "mx1.key").chmod(0o600)
    return names


def problems_of(pair, name="mx1.example.org"):
    loader = DataLoader()
    loader.set_vault_secrets(SECRETS)
    lookup = certificate_problems.LookupModule(loader=loader)
    return lookup.run([{"mx1": {"certificate_files": [pair], "me": {"name": name}}}], variables={})


def test_a_good_pair_has_no_problem(pair):
    assert problems_of(pair) == []


def test_a_bad_pair_has_host_key_path_reason_and_remedy(pair):
    assert problems_of(pair, "mx2.example.org") == [
        f'host mx1: mail_certificate_files[0].certificate: "{pair["certificate"]}" is for mx1.example.org; '
        "write one for mx2.example.org"
    ]


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_key_open_to_others_is_refused_unless_it_is_encrypted(pair, tmp_path, mode):
    key = tmp_path / "mx1.key"
    key.chmod(mode)
    (problem,) = problems_of(pair)
    assert problem.startswith(f'host mx1: mail_certificate_files[0].key: "{key}" is open to others (mode 0{mode:o})')
    assert problem.endswith(f"run `chmod 600 {key}`")
    key.write_bytes(VaultLib(SECRETS).encrypt(key.read_bytes()))
    assert problems_of(pair) == []


def test_a_file_that_is_not_there_is_a_problem_and_no_traceback(pair):
    (problem,) = problems_of({**pair, "key": "nowhere.key"})
    assert problem.startswith('host mx1: mail_certificate_files[0].key: "nowhere.key" cannot be read')


def test_clear_secrets_are_found_wherever_an_inventory_has_them(tmp_path):
    site, playbooks = tmp_path / "site", tmp_path / "playbooks"
    files = {
        site / "hosts.yml": "all: {vars: {vault_a: hunter2}}",
        site / "group_vars/all/vault.yml": "vault_b: hunter2",
        site / "group_vars/all/encrypted.yml": "$ANSIBLE_VAULT;1.1;AES256\n31\n",
        site / "host_vars/mx1": "vault_c: hunter2",
        site / "README.md": "vault_x: in a text",
        site / "elsewhere/other.yml": "vault_x: in no inventory",
        playbooks / "group_vars/all.yml": "vault_d: hunter2",
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for source in (site, site / "hosts.yml"):
        variables = {"ansible_inventory_sources": [str(source), "mx2.example.org,"], "playbook_dir": str(playbooks)}
        lines = clear_secrets.LookupModule(loader=DataLoader()).run([], variables)
        assert sorted(line.split(": ")[1] for line in lines) == ["vault_a", "vault_b", "vault_c", "vault_d"]
        assert all("run `ansible-vault encrypt " in line and "hunter2" not in line for line in lines)


def twice(folder):
    variables = {"ansible_inventory_sources": [str(folder)], "playbook_dir": str(folder / "playbooks")}
    return keys_twice.LookupModule(loader=DataLoader()).run([], variables=variables)


def test_a_key_that_stands_twice_is_named_with_its_file_and_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "group_vars/all").mkdir(parents=True)
    mail = tmp_path / "group_vars/all/mail.yml"
    mail.write_text("mail_dns_ttl: 60\nmail_ports:\n  imaps: 993\n  lmtp: 24\n  imaps: 10993\nmail_dns_ttl: 70\n")
    (tmp_path / "hosts.yml").write_text("all: {hosts: {a: }, hosts: {b: }}\n")
    assert sorted(twice(tmp_path)) == [
        "group_vars/all/mail.yml: imaps: stands in line 3 and in line 5; write it once",
        "group_vars/all/mail.yml: mail_dns_ttl: stands in line 1 and in line 6; write it once",
        "hosts.yml: hosts: stands in line 1 and in line 1; write it once",
    ]


def test_the_same_key_of_two_mappings_is_no_mistake(tmp_path):
    (tmp_path / "hosts.yml").write_text(
        "a: &x {k: 1, 1: 1, '1': 2}\nb: {k: 2, d: *x}\nc: [{k: 1}, {k: 1}]\ns: !vault |\n  k\n"
    )
    (tmp_path / "broken.yml").write_text("a: @b\n")
    (tmp_path / "hosts").write_text("[a]\nb c=1 c=2\n")
    assert twice(tmp_path) == []
