# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter gatehouse.mail.model; documented in model.yml beside it."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.yaml import yaml_load
from ansible.utils.display import Display
from ansible.vars.hostvars import HostVars
from ansible_collections.gatehouse.mail.plugins.module_utils._plain import plain
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _arguments
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory, ports
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import model as _model
from jinja2 import Undefined

ROLES = Path(__file__).resolve().parents[2] / "roles"


def model(hostvars: HostVars, groups: Mapping[str, list[str]]) -> dict[str, Any]:
    """What mail hosts share, and what each has beside it; AnsibleFilterError names all that is wrong, a line each."""
    for name, value, wanted in (("hostvars", hostvars, HostVars), ("groups", groups, Mapping)):
        if not isinstance(value, wanted):
            raise AnsibleFilterError(
                f"gatehouse.mail.model: {name} is {inventory.kind(value)}, not Ansible's own {name}"
            )
    members = {group: [str(host) for host in groups.get(group, ())] for group in _model.GROUPS}
    hosts = {host: hostvars.raw_get(host) for host in sorted({host for group in members.values() for host in group})}
    slips, others = inventory.unknown_variables(hosts, *_known_variables())
    for line in others:
        Display().warning(line)
    options = _options()
    secrets = {*_model.SECRETS, *(name for name, option in options.items() if option.get("no_log"))}
    arguments, problems = _read(hostvars, hosts, lambda name: name in options and name not in _model.FOREIGN, secrets)
    values, unreadable = _read(hostvars, hosts, _model.is_read, secrets)
    for host, read in values.items():
        arguments[host].update({name: read[name] for name in ports.SSH_ACCESS if name in read})
    problems = [*slips, *problems, *_arguments.problems(arguments, options)]
    try:
        if unreadable:
            raise inventory.InventoryError(unreadable)
        site, own = _model.site_and_hosts(values, members)
        if problems:
            raise inventory.InventoryError([])
    except inventory.InventoryError as error:
        # Ansible says a cause only once if the message ends with it.
        both = inventory.InventoryError([*problems, *error.problems])
        raise AnsibleFilterError(f"gatehouse.mail.model:\n{both}") from both
    return {"site": site, "hosts": own}


def _read(
    hostvars: HostVars,
    hosts: Mapping[str, Mapping[str, Any]],
    wanted: Callable[[str], bool],
    secrets: Collection[str],
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The wanted variables, templated, as plain values, and a line for each that cannot be templated.

    What all hosts have from one place, without a template in it, is one object here; it is looked at once. What only
    the run itself can know, such as a fact, is left out.
    """
    values: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    constants: dict[int, Any] = {}
    for host, raw in hosts.items():
        variables = hostvars[host]
        values[host] = {}
        for name in filter(wanted, raw):
            if id(raw[name]) not in constants and _is_constant(raw[name]):
                constants[id(raw[name])] = plain(raw[name])
            if id(raw[name]) in constants:
                values[host][name] = constants[id(raw[name])]
                continue
            try:
                values[host][name] = _filled(plain(variables[name]))
            except Exception as error:  # whatever a template may raise
                if _is_known_later(name, raw):
                    continue
                # A message may quote what it failed on, which must not happen to a secret.
                why = type(error).__name__ if name in secrets else " ".join(str(error).split())
                problems.append(f"host {host}: {name}: cannot be templated ({why}); mend its template")
    return values, problems


def _filled(value: Any) -> Any:
    """The value. Within a play a template that failed leaves a marker, which raises what happened when it is read."""
    if isinstance(value, Undefined):
        str(value)
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _filled(item)
    return value


def _is_known_later(name: str, raw: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> bool:
    """Whether a role's variable is made of facts, of the model, or of a role's own defaults."""
    if _model.is_read(name):
        return False
    for word in set(_words(raw[name])) - seen:
        if word.startswith("ansible_") or word == _model.RESULT or (word in _options() and word not in raw):
            return True
        if word in raw and _is_known_later(word, raw, seen | {name, word}):
            return True
    return False


def _words(value: Any) -> Iterator[str]:
    """The words in a value's templates."""
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _words(item)
    elif isinstance(value, str) and not _is_constant(value):
        yield from re.findall(r"\w+", value)


def _is_constant(value: Any) -> bool:
    """Whether a raw value means the same for every host: plain types, and no template within."""
    if isinstance(value, Mapping):
        return all(_is_constant(key) and _is_constant(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_constant, value))
    if isinstance(value, str):
        return not any(opening in value for opening in ("{{", "{%", "{#"))
    return value is None or isinstance(value, (bool, int, float))


@functools.cache
def _options() -> dict[str, dict[str, Any]]:
    """{variable of a role: what the role's argument specification says of it}, but for those of role mail."""
    options: dict[str, dict[str, Any]] = {}
    for specification in ROLES.glob("*/meta/argument_specs.yml"):
        if specification.parts[-3] != "mail":
            read = yaml_load(specification.read_text(encoding="utf-8"))
            options.update(read["argument_specs"]["main"]["options"])
    return options


@functools.cache
def _known_variables() -> tuple[dict[str, list[str]], list[str]]:
    """What roles read: {prefix of a role: its variables}, and the variables vault_mail_* in any role's defaults."""
    known: dict[str, list[str]] = {}
    secrets = set(_model.SECRETS)
    for defaults in ROLES.glob("*/defaults/main.yml"):
        text = defaults.read_text(encoding="utf-8")
        known[f"{defaults.parts[-3]}_"] = sorted(yaml_load(text))
        secrets.update(re.findall(r"\bvault_mail_\w+", text))
    return known, sorted(secrets)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"model": model}
