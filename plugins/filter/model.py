# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter gatehouse.mail.model; documented in model.yml beside it."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

import yaml
from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display
from ansible.vars.hostvars import HostVars
from ansible_collections.gatehouse.mail.plugins.module_utils import _inventory, _model
from ansible_collections.gatehouse.mail.plugins.module_utils._plain import plain

ROLES = Path(__file__).resolve().parents[2] / "roles"


def model(hostvars: HostVars, groups: Mapping[str, list[str]]) -> dict[str, Any]:
    """What mail hosts share, and what each has beside it; AnsibleFilterError names all that is wrong, a line each."""
    for name, value, wanted in (("hostvars", hostvars, HostVars), ("groups", groups, Mapping)):
        if not isinstance(value, wanted):
            raise AnsibleFilterError(f"gatehouse.mail.model: {name} is {_model.kind(value)}, not Ansible's own {name}")
    members = {group: [str(host) for host in groups.get(group, ())] for group in _model.GROUPS}
    hosts = {host: hostvars.raw_get(host) for host in sorted({host for group in members.values() for host in group})}
    slips, others = _inventory.unknown_variables(hosts, *_known_variables())
    for line in others:
        Display().warning(line)
    try:
        site, own = _model.parts(_read(hostvars, hosts), members)
        if slips:
            raise _model.InventoryError([])
    except _model.InventoryError as error:
        # Ansible says a cause only once if the message ends with it.
        both = _model.InventoryError([*slips, *error.problems])
        raise AnsibleFilterError(f"gatehouse.mail.model:\n{both}") from both
    return {"site": site, "hosts": own}


def _read(hostvars: HostVars, hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The variables that matter, templated, as plain values. What cannot be templated makes one InventoryError.

    What all hosts have from one place, without a template in it, is one object here; it is looked at once.
    """
    values: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    constants: dict[int, Any] = {}
    for host, raw in hosts.items():
        variables = hostvars[host]
        values[host] = {}
        for name in filter(_model.concerns, raw):
            if id(raw[name]) not in constants and _is_constant(raw[name]):
                constants[id(raw[name])] = plain(raw[name])
            if id(raw[name]) in constants:
                values[host][name] = constants[id(raw[name])]
                continue
            try:
                values[host][name] = plain(variables[name])
            except Exception as error:  # whatever a template may raise
                # A message may quote what it failed on, which must not happen to a secret.
                why = type(error).__name__ if name in _model.SECRETS else " ".join(str(error).split())
                problems.append(f"host {host}: {name}: cannot be templated ({why}); mend its template")
    if problems:
        raise _model.InventoryError(problems)
    return values


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
def _known_variables() -> tuple[dict[str, list[str]], list[str]]:
    """What roles read: {prefix of a role: its variables}, and the variables vault_mail_* in any role's defaults."""
    known: dict[str, list[str]] = {}
    secrets = set(_model.SECRETS)
    for defaults in ROLES.glob("*/defaults/main.yml"):
        text = defaults.read_text(encoding="utf-8")
        known[f"{defaults.parts[-3]}_"] = sorted(yaml.safe_load(text))
        secrets.update(re.findall(r"\bvault_mail_\w+", text))
    return known, sorted(secrets)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"model": model}
