# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: who is banned, and who never is."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import access, hosts, ports
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given

VARIABLES: dict[str, Any] = {"mail_bans": True, "mail_bans_vpn": False, "mail_bans_exempt": []}
LOOPBACK = ("127.0.0.0/8", "::1/128")


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The part `bans` of the model."""
    exempt = access.networks(given.at("mail_bans_exempt"), given["mail_bans_exempt"])
    whole = not given.boolean("mail_bans_vpn")
    on = given.boolean("mail_bans")
    if not on and site["submission"] and "internet" in site["submission_zones"]:
        given.at("mail_bans").refuse(
            False, "leaves guesses at passwords unlimited on the internet (mail_submission_zones)", "write true"
        )
    never = {network for me in site["_hosts"] for network in hosts.networks_of(me)}
    never.update(str(ipaddress.ip_network(me["vpn_address"])) for me in site["_hosts"] if me["vpn_address"])
    never.update(str(network) for network in site["_vpn"] if whole)
    return {
        "bans": {
            "on": on,
            "never": [*LOOPBACK, *sorted(never.union(exempt))],
            "allow_lists": [
                {"zone": entry["zone"], "codes": use["codes"]}
                for entry in site["dns_lists"]
                for use in entry["uses"]
                if use["use"] == "trust"
            ],
        }
    }


def view(me: Mapping[str, Any], site: Mapping[str, Any]) -> dict[str, Any]:
    """The part `jails` of one host's model."""
    return {
        "jails": [
            {"name": row.jail, "port": site["ports"][row.name]}
            for row in ports.offered(me, site)
            if site["bans"]["on"] and row.jail
        ]
    }


def absent(me: Mapping[str, Any], site: Mapping[str, Any]) -> list[str]:
    """The role, where it is switched off."""
    return [] if site["bans"]["on"] else ["fail2ban"]
