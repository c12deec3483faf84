# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: whom the operator knows, and which checks are only tried."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import Place

VARIABLES: dict[str, Any] = {"mail_tried_checks": [], "mail_access": {}}

# Checks that may be tried before they bite (warn_if_reject). Not those without which mail would be lost.
TRIABLE = (
    "reject_invalid_helo_hostname",
    "reject_non_fqdn_helo_hostname",
    "reject_non_fqdn_sender",
    "reject_unknown_sender_domain",
    "greylisting",
)

# What a rule of the operator's may do. A sender is what anybody writes into MAIL FROM, so it opens no door.
ACTIONS = {"clients": ("accept", "refuse", "warn"), "senders": ("refuse", "warn")}
ACTIONS["recipients"] = ACTIONS["clients"]
REASON = "refused by local policy"
# A reply is at most 512 octets (RFC 5321 4.5.3.1.5). Postfix puts in front of the reason, at worst, its code, "<", the
# name of a host with 255 octets, an IPv6 address in brackets, and ">: Client host rejected: "; CRLF ends it.
REASON_LENGTH = 512 - len("554 5.7.1 <") - 255 - len("[]") - 39 - len(">: Client host rejected: ") - 2


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The parts `tried_checks` and `access` of the model."""
    return {
        "tried_checks": tried_checks(given.at("mail_tried_checks"), given["mail_tried_checks"]),
        "access": access(given.at("mail_access"), given["mail_access"], site["_ours"]),
    }


def tried_checks(at: Place, value: object) -> list[str]:
    names = inventory.sequence(at, value, f'["{TRIABLE[1]}"]')
    for index, name in enumerate(names):
        if name not in TRIABLE:
            inventory.unknown(at[index], name, TRIABLE, "check that can be tried")
    return sorted({name for name in names if name in TRIABLE})


def access(at: Place, value: object, ours: Collection[str]) -> dict[str, list[dict[str, str]]]:
    """{clients, senders, recipients: [{match, then, reason}, ...]} in the order written."""
    example = '{clients: [{match: "203.0.113.0/24", then: "refuse", reason: "no mail from here, ask postmaster"}]}'
    written = inventory.record(at, value, tuple(ACTIONS), example)
    found: dict[str, list[dict[str, str]]] = {}
    for what, actions in ACTIONS.items():
        rules: dict[str, dict[str, str]] = {}
        for index, item in enumerate(inventory.sequence(at[what], written.get(what, []), "[{match: …, then: refuse}]")):
            here = at[what][index]
            record = inventory.record(here, item, ("match", "then", "reason"), example)
            match = _match(here["match"], record.get("match"), what, ours)
            if match and match in rules:
                here["match"].refuse(record["match"], "is there twice", "write it once")
            then, reason = record.get("then"), record.get("reason", REASON)
            if then not in actions:
                here["then"].refuse(then, f"is nothing to do with {what}", f"write one of {', '.join(actions)}")
            words = f"write words in ASCII, at most {REASON_LENGTH} characters, no $, no space at an end"
            if not isinstance(reason, str) or not re.fullmatch(r"[ -#%-~]+", reason) or reason != reason.strip():
                here["reason"].refuse(reason, "is no reason", words)
            elif not re.search("[A-Za-z]", reason):  # module postmap has the reason why
                here["reason"].refuse(reason, "has no word, and a reply needs one", words)
            elif len(reason) > REASON_LENGTH:
                here["reason"].refuse(reason, f"has {len(reason)} characters, too many for a line of SMTP", words)
            rules[match] = {"match": match, "then": str(then), "reason": str(reason)}
        found[what] = list(rules.values())
    return found


def networks(at: Place, value: object) -> list[str]:
    """Addresses and networks in the order written."""
    return matches(at, value, "clients", ())


def matches(at: Place, value: object, what: str, ours: Collection[str]) -> list[str]:
    example = {"clients": "203.0.113.0/24", "recipients": "alice@example.org"}[what]
    found: list[str] = []
    for index, item in enumerate(inventory.sequence(at, value, f'["{example}"]')):
        match = _match(at[index], item, what, ours)
        if match and match in found:
            at[index].refuse(item, "is there twice", "write it once")
        found.append(match)
    return found


def _match(at: Place, value: object, what: str, ours: Collection[str]) -> str:
    if what == "clients":
        try:
            if not isinstance(value, str) or "%" in value:
                raise ValueError
            network = ipaddress.ip_network(value)
        except ValueError:
            at.refuse(
                value, "is neither an address nor a network", 'write one such as "203.0.113.0/24", without host bits'
            )
            return ""
        if network.prefixlen == 0:
            at.refuse(value, "is everybody", "write an address or a smaller network")
        return str(network)
    match = inventory.address_or_domain(at, value)
    if what == "recipients" and ours and "@" in match and inventory.domain_of(match) not in ours:
        at.refuse(value, "is in no domain of ours", "write an address of mail_domains; all others are refused anyhow")
    return match
