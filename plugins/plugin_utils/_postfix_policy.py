# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the variables of role postfix mean in Postfix' own words. No I/O and no Ansible."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ACTIONS = {"accept": "OK", "refuse": "REJECT 5.7.1", "warn": "WARN"}
#: postscreen lets pass whom a rule accepts. Whom one refuses, smtpd tells why.
POSTSCREEN_ACTIONS = {"accept": "permit", "refuse": "dunno", "warn": "dunno"}
#: The uses of DNS lists in the order in which they are asked: who is trusted is not refused by another list.
USES = ("trust", "refuse", "skip_greylisting")
#: What asks a list of names.
OF_NAMES = ("reject_rhsbl_helo", "reject_rhsbl_reverse_client", "reject_rhsbl_sender")


class PolicyError(ValueError):
    """What is wrong with the variables, in words, with the variable."""


def milters(
    chains: Mapping[str, Sequence[str]], known: Iterable[Mapping[str, str]], command_timeout: str, content_timeout: str
) -> dict[str, str]:
    """{service: the milters that it asks, as main.cf has them}; PolicyError for one that is not known.

    Mail that skips a dead milter would be a forgery let in or a signature left out, so it waits; only for one that says
    so (default_action: accept) it does not.
    """
    times = f"connect_timeout=10s, command_timeout={command_timeout}, content_timeout={content_timeout}"
    written = {
        milter["name"]: f"{{ {milter['connect']}, {times}, default_action={milter.get('default_action', 'tempfail')} }}"
        for milter in known
    }
    for service, names in chains.items():
        for name in names:
            if name not in written:
                raise PolicyError(
                    f"postfix_milter_chains.{service}: {name} is no name of postfix_milters; add it there"
                )
    return {service: ", ".join(written[name] for name in names) for service, names in chains.items()}


def _restrictions(use: str, kind: str) -> tuple[str, ...]:
    if use != "refuse":
        return ("permit_dnswl_client",)
    return ("reject_rbl_client",) if kind == "address" else OF_NAMES


def dns_list_classes(lists: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """{restriction class: what it asks}, by use and then in the order written."""
    lists = list(lists)
    return {
        entry["name"]: [
            f"{'warn_if_reject ' if item['try'] else ''}{restriction} {item['zone']}={entry['codes']}"
            for restriction in _restrictions(use, item["kind"])
        ]
        for use in USES
        for item in lists
        for entry in item["uses"]
        if entry["use"] == use
    }


def postscreen_sites(lists: Iterable[Mapping[str, Any]]) -> list[str]:
    """postscreen_dnsbl_sites, "ZONE=ANSWERS*WEIGHT" each; of a list that is only tried postscreen knows nothing."""
    return [
        f"{item['zone']}={entry['codes']}*{entry['weight']}"
        for item in lists
        if item["kind"] == "address" and not item["try"]
        for entry in item["uses"]
    ]


def access(rules: Mapping[str, Sequence[Mapping[str, str]]], exempt: Iterable[str]) -> dict[str, list[dict[str, str]]]:
    """{"clients", "senders", "recipients", "postscreen": [{"key", "value"}]}; a whole domain is its name alone."""

    def entry(rule: Mapping[str, str]) -> dict[str, str]:
        reason = "" if rule["then"] == "accept" else f" {rule['reason']}"
        return {"key": rule["match"].removeprefix("@"), "value": ACTIONS[rule["then"]] + reason}

    return {
        **{what: [entry(rule) for rule in rules[what]] for what in ("clients", "senders", "recipients")},
        "postscreen": [
            *({"key": network, "value": "permit"} for network in dict.fromkeys(exempt)),
            *({"key": rule["match"], "value": POSTSCREEN_ACTIONS[rule["then"]]} for rule in rules["clients"]),
        ],
    }


def transport(domains: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """{domain: its next hop}, by LMTP: the socket of a client with TLS where there is one."""

    def hop(lmtp: Mapping[str, Any]) -> str:
        if lmtp.get("socket"):
            return f"stunnel:unix:{lmtp['socket']}"
        return f"lmtp:inet:[{lmtp['address']}]:{lmtp['port']}"

    return {domain["name"]: hop(domain["lmtp"]) for domain in domains}


def slow(classes: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The services for these classes of destinations, and the tables that lead to them, one or none.

    Behind the service stands no next hop, so each domain has its own (transport(5)), and limits are counted for each.
    """
    services, entries = [], []
    for number, item in enumerate(classes, 1):
        service = f"slow{number}"
        services.append({"name": service, "concurrency": item["concurrency"], "delay": item.get("delay", 0)})
        entries += [f"{domain}={service}:" for domain in item["domains"]]
    return {"services": services, "tables": [f"inline:{{{', '.join(entries)}}}"] if entries else []}


def shrunk(tables: Iterable[Mapping[str, Any]]) -> list[str]:
    """Which tables would lose more than half of what they hold, in words; the tables are gatehouse.mail.postmap's."""
    found = []
    for table in tables:
        counts = table["counts"]
        before = table["count"] - counts["added"] + counts["removed"]
        if counts["removed"] * 2 > before:
            name = table["path"].rpartition("/")[2]
            found.append(f"{name} would lose {counts['removed']} of {before} entries")
    return found
