# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What site.yml would write on a host: roles' templates and our modules' arguments, by Ansible's own templating.

Tasks are read as Ansible reads them: in the order of the play, with their conditions, loops and variables. What a task
would have registered has here the shape that it has on a host. Nothing is run.
"""

from __future__ import annotations

import base64
import functools
import importlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.text.converters import to_bytes
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from ansible_collections.gatehouse.mail.plugins.module_utils import (
    _files,
    _firewalld_zones,
    _postmap,
    _saslpasswd2,
    _semanage,
)
from known import PLATFORMS, ROOT

ROLES = ROOT / "roles"
PLAYS = {"mail_gateways": "Set up the gateways, one before the others", "mail_stores": "Set up the mail host"}
KNOWN = (ROOT / "tests/unit/roles/postfix-3.5.25.txt").read_text().splitlines()[1:]
NEWER = ["smtpd_relay_before_recipient_restrictions"]  # than 3.5, which EL 9 has
IMPORT = "import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ XAUTHORITY DISPLAY LANG=C"
BODY = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="
PEM = f"-----BEGIN PUBLIC KEY-----\\n{BODY}\\n-----END PUBLIC KEY-----\\n"  # as a string of Jinja
# What tasks register of which templates, our modules' arguments, or conditions are made; a template where it follows
# from the role's own variables.
PUBLICS = """
{%- set made = [] -%}
{%- for key in __opendkim_unwritten -%}
{%- set _ = made.append({'item': key, 'public_key': 'PEM'}) -%}
{%- endfor -%}
{{ made }}
""".replace("PEM", PEM)
MAIL_HOSTS_KEYS = """
{%- set made = [] -%}
{%- for host in __pushed_recipients_pushing -%}
{%- set _ = made.append({'item': host, 'content': 'c3NoLWVkMjU1MTkgQUFBQSB4Cg=='}) -%}
{%- endfor -%}
{{ made }}
"""
WRITERS = """
{%- set made = [] -%}
{%- for path in __unbound_keep_off -%}
{%- set _ = made.append({'item': path, 'stat': {'exists': true}}) -%}
{%- endfor -%}
{{ made }}
"""


def trusted(value: Any) -> Any:
    """The value with its templates trusted, as those of a role's files are."""
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


@functools.cache
def read(path: Path) -> Any:
    return trusted(yaml.safe_load(path.read_text())) if path.exists() else {}


def facts(platform: str) -> dict[str, str]:
    """What Ansible says of a host, as roles ask for it."""
    row = PLATFORMS[platform]
    return {
        "os_family": row["family"],
        "distribution": row["name"].split()[0],
        "distribution_major_version": row["major"],
    }


def layers(platform: str) -> list[str]:
    """The files in a role's vars/ for the platform, the most specific last; not every role has that one."""
    row = PLATFORMS[platform]
    return [f"{name}.yml" for name in ("main", row["family"].lower(), f"{row['family'].lower()}_{row['major']}")]


