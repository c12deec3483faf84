# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter on Ansible's own lazy HostVars, made from inventories as an operator writes them."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleFilterError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible_collections.gatehouse.mail.plugins.filter import model as filter_model

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
    mail_ports: {lmtp: 2424}
    vault_mail_password_hashes: {alice@example.org: "{BLF-CRYPT}$2y$05$hunter2"}
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
"""
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
                                       vault_mail_password_hashes='{hunter2@example.org: "{ARGON2ID}x"}'))  # fmt: skip


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
    values = {"firewall_ssh_lockout": "true"}  # or an empty list of zones is refused
    lines = "".join(f"\n    {name}: {values.get(name, [])}" for variables in known.values() for name in variables)
    assert run(organisation=f"example{lines}") == run()
