# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who listens at the ports of a host, and who of them is in the way of somebody else. No I/O and no Ansible.

Sources: ss(8) of iproute2 5 and 6, with ``-H -l -n -t -u -p``; cgroups(7) for ``/proc/PID/cgroup``; systemd.unit(5);
systemctl(1) for ``list-sockets``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Optional, Union

Address = Optional[Union[ipaddress.IPv4Address, ipaddress.IPv6Address]]
_USER = re.compile(r'\("(?P<name>.*?)",pid=(?P<pid>\d+)')
_UNITS = (".service", ".socket", ".scope")
SYSTEMD = 1


@dataclasses.dataclass(frozen=True)
class Listener:
    """A socket that waits: "tcp" or "udp", its address (None: all of the host's), and its processes as (name, id).

    The kernel's own sockets have no process, and in some containers nobody is told whose a socket is.
    """

    protocol: str
    address: Address
    port: int
    processes: tuple[tuple[str, int], ...]


def address_of(text: str) -> Address:
    """An address as ss(8) or an operator writes it; None for all addresses, of either family.

    Raises ValueError for what is no address.
    """
    bare = text.partition("%")[0].strip("[]")
    address = ipaddress.ip_address(bare) if bare not in ("", "*") else None
    return None if address is None or address.is_unspecified else address


def listeners(said: str) -> list[Listener]:
    """What ss(8) said, a line each; a line that is none of TCP and UDP is left out."""
    found = []
    for line in said.splitlines():
        cells = line.split(None, 6)
        if len(cells) < 6 or cells[0] not in ("tcp", "udp"):
            continue
        address, _colon, port = cells[4].rpartition(":")
        users = _USER.finditer(cells[6]) if len(cells) > 6 else ()
        processes = tuple((user["name"], int(user["pid"])) for user in users)
        found.append(Listener(cells[0], address_of(address), int(port), processes))
    return found


def unit_of(cgroup: str) -> str:
    """The unit of systemd in what /proc/PID/cgroup says, of either version of cgroups; empty where it says none."""
    for line in cgroup.splitlines():
        _number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers not in ("", "name=systemd"):
            continue
        units = [part for part in path.split("/") if part.endswith(_UNITS)]
        if units:
            return units[-1]
    return ""


def socket_units(said: str) -> dict[tuple[Address, int], set[str]]:
    """{(address, port): units} of the sockets at which systemd itself listens, from ``systemctl list-sockets``."""
    found: dict[tuple[Address, int], set[str]] = {}
    for line in said.splitlines():
        where, _space, rest = line.partition(" ")
        address, _colon, port = where.rpartition(":")
        with contextlib.suppress(ValueError):  # a path, a name, a vsock
            units = {cell for cell in rest.split() if cell.endswith(".socket")}
            found.setdefault((address_of(address), int(port)), set()).update(units)
    return found


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a daemon of ours is to listen."""

    protocol: str
    address: Address
    port: int

    def taken_by(self, listener: Listener) -> bool:
        same = (self.protocol, self.port) == (listener.protocol, listener.port)
        return same and (None in (self.address, listener.address) or self.address == listener.address)


def foreign(
    places: Iterable[Place],
    found: Iterable[Listener],
    unit: Callable[[int], str],
    sockets: Mapping[tuple[Address, int], set[str]],
    ours: list[str],
    replaced: list[str],
    active: bool,
) -> list[str]:
    """Who is in the way, in words.

    unit: the unit of a process, by its id. sockets: the units at whose addresses systemd listens. ours: patterns
    (fnmatch) of units that may be there. replaced: patterns of units that may be there on loopback, since a package of
    ours takes their place. active: whether one of either is; it is held for the listener of whom nothing is said.
    """
    found = list(found)
    said = {}
    for place in places:
        for listener in filter(place.taken_by, found):
            of_systemd = any(pid == SYSTEMD for _name, pid in listener.processes)
            if of_systemd:  # which of several at one port it is, nobody says
                units = sockets.get((listener.address, listener.port), {""})
            else:
                units = {unit(pid) for _name, pid in listener.processes}
            local = listener.address is not None and listener.address.is_loopback
            allowed = [*ours, *(replaced if local else [])]
            if active and not listener.processes:
                continue
            known = [any(fnmatch.fnmatchcase(name, pattern) for pattern in allowed) for name in units]
            if all(known) if of_systemd else any(known):
                continue
            who = ", ".join(sorted({name for name, _pid in listener.processes})) or "somebody"
            of_unit = f" ({', '.join(sorted(units - {''}))})" if units - {""} else ""
            at = "all addresses" if listener.address is None else str(listener.address)
            said[f"{place.protocol} port {place.port} at {at} is taken by {who}{of_unit}"] = None
    return list(said)
