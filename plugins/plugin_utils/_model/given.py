# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a concern is given of the inventory: values by their variables' names, each with its place and its default."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import Place


class Values:
    """Variables by name: of one host, or those that all hosts share. One that is not there has its default, which is
    MISSING where there is none."""

    def __init__(self, place: Place, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self._place = place
        self._values = values
        self._defaults = defaults

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> Any:
        return self._values[name] if name in self._values else self._defaults[name]

    def get(self, name: str, default: Any) -> Any:
        """As `[name]`, of a variable whose default follows from something else."""
        return self._values.get(name, default)

    def at(self, name: str) -> Place:
        return self._place[name]

    def boolean(self, name: str) -> bool:
        return inventory.boolean(self.at(name), self[name])

    def integer(self, name: str, low: int, high: int) -> int:
        return inventory.integer(self.at(name), self[name], low, high, self._defaults[name])

    def required(self, name: str, example: str) -> bool:
        """Whether a required value is there."""
        if name not in self:
            self.at(name).note("is missing", f"write it in group_vars/all, such as {example}")
        return name in self


class Declared(NamedTuple):
    """What all concerns declare together: the variables that all hosts share and those of one host, each with its
    default; the variables of secrets; the keys of an item of mail_domains."""

    variables: Mapping[str, Any]
    host_variables: Mapping[str, Any]
    secrets: Sequence[str]
    domain_keys: Sequence[str]


class Given(Values):
    """What a concern reads: the values that all hosts share, as the first one has them, and all else by host.

    members: {inventory host: its group}, one host at least. hosts: {inventory host: all its variables}; places:
    {inventory host: its place}. groups: {group: [inventory host, ...]}.
    """

    def __init__(
        self,
        declared: Declared,
        groups: Mapping[str, Sequence[str]],
        members: Mapping[str, str],
        hosts: Mapping[str, Mapping[str, Any]],
        problems: list[str],
    ) -> None:
        """Notes each value that hosts do not share and should."""
        self.groups = groups
        self.members = members
        self.hosts = {host: hosts.get(host, {}) for host in members}
        self.places = {host: Place(problems, f"host {host}") for host in members}
        self.problems = problems
        self.secrets = declared.secrets
        self.domain_keys = declared.domain_keys
        self._host_defaults = declared.host_variables
        first = next(iter(members))
        super().__init__(self.places[first], self._shared_values(first, declared.variables), declared.variables)

    def _shared_values(self, first: str, names: Iterable[str]) -> dict[str, Any]:
        """The values that all hosts share, as the first host has them."""
        for key in names:
            value = self.hosts[first].get(key, inventory.MISSING)
            for other in self.members:
                theirs = self.hosts[other].get(key, inventory.MISSING)
                if other == first or theirs == value:
                    continue
                here, there = (
                    "not set" if each is inventory.MISSING else inventory.show(each) for each in (theirs, value)
                )
                self.places[other][key].note(
                    f"is {here}, but {there} on host {first}", "write it once, in group_vars/all"
                )
        return {key: self.hosts[first][key] for key in names if key in self.hosts[first]}

    def of(self, host: str) -> Values:
        """The variables that are one host's own."""
        return Values(self.places[host], self.hosts[host], self._host_defaults)

    def of_group(self, group: str) -> list[str]:
        return [host for host, its in self.members.items() if its == group]

    def shared(self, name: str, users: Collection[str]) -> tuple[Place, object] | None:
        """Where a secret stands that is the same everywhere, and its value; None where no host has it. Shows no value.

        users: the hosts whose roles read it.
        """
        once = "write it once, in group_vars/all"
        having = [host for host in self.members if name in self.hosts[host]]
        for host in users if having else ():
            if host not in having:
                self.places[host][name].note(f"is missing, but is on host {having[0]}", once)
        for other in having[1:]:
            if self.hosts[other][name] != self.hosts[having[0]][name]:
                self.places[other][name].note(f"is not the same as on host {having[0]}", once)
        return (self.places[having[0]][name], self.hosts[having[0]][name]) if having else None

    def secret(
        self, name: str, users: Collection[str], example: str, required: bool = True
    ) -> tuple[Place, Mapping[Any, Any] | None]:
        """Where a secret stands, and the mapping that it is; None where it is not there, or none. Shows no value.

        users: the hosts whose roles read it, of whom each must have it where one has, and, if it is required, anyhow.
        """
        found = self.shared(name, users)
        if found is None:
            place = self.at(name)
            if users and required:
                place.note("is missing", example.replace("; ", " in the vault; ", 1))
            return place, None
        place, value = found
        if not isinstance(value, Mapping):
            place.note(f"is {inventory.kind(value)}, not a mapping", example)
            return place, None
        return place, value
