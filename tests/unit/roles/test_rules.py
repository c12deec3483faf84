"""The rules of docs/design.md and docs/style.md that a reader of the roles relies on."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
MODELLED = [role for role in ROLES if role.name != "mail"]


def read(path):
    return yaml.safe_load(path.read_text()) or {}


@pytest.mark.parametrize("role", MODELLED, ids=lambda role: role.name)
def test_only_defaults_read_the_model(role):
    readers = [path for path in role.rglob("*") if path.is_file() and "mail_model" in path.read_text()]
    assert [path.relative_to(role) for path in readers if path != role / "defaults/main.yml"] == []


@pytest.mark.parametrize("role", MODELLED, ids=lambda role: role.name)
def test_defaults_and_argument_specs_agree(role):
    """Every variable of one is in the other, and a default that is a plain value is the documented one."""
    defaults = read(role / "defaults/main.yml")
    options = read(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert sorted(defaults) == sorted(options)
    for name, option in options.items():
        assert name.startswith(f"{role.name}_")
        if "default" in option and "{{" not in str(defaults[name]):
            assert option["default"] == defaults[name], name


@pytest.mark.parametrize("role", MODELLED, ids=lambda role: role.name)
def test_families_define_the_same_names(role):
    families = {path.stem: sorted(read(path)) for path in role.glob("vars/*.yml") if path.stem != "main"}
    assert set(families) == {"debian", "redhat"}
    assert families["debian"] == families["redhat"]


def test_lost_keys_are_looked_for_before_anything_is_changed_on_a_gateway():
    """By tasks that only read, and ask for nothing that a package or an earlier task brings."""
    (gateways,) = [play for play in read(ROOT / "playbooks/site.yml") if play.get("hosts") == "mail_gateways"]
    first = {"name": "gatehouse.mail.opendkim", "tasks_from": "look.yml"}
    assert [task["ansible.builtin.import_role"] for task in gateways["pre_tasks"]] == [first]
    look = read(ROOT / "roles/opendkim/tasks/look.yml")
    assert {key for task in look for key in task if "." in key} == {"ansible.builtin.find", "ansible.builtin.assert"}
    names = [task["name"] for task in read(ROOT / "roles/opendkim/tasks/main.yml")]
    assert names.index("Look for keys that are lost") < names.index("Install opendkim")


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_tasks_know_no_platform_by_name(role):
    text = "\n".join(path.read_text() for path in [*role.glob("tasks/*.yml"), *role.glob("handlers/*.yml")])
    assert re.findall(r"when:.*(?:os_family|distribution|version)", text) == []
    assert re.findall(r"ansible\.builtin\.shell|ignore_errors|failed_when: false", text) == []
    if role.name != "mail":
        assert "set_fact" not in text


@pytest.mark.parametrize("role", MODELLED, ids=lambda role: role.name)
def test_what_a_role_loads_it_also_looks_for_when_it_was_not_loaded(role):
    """Every unit that a handler reloads or restarts is one that a task with the module unread asks about."""

    def units(task, name):
        if name == "{{ item }}":
            return set(task["loop"])
        return {item["unit"] for item in task["loop"]} if name == "{{ item.unit }}" else {name}

    def tasks(folder):
        return [task for path in (role / folder).glob("*.yml") for task in read(path)]

    acting, asked = set(), set()
    for handler in tasks("handlers"):
        service = handler.get("ansible.builtin.systemd_service", {})
        if service.get("state") in ("reloaded", "restarted"):
            acting |= units(handler, service["name"])
    for task in tasks("tasks"):
        if "gatehouse.mail.unread" in task:
            asked |= units(task, task["gatehouse.mail.unread"]["unit"])
    assert asked == acting
