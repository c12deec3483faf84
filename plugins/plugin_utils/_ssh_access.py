# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By which port and zones a host stays open for ssh, and whether that would shut Ansible out. No I/O and no Ansible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

ZONES = ("internet", "vpn")
CONSOLE = "or firewall_ssh_lockout: true if you have a console"


def came_by(interface: str, vpn_interface: str) -> str:
    """The zone of an interface; empty where that is not known, and for lo, on which firewalld lets everything pass."""
    if interface in ("", "lo"):
        return ""
    return "vpn" if interface == vpn_interface else "internet"


def access(
    port_there: int,
    interface: str,
    vpn_interface: str,
    port: Optional[int],
    zones: Optional[Sequence[str]],
    lockout: bool,
) -> dict[str, Any]:
    """{"port", "zones", "problems"}: where ssh stays open, and each reason, with a remedy, why that cannot be meant.

    port_there: the port at the host's end of Ansible's connection, 0 where it does not come by ssh; interface: that by
    which it comes. port, zones and lockout are what the operator wrote, None where he wrote nothing.
    """
    open_port, open_zones = port or port_there, list(ZONES if zones is None else zones)
    problems = [
        f'firewall_ssh_zones: "{zone}" is no zone of this role; write {" or ".join(ZONES)}'
        for zone in open_zones
        if zone not in ZONES
    ]
    if open_zones and not open_port:
        problems.append(
            "firewall_ssh_port is not written, and Ansible does not come by ssh; write the port of sshd, such as 22"
        )
    if not lockout:
        zone = came_by(interface, vpn_interface) if port_there else ""
        if zones is None and not port_there:
            problems.append(
                "firewall_ssh_zones is not written, and Ansible does not come by ssh; "
                f"write the zones in which ssh stays open, such as [internet, vpn], {CONSOLE}"
            )
        elif not open_zones:
            problems.append(f"firewall_ssh_zones: [] leaves ssh open nowhere; write [internet, vpn], {CONSOLE}")
        elif zone and zone not in open_zones:
            problems.append(
                f"firewall_ssh_zones: [{', '.join(open_zones)}] lacks {zone}, the zone of {interface}, "
                f"by which Ansible comes; write [internet, vpn], {CONSOLE}"
            )
    return {"port": open_port, "zones": open_zones, "problems": problems}
