# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: the greylist, which one host keeps for all gateways."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import access, inventory
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import STORES, Place

GREYLIST = "mail_greylist"  # may be missing
GROUPS = (GREYLIST,)
DELAYS = (1, 3600)  # seconds; postgrey takes 0 for its own default of 300
VARIABLES: dict[str, Any] = {
    "mail_greylisting": True,
    "mail_greylist_delay": 60,  # seconds
    "mail_greylist_exceptions": {},
}


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The part `greylist` of the model."""
    host = _keeper(given)
    keeper = next((me for me in site["_hosts"] if me["host"] == host), None)
    on = given.boolean("mail_greylisting")
    return {
        "greylist": {
            **_greylist_host(keeper if on else None, site["ports"]["greylist"]),
            "delay": given.integer("mail_greylist_delay", *DELAYS),
            "exceptions": exceptions(
                given.at("mail_greylist_exceptions"), given["mail_greylist_exceptions"], site["_ours"]
            ),
        }
    }


def absent(me: Mapping[str, Any], site: Mapping[str, Any]) -> list[str]:
    """The role, on each host but the one that keeps the greylist."""
    return [] if site["greylist"]["host"] == me["host"] else ["greylist"]


def _keeper(given: Given) -> str | None:
    """The host that keeps the greylist: the one of its group, or else the first store."""
    stores = given.of_group(STORES)
    hosts = given.groups.get(GREYLIST) or stores[:1]
    if len(hosts) > 1:
        shown = ", ".join(hosts)
        Place(given.problems, f"group {GREYLIST}").note(
            f"has {len(hosts)} hosts ({shown})", "leave one in it: all gateways share one greylist"
        )
    for host in hosts:
        if host not in stores:
            Place(given.problems, f"host {host}").note(
                f"is in {GREYLIST}, but not in {STORES}", f"write one of {', '.join(stores)} there, or remove the group"
            )
    return hosts[0] if hosts else None


def _greylist_host(keeper: Mapping[str, Any] | None, port: int) -> dict[str, Any]:
    """Which host keeps the greylist, and where it listens, as postgrey (`listen`) and Postfix (`connect`) write it."""
    if keeper is None:
        return {"host": None, "listen": "", "connect": ""}
    address = str(keeper["vpn_address"])
    listen = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return {"host": keeper["host"], "listen": listen, "connect": f"inet:{listen}"}


def exceptions(at: Place, value: object, ours: Collection[str]) -> dict[str, list[str]]:
    """{clients, recipients: [who is not greylisted, ...]} in the order written."""
    written = inventory.record(at, value, ("clients", "recipients"), '{clients: ["203.0.113.0/24"]}')
    return {
        "clients": access.matches(at["clients"], written.get("clients", []), "clients", ours),
        "recipients": access.matches(at["recipients"], written.get("recipients", []), "recipients", ours),
    }
