# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter on Ansible's own lazy HostVars, made from inventories as an operator writes them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleFilterError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible_collections.gatehouse.mail.plugins.filter import model as filter_model

HASH = "{BLF-CRYPT}$2y$05$hunter2" + "u" * 46
INVENTORY = """
all:
  vars:
    mail_vpn_networks: ["10.99.0.0/24"]
    mail_domains: [{name: "{{ organisation }}.org"}]
    organisation: example
    mail_mailboxes: ["alice@{{ organisation }}.org"]
    mail_postmaster: "{{ mail_mailboxes[0] }}"
    mail_message_size_limit: "{{ 2 * 32768 }}"
    mail_recipient_delimiter: "+"
    mail_unrouted_addresses: true
    mail_ports: {lmtp: 2424}
    vault_mail_password_hashes: {alice@example.org: "HASH"}
    vault_unrelated: "{{ undefined_for_good }}"
    unrelated: "{{ undefined_for_good }}"
  children:
    mail_gateways:
      hosts:
        mx1.example.org: {mail_ipv4: 198.51.100.11, mail_vpn_address: 10.99.0.11}
    mail_stores:
      hosts:
        store.example.org: {mail_vpn_address: "10.99.0.{{ 30 + 1 }}"}
    others:
      hosts:
        elsewhere.example.org: {mail_nonsense: true}
""".replace("HASH", HASH)
model = filter_model.FilterModule().filters()["model"]


@pytest.fixture
def run(tmp_path):
    """run(change): the filter's result on the inventory with lines replaced as {old: new} says."""

    def run(**change):
        text = INVENTORY
        for key, value in change.items():
            (line,) = [line for line in text.splitlines() if line.strip().startswith(f"{key}:")]
            text = text.replace(line, line[: line.index(key)] + f"{key}: {value}")
        path = tmp_path / "hosts.yml"
        path.write_text(text, encoding="utf-8")
        loader = DataLoader()
        inventory = InventoryManager(loader=loader, sources=[str(path)])
        hostvars = HostVars(inventory, VariableManager(loader=loader, inventory=inventory), loader)
        parts = model(hostvars, inventory.get_groups_dict())
        return {host: {**parts["site"], **own} for host, own in parts["hosts"].items()}

    return run


def types_in(value):
    if isinstance(value, dict):
        return {dict} | {kind for pair in value.items() for item in pair for kind in types_in(item)}
    if isinstance(value, list):
        return {list} | {kind for item in value for kind in types_in(item)}
    return {type(value)}


def test_mail_hosts_get_their_models_from_templated_variables(run):
    models = run()
    assert list(models) == ["mx1.example.org", "store.example.org"]
    assert models["mx1.example.org"]["postmaster"] == "alice@example.org"
    assert models["mx1.example.org"]["message_size_limit"] == 65536
    assert models["store.example.org"]["me"]["vpn_address"] == "10.99.0.31"


def test_models_are_of_plain_types(run):
    assert types_in(run()) == {dict, list, str, int, bool, type(None)}


def test_no_secret_is_in_the_models(run):
    assert "hunter2" not in json.dumps(run())
    assert "hunter2" in json.dumps(run(mail_postmaster="Hunter2@example.org", mail_mailboxes="[hunter2@example.org]",
                                       vault_mail_password_hashes=f'{{hunter2@example.org: "{HASH}"}}'))  # fmt: skip


def test_all_problems_stand_in_one_message_a_line_each(run):
    with pytest.raises(AnsibleFilterError) as caught:
        run(mail_recipient_delimiter="++", mail_message_size_limit="5")
    first, *problems, last = str(caught.value).splitlines()
    assert first == "gatehouse.mail.model:"
    assert last == "nothing was changed"
    assert [problem.split(": ")[:2] for problem in problems] == [
        ["host mx1.example.org", "mail_recipient_delimiter"],
        ["host mx1.example.org", "mail_message_size_limit"],
    ]


@pytest.mark.parametrize("template", ["{{ nowhere }}", ["{{ nowhere }}"], {"name": "{{ 1 / 0 }}"}])
def test_what_cannot_be_templated_is_named_with_its_host(run, template):
    with pytest.raises(AnsibleFilterError) as caught:
        run(mail_domains=json.dumps(template))
    _first, *problems, last = str(caught.value).splitlines()
    assert last == "nothing was changed"
    assert [problem.split(": ")[:2] for problem in problems] == [
        ["host mx1.example.org", "mail_domains"],
        ["host store.example.org", "mail_domains"],
    ]
    assert all("nowhere" in problem or "zero" in problem for problem in problems)