@functools.cache
def registered(platform: str) -> dict[str, Any]:
    asked_for = "".join(
        (ROLES / role / path).read_text()
        for role in ("postfix", "submission")
        for path in ("vars/main.yml", "templates/etc/postfix/main.cf.j2")
    )
    known = [name for name in KNOWN + ([] if platform == "el9" else NEWER) if f"'{name}'" in asked_for]
    shapes = {
        "__postfix_defaults": {"stdout_lines": [*(f"{name} = x" for name in known), IMPORT]},
        "__certificate_ca": {"stat": {"exists": True}},
        "__certificate_signed": {"results": []},
        "__postfix_dns_lists": {"stat": {"exists": False}},
        "__postfix_ipv6": {"stat": {"exists": PLATFORMS[platform]["family"] == "RedHat"}},
        "__submission_defaults": {"stdout_lines": [*(f"{name} = x" for name in known), IMPORT]},
        "__submission_ipv6": {"stat": {"exists": PLATFORMS[platform]["family"] == "RedHat"}},
        "__submission_ours": {"stat": {"exists": True}},
        "__clamav_meminfo": {"content": base64.b64encode(b"MemTotal:        8054884 kB\n").decode()},
        "__fail2ban_client": {"stat": {"exists": True}},
        "__fail2ban_ours": {"stat": {"exists": True}},
        "__fail2ban_sshd": {"files": []},
        "__firewall_connection": {"id": "192.0.2.66 51234 198.51.100.11 22", "port": 22, "interface": "eth0"},
        "__opendkim_found": {"files": []},
        "__opendkim_publics": {"results": PUBLICS},
        "__pushed_recipients_admitted": {"content": ""},
        "__pushed_recipients_connection": {"port": 22},
        "__pushed_recipients_found": {"files": []},
        "__pushed_recipients_host_keys": {"results": [{"content": base64.b64encode(b"ssh-ed25519 AAAA x\n").decode()}]},
        "__pushed_recipients_keys": {"results": MAIL_HOSTS_KEYS},
        "__pushed_recipients_refreshed": {"stdout": "{}"},
        "__pushed_recipients_told": {"results": []},
        "__pushed_recipients_written": {"files": []},
        "__postfix_pushed_found": {"files": []},
        "__postfix_pushed_lists": {"files": []},
        "__pushed_recipients_maps": {"stdout": "lmdb:/etc/postfix/recipients/store.example.org"},
        "__recipients_public": {"stdout": "ssh-ed25519 AAAA x"},
        "__recipients_written": {"files": []},
        "__recipients_left": {"files": [{"path": "/etc/gatehouse/recipients/gateways/gone.example.org.conf"}]},
        "__stunnel_left": {"files": [{"path": "/etc/systemd/system/gatehouse-lmtp-gone.example.org.socket"}]},
        "__unbound_found": {"files": []},
        "__unbound_writers": {"results": WRITERS},
    }
    every = {name: {"changed": False} for name in _registered()}
    return trusted({**every, **{name: {"changed": False, **shape} for name, shape in shapes.items()}})


@functools.cache
def _registered() -> set[str]:
    return set(re.findall(r"register: (\w+)", "".join(path.read_text() for path in ROLES.glob("*/tasks/*.yml"))))


# Of modules of ours, what they would say of arguments without a host.
def _tables(arguments: Mapping[str, Any]) -> None:
    if arguments.get("state") == "absent":
        return
    for table in arguments.get("tables", [arguments]):
        _postmap.check(_postmap.entries_of(table["entries"]), _postmap.Form(table["type"]))


def _users(arguments: Mapping[str, Any]) -> None:
    users = [_saslpasswd2.User(user["user"], user["realm"], user["password"]) for user in arguments["users"]]
    _saslpasswd2.check(users, 12, True)


def _zones(arguments: Mapping[str, Any]) -> None:
    for zone, text in arguments["zones"].items():
        _firewalld_zones.settings(text, zone)


def _labels(arguments: Mapping[str, Any]) -> None:
    for port in arguments.get("ports", ()):
        _semanage.port_key(str(port["port"]), port["proto"])


JUDGES = {"postmap": _tables, "saslpasswd2": _users, "firewalld_zones": _zones, "semanage": _labels}


def _check(source: str, text: str) -> None:
    """That a file is one of its kind, where Python can tell, and can be written."""
    to_bytes(text, errors="surrogate_or_strict")
    if source.endswith(".json.j2"):
        json.loads(text)
    elif source.endswith(".xml.j2"):
        ElementTree.fromstring(text)  # noqa: S314
    elif text.startswith("#!/usr/bin/python3"):
        compile(text, source, "exec")


