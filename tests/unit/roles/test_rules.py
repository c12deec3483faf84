"""The rules of docs/design.md and docs/style.md that a reader of the roles relies on."""

import os
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import hosts, milters
from jinja2 import StrictUndefined
from jinja2.meta import find_undeclared_variables
from jinja2.nativetypes import NativeEnvironment
from known import example
from rendered import PLATFORMS, layers, registered

ROOT = Path(__file__).parents[3]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
MODELLED = [role for role in ROLES if role.name != "mail"]


def read(path):
    return yaml.safe_load(path.read_text()) or {}


@pytest.mark.parametrize("role", MODELLED, ids=lambda role: role.name)
def test_only_defaults_read_the_model(role):
    readers = [path for path in role.rglob("*") if path.is_file() and "mail_model" in path.read_text()]
    assert [path.relative_to(role) for path in readers if path != role / "defaults/main.yml"] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_no_role_knows_another_one_s_own_names(role):
    others = "|".join(other.name for other in ROLES if other != role and not role.name.startswith(other.name))
    text = "\n".join(path.read_text() for path in role.rglob("*") if path.is_file())
    assert re.findall(rf"\b__(?:{others})_\w+", text) == []


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


def test_what_hosts_import_is_sent_to_them():
    """Ansible sends a module together with module_utils, and with nothing else of a collection."""
    sent = [path for folder in ("module_utils", "modules") for path in (ROOT / "plugins" / folder).rglob("*.py")]
    assert [path.name for path in sent if "plugin_utils" in path.read_text()] == []
    assert "plugin_utils" in (ROOT / "plugins/filter/model.py").read_text()  # which nobody sends


LOOKING = [role for role in MODELLED if (role / "tasks/look.yml").exists()]
READERS = {"gatehouse.mail.listeners", "gatehouse.mail.ssh_connection", "ansible.builtin.find"}
SITE = read(ROOT / "playbooks/site.yml")
REACHED = "mail_gateways:&mail_gateways_reached"


def test_every_host_is_looked_at_before_the_first_is_changed():
    look = next(index for index, play in enumerate(SITE) if "__site_looks" in play.get("vars", {}))
    looked = re.findall(r"'(\w+)'", SITE[look]["vars"]["__site_looks"])
    assert sorted(set(looked)) == sorted(role.name for role in LOOKING)
    assert [index for index, play in enumerate(SITE) if "roles" in play and index < look] == []


@pytest.mark.parametrize("group", hosts.GROUPS)
def test_the_site_knows_each_group_of_hosts(group):
    """Its hosts get the model, are looked at, have roles, and lose what is switched off."""
    everybody = [
        *read(ROOT / "playbooks/model.yml"),
        *(play for play in SITE if "__site_looks" in play.get("vars", {}) or "mail_model.absent" in str(play)),
    ]
    assert len(everybody) == 3
    assert [play["name"] for play in everybody if group not in play["hosts"].split(":")] == []
    own = REACHED if group == hosts.GATEWAYS else group
    assert [play["name"] for play in SITE if play.get("hosts") == own and "roles" in play] != []


@pytest.mark.parametrize("milter", [row for row in milters.MILTERS if row.role], ids=lambda row: row.name)
def test_the_site_switches_on_each_milter_that_can_be_off(milter):
    assert (ROOT / "roles" / milter.role / "tasks/absent.yml").exists()
    (turn,) = [
        row for play in SITE if play.get("hosts") == REACHED for row in play.get("roles", [])
        if row["role"] == f"gatehouse.mail.{milter.role}"
    ]  # fmt: skip
    part = milter.option.removeprefix("mail_")
    assert turn["when"] == (f"mail_model.{part}" if part else f"'{milter.name}' in mail_model.judges")


@pytest.mark.parametrize("role", LOOKING, ids=lambda role: role.name)
def test_a_role_that_needs_to_know_looks_first_and_only_reads(role):
    main = [task for task in read(role / "tasks/main.yml") if "ansible.builtin.include_vars" not in task]
    assert main[0]["ansible.builtin.include_tasks"] == "look.yml"
    tasks = read(role / "tasks/look.yml")
    assert {main[0]["when"].removesuffix(" is not defined")} <= {task.get("register") for task in tasks}
    for task in tasks:
        (module,) = [key for key in task if "." in key]
        reads = task.get("changed_when") is False and task.get("check_mode") is not None
        assert module == "ansible.builtin.assert" or module in READERS or reads, task["name"]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_tasks_know_no_platform_by_name(role):
    text = "\n".join(path.read_text() for path in [*role.glob("tasks/*.yml"), *role.glob("handlers/*.yml")])
    assert re.findall(r"when:.*(?:os_family|distribution|version)", text) == []
    assert re.findall(r"ansible\.builtin\.shell|ignore_errors|failed_when: false", text) == []
    if role.name != "mail":
        assert "set_fact" not in text


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_who_teaches_selinux_installs_what_it_takes(role):
    """Role platform does, too, but a role may be used alone."""
    text = "".join(path.read_text() for path in role.glob("tasks/*.yml"))
    packages = read(role / "vars/redhat.yml").get(f"__{role.name}_packages", []) if "semanage:" in text else []
    assert ("policycoreutils-python-utils" in packages) == ("semanage:" in text)


CONTROLLER = ("localhost", "127.0.0.1", "::1")


def each(tasks, outer):
    """(task, whether it runs on the controller, {variable: value}) of each task, blocks' variables included."""
    for task in tasks:
        there = outer["there"] or task.get("delegate_to") in CONTROLLER or "local_action" in task
        inner = {"there": there, "vars": {**outer["vars"], **task.get("vars", {})}}
        parts = [part for part in ("block", "rescue", "always") if part in task]
        for part in parts:
            yield from each(task[part], inner)
        if not parts:
            yield task, there, inner["vars"]