def test_a_secret_that_cannot_be_templated_is_not_quoted(run):
    with pytest.raises(AnsibleFilterError) as caught:
        run(vault_mail_password_hashes=json.dumps({"alice@example.org": "{{ 'hunter2' | hunter2 }}"}))
    assert "host mx1.example.org: vault_mail_password_hashes: cannot be templated" in str(caught.value)
    chain, error = [], caught.value
    while error is not None:
        chain.append(f"{error} {error!r}")
        error = error.__cause__ or error.__context__
    assert "hunter2" not in "\n".join(chain)


def test_the_result_of_a_former_run_is_no_input(run):
    assert run(organisation='example\n    mail_model: "{{ undefined_for_good }}"') == run()


@pytest.mark.parametrize("hostvars", ["x", {"mx1": {}}])
def test_other_things_than_hostvars_are_refused(hostvars):
    with pytest.raises(AnsibleFilterError, match=r"gatehouse.mail.model: hostvars is a .*, not Ansible's own hostvars"):
        model(hostvars, {})


def test_what_depends_on_the_host_is_templated_for_each(run):
    models = run(organisation="example\n    mail_vpn_interface: \"{{ inventory_hostname.partition('.')[0] }}0\"")
    assert [model["me"]["vpn_interface"] for model in models.values()] == ["mx10", "store0"]


@pytest.mark.parametrize(
    "variable, said",
    [
        ("postfix_map_tpye: x", "postfix_map_tpye: is not a known variable; did you mean postfix_map_type?"),
        (
            "vault_mail_ca_pasphrase: x",
            'vault_mail_ca_pasphrase: "vault_mail_ca_pasphrase" is not a known variable; did you mean '
            "vault_mail_ca_passphrase?",
        ),
    ],
)
def test_a_slip_in_a_role_s_variable_stands_beside_the_other_problems(run, variable, said):
    with pytest.raises(AnsibleFilterError) as caught:
        run(organisation=f"example\n    {variable}", mail_recipient_delimiter="++")
    _first, slip, other, last = str(caught.value).splitlines()
    assert slip == f"host mx1.example.org: {said}"
    assert "mail_recipient_delimiter" in other
    assert last == "nothing was changed"


def test_a_variable_of_another_collection_s_role_is_a_warning(run, monkeypatch):
    said = []
    monkeypatch.setattr("ansible.utils.display.Display.warning", lambda _self, line, **_kwargs: said.append(line))
    assert run(organisation="example\n    firewall_allowed_tcp_ports: [25]") == run()
    assert said == ["host mx1.example.org: firewall_allowed_tcp_ports: no role of gatehouse.mail reads it"]


def test_every_role_s_variables_are_known(run):
    known, _secrets = filter_model._known_variables()
    names = {"firewall_ports", "postfix_map_type", "dovecot_address"}
    assert names <= {name for variables in known.values() for name in variables}
    lines = "".join(f"\n    {name}: '{{{{ mail_model.x }}}}'" for variables in known.values() for name in variables
                    if name not in filter_model._model.FOREIGN)  # fmt: skip
    assert run(organisation=f"example{lines}") == run()


def refused(run, *lines):
    """What is said of an inventory with these lines beside."""
    with pytest.raises(AnsibleFilterError) as caught:
        run(organisation="".join(["example", *(f"\n    {line}" for line in lines)]))
    first, *problems, last = str(caught.value).splitlines()
    assert (first, last) == ("gatehouse.mail.model:", "nothing was changed")
    return problems


def test_roles_values_are_refused_together_with_those_of_the_model(run):
    said = refused(run, "postfix_maximal_queue_lifetime: 20 Tage", "mail_dns_ttl: -1", "firewall_ssh_zones: [wpn]")
    assert said == [
        'host mx1.example.org: firewall_ssh_zones[0]: "wpn" is none of what it may be; write one of "internet", "vpn"',
        'host mx1.example.org: postfix_maximal_queue_lifetime: "20 Tage" is not a time of Postfix, or out of range; '
        'write a number with its unit, such as "10d"',
        *[line for line in said if "mail_dns_ttl: -1" in line],
    ]
    assert len(said) == 3
    assert run(organisation="example\n    postfix_maximal_queue_lifetime: 20d\n    firewall_ssh_zones: [vpn]") == run()


