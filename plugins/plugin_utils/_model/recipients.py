# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: mail hosts that push their recipients to the gateways, and from which sources they take them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.gatehouse.mail.plugins.module_utils import _recipients
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import GATEWAYS, STORES, Place, kind
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.ports import SSH_PORT, SSH_ZONES

HOST_VARIABLES: dict[str, Any] = {"mail_recipients_sources": []}
VARIABLES: dict[str, Any] = {"mail_recipients_shrink": 50, "mail_recipients_max_age": 24, "mail_recipients_grace": 0}
KINDS = ("users_file", "list", "command", "unix_group", "doveadm", "aliases_file")
_EXAMPLE = '[{doveadm: "*"}]'
OWN_USERS = "/etc/dovecot/users"  # which role dovecot writes from mail_mailboxes
# Without what systemd reads as something else in a unit: the path unit watches the file.
_PATH = re.compile(r"/[A-Za-z0-9._@+,:=/-]*[A-Za-z0-9._@+,:=-]")
_GROUP = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


def pushing(given: Given) -> set[str]:
    """The mail hosts that push."""
    return {host for host in given.of_group(STORES) if given.of(host)["mail_recipients_sources"] not in ([], (), "")}


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The part `recipients` of the model: `shrink`, `max_age` and `grace`; each mail host, none where none pushes; the
    domains whose recipients are pushed; and before the first push the aliases that have an end, and the table of whom
    Postfix tells to come again.

    For `view`: `_sources`, {inventory host: its sources}; `_ssh_ports`, those that gateways' sshd was written to have.
    """
    push = pushing(given)
    hosts: list[dict[str, Any]] = []
    needed = site["aliases"].get(site["postmaster"], [site["postmaster"]])
    sources: dict[str, list[dict[str, Any]]] = {}
    for store in site["stores"]:
        own = sorted(
            name
            for name, domain in site["_domains"].items()
            if domain["store"] and domain["store"]["name"] == store["name"]
        )
        mailboxes = [mailbox for mailbox in site["mailboxes"] if inventory.domain_of(mailbox) in own]
        hosts.append(
            {
                **store,
                "domains": own,
                "pushes": store["host"] in push,
                "mailboxes": mailboxes,
                "needed": [address for address in needed if inventory.domain_of(address) in own],
            }
        )
        if store["host"] in push:
            values = given.of(store["host"])
            at = values.at("mail_recipients_sources")
            sources[store["host"]] = _sources(at, values["mail_recipients_sources"], own)
            if site["_domains"] and not own:
                at.note(
                    "is written, and no domain has this mail host as its store", "write [], or the store of a domain"
                )
    gateways = given.of_group(GATEWAYS) if push else []
    for host in gateways:
        zones = given.hosts[host].get(SSH_ZONES)
        if isinstance(zones, (list, tuple)) and zones and "vpn" not in zones:
            given.places[host][SSH_ZONES].refuse(
                list(zones),
                "lacks vpn, by which mail hosts push their recipients (mail_recipients_sources)",
                "write [internet, vpn] or [vpn]",
            )
    live = _recipients.ends(site["aliases"], site["_domains"], site["mailboxes"]) if push else {}
    waiting = [domain for host in hosts if host["pushes"] for domain in host["domains"]]
    known = set(site["mailboxes"])
    return {
        "recipients": {
            "shrink": given.integer("mail_recipients_shrink", 1, 99),
            "max_age": given.integer("mail_recipients_max_age", 1, 24 * 365),
            "grace": given.integer("mail_recipients_grace", 0, 24 * 30),
            "mail_hosts": hosts if push else [],
            "domains": waiting,
            "first_aliases": live,
            "first_deferred": _recipients.deferred(waiting, (), site["aliases"], live, known) if push else {},
        },
        "_sources": sources,
        "_ssh_ports": {host: _port(given.hosts[host].get(SSH_PORT)) for host in gateways},
    }


def view(me: Mapping[str, Any], site: Mapping[str, Any]) -> dict[str, Any]:
    """The parts `recipients_sources` of a mail host, and `recipients_ssh_port` of a gateway, 0 for Ansible's own."""
    return {
        "recipients_sources": site["_sources"].get(me["host"], []),
        "recipients_ssh_port": site["_ssh_ports"].get(me["host"], 0),
    }


def absent(me: Mapping[str, Any], site: Mapping[str, Any]) -> list[str]:
    """The role of either side, where it is switched off."""
    if me["group"] == GATEWAYS:
        return [] if site["recipients"]["mail_hosts"] else ["pushed_recipients"]
    return [] if me["host"] in site["_sources"] else ["recipients"]


def _port(value: object) -> int:
    """What role firewall was told, whose type is judged with all variables of roles."""
    return int(value) if str(value).isdigit() and not isinstance(value, bool) else 0  # type: ignore[call-overload, no-any-return]


def _sources(at: Place, value: object, domains: list[str]) -> list[dict[str, Any]]:
    """[{"kind", "value", "domain"}]; the domain is that of names without one, empty where there is none."""
    found = []
    for index, item in enumerate(inventory.sequence(at, value, _EXAMPLE)):
        here = at[index]
        record = inventory.record(here, item, (*KINDS, "domain"), '{doveadm: "*"}')
        kinds = [key for key in KINDS if key in record]
        if len(kinds) != 1:
            if isinstance(item, Mapping) and {*KINDS, "domain"}.issuperset(item):
                here.note(f"has {len(kinds)} sources", f"write one of {', '.join(KINDS)} in each item")
            continue
        name = kinds[0]
        domain = domains[0] if len(domains) == 1 else ""
        if "domain" in record:
            domain = inventory.domain_name(here["domain"], record["domain"])
            if domains and domain not in domains:
                here["domain"].refuse(
                    record["domain"], "is no domain of this mail host", f"write one of {', '.join(domains)}"
                )
        elif name == "unix_group" and not domain:
            here.note("has no domain, and accounts have none", "write domain beside unix_group")
        found.append({"kind": name, "value": _value(here[name], name, record[name]), "domain": domain})
    return found


def _value(at: Place, name: str, value: object) -> Any:
    if name == "command":
        words = inventory.sequence(at, value, '["/usr/local/bin/addresses", "--all"]')
        for index, word in enumerate(words):
            if not isinstance(word, str) or not word or "\0" in word:
                at[index].refuse(word, f"is {kind(word)}, not a word", "write the program and each argument in quotes")
        if isinstance(value, (list, tuple)) and (not words or not str(words[0]).startswith("/")):
            at.refuse(
                value, "does not begin with a program's full path", 'write one, such as ["/usr/local/bin/addresses"]'
            )
        return [str(word) for word in words]
    if name == "doveadm":
        if not isinstance(value, str) or not value or value.startswith("-") or not value.isprintable():
            at.refuse(value, "is no mask of users", 'write one, such as "*"')
        return str(value)
    pattern, why, instead = (
        (_GROUP, "is no name of a group", 'write one, such as "mailusers"')
        if name == "unix_group"
        else (
            _PATH,
            "is not an absolute path of letters, digits and . _ @ + , : = -",
            'write one, such as "/etc/dovecot/people"',
        )
    )
    if not isinstance(value, str) or not pattern.fullmatch(value):
        at.refuse(value, why if isinstance(value, str) else f"is {kind(value)}, not a string", instead)
    elif name in ("users_file", "list") and posixpath.normpath(value) == OWN_USERS:
        at.refuse(
            value,
            "is written by site.yml from mail_mailboxes",
            'write a file of your own, such as "/etc/dovecot/people", or doveadm: "*" for all users of Dovecot',
        )
    return str(value)