def know_filters(templar: Templar) -> None:
    """Teach it the collection's filters, which Ansible would look for in a collection that is installed."""
    for path in (ROOT / "plugins/filter").glob("*.py"):
        plugin = importlib.import_module(f"ansible_collections.gatehouse.mail.plugins.filter.{path.stem}")
        for name, function in plugin.FilterModule().filters().items():
            templar._engine.environment.filters[f"gatehouse.mail.{name}"] = function


class Renderer:
    """Renders; remembers what each role was given, since the same gives the same."""

    def __init__(self, directory: Path) -> None:
        # Ansible's finder takes a collection by what it read of it; ours stands among the modules already.
        sys.modules["ansible_collections.gatehouse.mail"]._collection_meta = {}
        init_plugin_loader([str(ROOT / ".collections")])
        self.directory = directory  # of the inventory
        self.templar = Templar(DataLoader())
        self.sources: set[str] = set()
        self.count = 0
        self._done: set[tuple[str, ...]] = set()
        # Ansible compiles a template anew each time, which is most of the time that rendering takes.
        self.templar._engine._compile_template = functools.cache(self.templar._engine._compile_template)
        know_filters(self.templar)

    def host(self, name: str, platform: str, variables: Mapping[str, Any], model: Mapping[str, Any]) -> None:
        """What site.yml would write on this host; raises what it would fail with."""
        known = {**self._facts(name, platform), "mail_model": model}
        (play,) = (play for play in read(ROOT / "playbooks/site.yml") if play["name"] == PLAYS[model["me"]["group"]])
        for entry in play["roles"]:
            self.templar.available_variables = {**known, **variables}
            if all(map(self.templar.evaluate_conditional, _list(entry.get("when")))):
                self._role(entry["role"].rpartition(".")[2], platform, known, variables)
        for role in model["absent"]:
            self._tasks(role, "absent.yml", {**known, **self._names(role, platform), **variables})

    def alone(self, role: str, host: str, platform: str, variables: Mapping[str, Any]) -> None:
        """What a role would write on a host without the model; raises what it would fail with."""
        self._role(role, platform, self._facts(host, platform), variables)

    def default(self, role: str, name: str, written: dict[str, Any] | None = None) -> Any:
        """A role's variable where nobody wrote it and there is no model; what an inventory has instead."""
        defaults = read(ROLES / role / "defaults/main.yml")
        return self._value(defaults[name], {**self._facts("mx1.example.org", "el9"), **defaults, **(written or {})})

    def _facts(self, host: str, platform: str) -> dict[str, Any]:
        return {
            "inventory_hostname": host,
            "inventory_dir": str(self.directory),
            "inventory_file": str(self.directory / "hosts.yml"),
            "ansible_facts": facts(platform),
            "ansible_check_mode": False,
            "ansible_diff_mode": False,
            "ansible_managed": "Ansible managed",
        }

    def _names(self, role: str, platform: str) -> dict[str, Any]:
        names = {**read(ROLES / role / "defaults/main.yml"), **registered(platform)}
        names["ansible_search_path"] = [str(ROLES / role)]  # of lookups
        names["role_path"] = str(ROLES / role)
        for file in layers(platform):
            names.update(read(ROLES / role / "vars" / file))
        names["__certificate_ca_text"] = "the private CA's certificate\n"  # looked up on the controller
        return names

    def _role(self, role: str, platform: str, known: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
        defaults = read(ROLES / role / "defaults/main.yml")
        self.templar.available_variables = {**known, **defaults, **variables}
        # A role knows its interface alone (test_rules.py), which Ansible evaluates whole, in order to validate it.
        interface = {key: variables.get(key, value) for key, value in defaults.items()}
        interface = self.templar.template(interface)
        key = (role, platform, known["inventory_hostname"], repr(interface))
        if key in self._done:
            return
        specification = read(ROLES / role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
        result = ArgumentSpecValidator(specification).validate(interface)
        if result.error_messages:
            raise ValueError(f"role {role}: {result.error_messages}")
        self._tasks(role, "main.yml", {**known, **self._names(role, platform), **interface})
        self._done.add(key)

    def _tasks(self, role: str, file: str, variables: dict[str, Any]) -> None:
        for task, known in self._each(role, read(ROLES / role / "tasks" / file), variables):
            for module, arguments in task.items():
                if module == "ansible.builtin.template":
                    self._template(role, self._value(arguments["src"], known), known)
                elif module == "gatehouse.mail.files":
                    self._files(role, self._value(arguments["files"], known), known)
                elif module.startswith("gatehouse.mail."):
                    given = self._value(self._looked_up(role, arguments, known) or {}, known)
                    JUDGES.get(module.rpartition(".")[2], lambda _arguments: None)(given)

    def _each(
        self, role: str, tasks: Any, variables: dict[str, Any]
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Every task that would run and is of interest, and the variables that it sees."""
        for task in tasks:
            included = task.get("ansible.builtin.include_tasks", task.get("ansible.builtin.import_tasks"))
            ours = any(key.startswith("gatehouse.mail.") or key == "ansible.builtin.template" for key in task)
            if not (included or ours or "block" in task):
                continue
            known = {**variables, **task.get("vars", {})}
            for item in self._value(task["loop"], known) if "loop" in task else [None]:
                here = {**known, "item": item}
                if not all(self._holds(condition, here) for condition in _list(task.get("when"))):
                    continue
                if "block" in task:
                    yield from self._each(role, task["block"], here)
                elif included:
                    path = ROLES / role / "tasks" / self._value(included, here)
                    yield from self._each(role, read(path), here)
                else:
                    yield task, here

    def _holds(self, condition: str, variables: dict[str, Any]) -> bool:
        self.templar.available_variables = variables
        return self.templar.evaluate_conditional(condition)

    def _value(self, value: Any, variables: dict[str, Any]) -> Any:
        self.templar.available_variables = variables
        return self.templar.template(value)

    def _template(self, role: str, source: str, variables: dict[str, Any]) -> str:
        path = ROLES / role / "templates" / source
        self.templar.available_variables = variables
        overrides = {"trim_blocks": True, "lstrip_blocks": False}
        text = self.templar.template(_source(path), escape_backslashes=False, overrides=overrides) or ""
        self.sources.add(f"{role}/{source}")
        self.count += 1
        _check(source, text)
        return text

    def _files(self, role: str, files: list[dict[str, Any]], variables: dict[str, Any]) -> list[_files.Wanted]:
        """What the action and the module of this name make of the files."""
        files = _files.one_by_one(files)
        contents = {}
        for file in files:
            if file.get("state", "file") == "file":
                text = to_bytes(self._text(role, file, variables), errors="surrogate_or_strict")
                contents[file["path"]] = _files.first_line(file) + text
        return _files.wanted(files, contents)

    def _text(self, role: str, file: dict[str, Any], variables: dict[str, Any]) -> str:
        if "content" in file:
            return file["content"]
        if file.get("verbatim"):
            return (ROLES / role / "files" / _files.source(file)).read_text()
        return self._template(role, _files.source(file), {**variables, "template_destpath": file["path"]})

    def _looked_up(self, role: str, arguments: Any, variables: dict[str, Any]) -> Any:
        """The arguments, with what they look up as a template rendered: role firewall's zones."""
        if role != "firewall" or not isinstance(arguments, dict) or "zones" not in arguments:
            return arguments
        zones = {
            zone: self._template(role, "etc/firewalld/zones/zone.xml.j2", {**variables, "zone": zone})
            for zone in arguments["zones"]
        }
        return {"zones": zones}


def _list(value: Any) -> list[str]:
    return [] if value is None else value if isinstance(value, list) else [value]


@functools.cache
def _source(path: Path) -> str:
    return trust_as_template(path.read_text())


def templates() -> set[str]:
    """Every template of every role."""
    return {os.path.relpath(path, ROLES).replace("/templates/", "/", 1) for path in ROLES.glob("*/templates/**/*.j2")}
