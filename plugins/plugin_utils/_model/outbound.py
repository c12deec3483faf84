# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: how mail leaves for the world."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import GATEWAYS, Place

VARIABLES: dict[str, Any] = {"mail_slow_destinations": [], "mail_relayhost": {}}
RELAY_VARIABLE = "vault_mail_relayhost_password"
SECRETS = (RELAY_VARIABLE,)
RELAY_EXAMPLE = '{host: smtp.example.com, port: 587, login: "site@example.com"}'

EXAMPLE = '{domains: ["example.com", "example.net"], concurrency: 2}'
CONCURRENCY = 20  # Postfix' own limit (default_destination_concurrency_limit), beyond which nothing is slow
# A table of Postfix' has "login:password".
_LOGIN = re.compile(r"[!-9;-~]{0,254}")
DELAY = 3600  # seconds; longer, and a few dozen messages would outlive their time in the queue


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The parts `slow_destinations` and `relayhost` of the model."""
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
    relayhost = _relayhost(given, site)
    if classes and relayhost["host"]:
        at.note("is written beside mail_relayhost, by which all mail leaves", "remove one of the two")
    # A provider holds senders to the login, and forwarded mail has a stranger's, to whom we would have to return it.
    if relayhost["login"] and given["mail_external_targets"]:
        given.at("mail_external_targets").note(
            "is written beside mail_relayhost with a login, which mail of strangers may not leave by",
            "remove one of the two, or the login where the server knows the gateways by their addresses",
        )
    return {"slow_destinations": classes, "relayhost": relayhost}


def _relayhost(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """By whom all mail for the world leaves; empty where gateways send it themselves. No message shows the password."""
    at = given.at("mail_relayhost")
    record = inventory.record(at, given["mail_relayhost"], ("host", "port", "login"), RELAY_EXAMPLE)
    gateways = given.of_group(GATEWAYS)
    found = given.shared(RELAY_VARIABLE, gateways if record.get("login") else ())
    place = found[0] if found else given.at(RELAY_VARIABLE)
    if not record:
        if found:
            place.note("is written, and there is no mail_relayhost", "remove it")
        return {"host": "", "port": 0, "login": ""}
    host = ""
    if "host" not in record:
        at["host"].note("is missing", f"write {RELAY_EXAMPLE}")
    else:
        host = inventory.domain_name(at["host"], record["host"])
    if host in {me["name"] for me in site["_hosts"]} or host in site["_ours"]:
        at["host"].refuse(record["host"], "is ours, so that mail would go round", "write another one, or remove it")
    port = inventory.integer(at["port"], record.get("port", 587), 1, 65535, 587)
    login = record.get("login", "")
    if not isinstance(login, str) or not _LOGIN.fullmatch(login):
        at["login"].refuse(login, "is no login", 'write one without blanks and colons, such as "site@example.com"')
    elif login and not found:
        place.note("is missing, and mail_relayhost has a login", "write it in the vault, or remove the login")
    elif found and not login:
        place.note("is written, and mail_relayhost has no login", "remove it, or write the login")
    elif found:
        password = found[1]
        if not isinstance(password, str) or not password or not password.isprintable():
            place.note("is no password: a string, not empty, without a line break", "write the one that you were given")
        elif password != password.strip():
            place.note("begins or ends with a blank", "write the one that you were given")
    return {"host": host, "port": port, "login": login if isinstance(login, str) else ""}


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