def test_a_role_s_template_that_cannot_be_filled_is_named_with_its_host(run):
    first, second = refused(run, 'platform_journal_size: "{{ nowhere }}"')
    assert first == (
        "host mx1.example.org: platform_journal_size: cannot be templated ('nowhere' is undefined); mend its template"
    )
    assert second.startswith("host store.example.org: platform_journal_size: ")


def test_a_role_s_secret_is_not_quoted(run):
    (said,) = refused(run, "clamav_freshclam_http_proxy_password: [hunter2]")
    assert said.endswith("clamav_freshclam_http_proxy_password: is a list, not a string; write a string, in quotes")
    first, _second = refused(run, "sasl_passwords: \"{{ 'hunter2' | hunter2 }}\"")
    assert "sasl_passwords: cannot be templated" in first and "hunter2" not in first


@pytest.mark.parametrize(
    "value",
    [
        "{{ ansible_facts['memtotal_mb'] }}M",
        "{{ mail_model.me.short }}",
        "{{ platform_mail_log_days * 2 }}M",
        "{{ own }}",
    ],
)
def test_what_only_a_run_can_know_is_left_to_the_role(run, value):
    lines = f'example\n    own: "{{{{ ansible_facts.x }}}}"\n    platform_journal_size: "{value}"'
    assert run(organisation=lines) == run()


PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: gatehouse.mail.mail, rolespec_validate: false}
"""


def test_within_a_play_a_template_that_fails_is_named_with_host_and_variable(tmp_path):
    """There Ansible hands out markers in place of exceptions."""
    root = Path(__file__).parents[4]
    (tmp_path / "hosts.yml").write_text(INVENTORY)
    (tmp_path / "play.yml").write_text(PLAY)
    wrong = {
        "mail_dns_ttl": "{{ nowhere }}",
        "mail_domains": [{"name": "{{ nowhere }}"}],
        "platform_ntp_pools": "{{ lookup('ansible.builtin.file', '/no/such/file') }}",
        "vault_mail_tsig_keys": "{{ 'hunter2' | hunter2 }}",
    }
    done = subprocess.run(
        ["ansible-playbook", "-i", tmp_path / "hosts.yml", tmp_path / "play.yml", "--extra-vars", json.dumps(wrong)],
        env={**os.environ, "ANSIBLE_CONFIG": str(root / "ansible.cfg"), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    for host in ("mx1.example.org", "store.example.org"):
        for name in wrong:
            assert f"host {host}: {name}: cannot be templated (" in done.stdout, done.stdout
    assert "'nowhere' is undefined" in done.stdout and "/no/such/file" in done.stdout
    assert "nothing was changed" in done.stdout


def test_the_example_goes_through_once_its_addresses_are_replaced(tmp_path):
    example = Path(__file__).parents[4] / "inventories/example"
    shutil.copytree(example, tmp_path / "site")
    hosts = tmp_path / "site/hosts.yml"

    def result():
        loader = DataLoader()
        inventory = InventoryManager(loader=loader, sources=[str(tmp_path / "site")])
        hostvars = HostVars(inventory, VariableManager(loader=loader, inventory=inventory), loader)
        return model(hostvars, inventory.get_groups_dict())

    with pytest.raises(AnsibleFilterError) as caught:
        result()
    said = str(caught.value).splitlines()[1:-1]
    assert [line.partition(" is not public (for documentation); ")[0] for line in said] == [
        'host mx1.example.org: mail_ipv4: "203.0.113.11"',
        'host mx1.example.org: mail_ipv6: "2001:db8:8::11"',
        'host mx2.example.org: mail_ipv4: "192.0.2.12"',
    ]
    text = hosts.read_text()
    for ours in ("203.0.113.11", "192.0.2.12"):
        text = text.replace(ours, f"8.8.4.{ours[-2:]}")
    hosts.write_text(text.replace("2001:db8:8::11", "2001:4860:4860::11"))
    assert [gateway["ipv4"] for gateway in result()["site"]["gateways"]] == ["8.8.4.11", "8.8.4.12"]
