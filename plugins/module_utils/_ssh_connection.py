# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An ssh connection as the host at its end sees it. No I/O and no Ansible.

Sources: ssh(1), ENVIRONMENT, for SSH_CONNECTION; ip-route(8) for ``ip -json route get``.
"""

from __future__ import annotations

import dataclasses
import json


@dataclasses.dataclass(frozen=True)
class Connection:
    """Addresses without the zone that a link-local one has; ``link`` is that zone, or empty."""

    client: str
    address: str
    port: int
    link: str

    @property
    def route(self) -> list[str]:
        """The arguments of ip(8) that ask by which interface the host answers."""
        way = ["oif", self.link] if self.link else []
        return ["-json", "route", "get", "to", self.client, "from", self.address, *way]


def connection(said: str) -> Connection | None:
    """What SSH_CONNECTION says (client, its port, address, port; a space between); None for what sshd did not write."""
    try:
        client, _client_port, address, port = said.split(" ")
        return Connection(client.partition("%")[0], address.partition("%")[0], int(port), address.partition("%")[2])
    except ValueError:
        return None


def interface(route: str) -> str:
    """The interface in what ``ip -json route get`` says; empty where it says none."""
    try:
        return str(json.loads(route)[0]["dev"])
    except (ValueError, LookupError, TypeError):
        return ""
