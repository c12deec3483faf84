# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: how mail leaves for the world."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import Place

VARIABLES: dict[str, Any] = {"mail_slow_destinations": []}

EXAMPLE = '{domains: ["example.com", "example.net"], concurrency: 2}'
CONCURRENCY = 20  # Postfix' own limit (default_destination_concurrency_limit), beyond which nothing is slow
DELAY = 3600  # seconds; longer, and a few dozen messages would outlive their time in the queue


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The part `slow_destinations` of the model."""
    at = given.at("mail_slow_destinations")
    classes: list[dict[str, Any]] = []
    found: dict[str, Place] = {}
    for index, item in enumerate(inventory.sequence(at, given["mail_slow_destinations"], f"[{EXAMPLE}]")):
        here = at[index]
        record = inventory.record(here, item, ("domains", "concurrency", "delay"), EXAMPLE)
        names = inventory.sequence(here["domains"], record.get("domains", []), '["example.com"]')
        domains = [_domain(here["domains"][number], name, site, found) for number, name in enumerate(names)]
        if not names:
            here["domains"].note("has no domain", 'write the domains of recipients, such as ["example.com"]')
        classes.append({"domains": sorted(domains), **_pace(here, record)})
    return {"slow_destinations": classes}


def _domain(at: Place, value: object, site: Mapping[str, Any], found: dict[str, Place]) -> str:
    name = inventory.domain_name(at, value)
    if name in site["_ours"]:
        at.refuse(value, "is a domain of ours", "remove it: its mail goes to the mail host, as fast as that takes it")
    elif name in found:
        at.refuse(value, f"is the same domain as {found[name].path}", "write it once")
    found.setdefault(name, at)
    return name


def _pace(at: Place, record: Mapping[Any, Any]) -> dict[str, int]:
    """How many deliveries to one of the domains there may be at once, and the seconds between two of them.

    With seconds between them Postfix makes one delivery at a time, whatever the limit says.
    """
    if "concurrency" not in record and "delay" not in record:
        at.note("has neither concurrency nor delay", f"write one of them, as in {EXAMPLE}")
    delay = inventory.integer(at["delay"], record["delay"], 1, DELAY, 0) if "delay" in record else 0
    concurrency = inventory.integer(at["concurrency"], record.get("concurrency", 1), 1, CONCURRENCY, 1)
    if delay and concurrency != 1:
        at["concurrency"].refuse(
            concurrency, "goes with no delay: with one Postfix makes one delivery at a time", "remove one of the two"
        )
    return {"concurrency": concurrency, "delay": delay}