def tasks_of(path):
    for play in read(path):
        if "hosts" in play:
            outer = {"there": play["hosts"] in CONTROLLER, "vars": play.get("vars", {})}
            for part in ("pre_tasks", "tasks", "post_tasks", "handlers"):
                yield from each(play.get(part, []), outer)
    if path.parent.name in ("tasks", "handlers"):
        yield from each(read(path), {"there": False, "vars": {}})


SHIPPED = [
    path
    for pattern in ("playbooks/*.yml", "roles/*/tasks/*.yml", "roles/*/handlers/*.yml")
    for path in ROOT.glob(pattern)
]


def test_what_runs_on_the_controller_runs_as_who_started_ansible():
    """The keyword become would be outranked by an inventory's ansible_become; a task's variable is not."""
    tasks = {
        f"{path.relative_to(ROOT)}: {task['name']}": known
        for path in SHIPPED
        for task, there, known in tasks_of(path)
        if there
    }
    files = {name.partition(":")[0] for name in tasks}
    assert {"playbooks/dns.yml", "roles/certificate/tasks/ca.yml", "roles/opendkim/tasks/keys.yml"} <= files
    assert [name for name, known in tasks.items() if known.get("ansible_become") is not False] == []


def test_a_folder_has_the_label_of_its_place():
    """Module files gives it; with Ansible's own a new folder has the label of the folder above."""
    made = [
        task.get("ansible.builtin.file", {}) for path in SHIPPED for task, there, _known in tasks_of(path) if not there
    ]
    found = [file for file in made if file.get("state") == "directory"]
    assert len(found) > 3
    assert [file["path"] for file in found if file.get("setype") != "_default"] == []


def in_list(value):
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("role", MODELLED, ids=lambda role: role.name)
def test_what_a_role_loads_it_also_looks_for_when_it_was_not_loaded(role):
    """Every unit that a handler reloads or restarts is one that a task asks about, by the module files or unread; and
    who asks about a unit has such a handler, or a task that restarts it."""

    def units(task, name):
        if name == "{{ item }}":
            return set(task["loop"])
        return {item["unit"] for item in task["loop"]} if name == "{{ item.unit }}" else {name}

    def tasks(folder):
        return [task for path in (role / folder).glob("*.yml") for task in read(path)]

    acting, asked, restarting = set(), set(), set()
    for handler in tasks("handlers"):
        service = handler.get("ansible.builtin.systemd_service", {})
        if service.get("state") in ("reloaded", "restarted"):
            acting |= units(handler, service["name"])
    for task in tasks("tasks"):
        if "gatehouse.mail.unread" in task:
            asked |= units(task, task["gatehouse.mail.unread"]["unit"])
        for unit in in_list(task.get("gatehouse.mail.files", {}).get("unit", [])):
            asked |= units(task, unit)
        service = task.get("ansible.builtin.systemd_service", {})
        if "restarted" in service.get("state", ""):
            restarting |= units(task, service["name"])
    assert acting <= asked <= acting | restarting


OPTIONAL = [role for role in ROLES if (role / "tasks/absent.yml").exists()]


def test_what_can_be_switched_off_is_known():
    known = ["awstats", "clamav", "dmarc", "fail2ban", "greylist", "opendmarc", "pushed_recipients", "recipients"]
    known += ["spamassassin", "spf", "submission"]
    assert [role.name for role in OPTIONAL] == known


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("role", OPTIONAL, ids=lambda role: role.name)
def test_all_that_a_role_makes_goes_when_it_is_switched_off(role, platform):
    """Each file that a task writes (a folder may have others in it), and each unit that one starts, stops, or masks;
    an instance goes with the unit that it is part of."""
    names = {**registered(platform), **read(role / "defaults/main.yml")}
    for path in [role / "vars" / file for file in layers(platform)]:
        names.update(read(path) if path.exists() else {})
    play = example(role.name)
    names.update(play["roles"][0])  # of what has no default without a model
    names["role_path"] = str(role)
    environment = NativeEnvironment(undefined=StrictUndefined)
    environment.tests["changed"] = lambda _result: False  # of tasks that did not run
    environment.filters.update(
        basename=os.path.basename, dirname=os.path.dirname, regex_replace=lambda text, old, new: re.sub(old, new, text)
    )

    def value(written, **more):
        if isinstance(written, str) and "{{" in written:
            needed = find_undeclared_variables(environment.parse(written))
            known = {name: value(names[name]) for name in needed.intersection(names)}
            return environment.from_string(written).render({**known, **more})
        if isinstance(written, list):
            return [value(each, **more) for each in written]
        return {key: value(each, **more) for key, each in written.items()} if isinstance(written, dict) else written

    absent = value(names[f"__{role.name}_absent"])
    made, units = set(), set()
    for path in role.glob("tasks/*.yml"):
        for task in read(path):
            for item in value(task.get("loop", [None])):
                for module in ("template", "copy"):
                    if arguments := task.get(f"ansible.builtin.{module}"):
                        made.add(value(arguments["dest"], item=item))
                for file in task.get("gatehouse.mail.files", {}).get("files", []):
                    if file.get("state") not in ("absent", "directory"):
                        made.update(value(file.get("paths", [file.get("path")]), item=item))
                if unit := task.get("ansible.builtin.systemd_service"):
                    name = value(unit["name"], item=item)
                    units.add(name if "." in name else f"{name}.service")
    assert made
    assert [path for path in sorted(made) if not path.startswith(tuple(absent["paths"]))] == []
    assert {unit for unit in units if "@" not in unit} <= set(absent["units"])
