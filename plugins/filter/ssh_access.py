# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter gatehouse.mail.ssh_access; documented in ssh_access.yml beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable, Union

from ansible.errors import AnsibleFilterError
from ansible_collections.gatehouse.mail.plugins.module_utils._plain import plain
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _ssh_access


def ssh_access(
    connection: Mapping[str, Any],
    own: str,
    vpn_interface: str,
    port: Union[int, str, None],
    zones: Union[Sequence[str], str, None],
    lockout: bool,
) -> dict[str, Any]:
    """By which port and zones a host stays open for ssh, and why that cannot be meant."""
    if not isinstance(connection, Mapping) or "id" not in connection:
        raise AnsibleFilterError(
            "gatehouse.mail.ssh_access: the input is no result of gatehouse.mail.ssh_connection; register that module's"
        )
    by_ssh = connection["id"] not in ("", own)
    written = zones.split(",") if isinstance(zones, str) else zones
    result = _ssh_access.access(
        connection["port"] if by_ssh else 0,
        plain(connection["interface"]) if by_ssh else "",
        plain(vpn_interface),
        int(port) if port is not None else None,
        plain(written),
        bool(lockout),
    )
    return {**result, "trial": by_ssh and not lockout}


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"ssh_access": ssh_access}
