# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: the milters, who of Postfix' services asks which, and the largest message."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import GATEWAYS, Place

JUDGE = "gatehouse-dmarc"
OPENDMARC = "opendmarc"
JUDGES = {"dmarc": JUDGE, "opendmarc": OPENDMARC}  # mail_dmarc_judge, by role


class Milter(NamedTuple):
    """A milter: its inet port, or the folder and the group of its unix socket.

    turns: {service of Postfix that asks it: its turn there, the lowest first}. role: the one that brings it, if it can
    be switched off. option: the boolean that switches it on, in the model without its mail_, and its default.
    default_action: milter_default_action; what only marks is no guard, and must not cost mail.
    """

    name: str
    port: int
    folder: str
    group: str
    turns: Mapping[str, int]
    role: str = ""
    option: str = ""
    default: bool = False
    default_action: str = "tempfail"


# opendkim signs with one kind of key a process, hence two. On port 25 a signature is judged before the policy that
# wants to know about it, what a policy refuses need not be scanned, and what is infected need not be marked. At
# submission the judge comes first: what it adds is signed.
MILTERS = (
    Milter("opendkim", 8891, "opendkim", "opendkim", {"smtp": 10, "submission": 20, "local": 10}),
    Milter("opendkim-ed25519", 8890, "opendkim", "opendkim", {"submission": 30, "local": 20}),
    Milter(JUDGE, 8892, "gatehouse-dmarc", "gatehouse-dmarc", {"smtp": 20, "submission": 10}, role="dmarc"),
    Milter(OPENDMARC, 8893, "opendmarc", "opendmarc", {"smtp": 30}, role="opendmarc"),
    Milter(
        "clamav-milter",
        8894,
        "clamav-milter",
        "clamilt",
        {"smtp": 40, "submission": 40},
        role="clamav",
        option="mail_virus_scanner",
        default=True,
    ),
    Milter(
        "spamass-milter",
        8895,
        "spamass-milter",
        "sa-milt",
        {"smtp": 50},
        role="spamassassin",
        option="mail_spamassassin",
        default_action="accept",
    ),
)
SERVICES = ("smtp", "submission", "local")
LABEL, LABELLED_PORTS = "milter_port_t", (8890, 8891, 8893)  # as of a port in `ports`
SOCKETS = ("unix", "inet")
SIZES = (65536, 2**63 - 1)  # bytes; RFC 5321 4.5.3.1.7: at least 64K octets; Postfix: a long
# ClamAV scans no file of 2 GiB (MaxFileSize), and Postfix and the other milters add header fields to a message.
SCANNED_SIZE = 2**31 - 1 - 2**20  # bytes

VARIABLES: dict[str, Any] = {
    "mail_message_size_limit": 52428800,  # bytes
    "mail_milter_sockets": "unix",
    "mail_dmarc_judge": "dmarc",
    "mail_policyd_spf": False,
    **{row.option: row.default for row in MILTERS if row.option},
}


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The parts `message_size_limit`, `milter_chains`, `milters`, `judges`, `policyd_spf`, `strict_from` of the model,
    and one for each option of a milter."""
    size = given.integer("mail_message_size_limit", *SIZES)
    wanted = {row.option: given.boolean(row.option) for row in MILTERS if row.option}
    _check_scanned_size(given.at("mail_message_size_limit"), size, wanted["mail_virus_scanner"])
    judge = _judge(given.at("mail_dmarc_judge"), given["mail_dmarc_judge"])
    off = {row.name for row in MILTERS if not wanted.get(row.option, True)}
    chains = _chains(judge, off, bool(site["logins"]))
    policyd_spf = given.boolean("mail_policyd_spf")
    if policyd_spf and judge != OPENDMARC:
        given.at("mail_policyd_spf").refuse(
            True, "goes with opendmarc alone", "write mail_dmarc_judge: opendmarc as well, or remove it"
        )
    return {
        "message_size_limit": size,
        "milter_chains": chains,
        "milters": _milters(given.at("mail_milter_sockets"), given["mail_milter_sockets"], chains),
        "judges": [name for name in JUDGES.values() if any(name in chain for chain in chains.values())],
        **{option.removeprefix("mail_"): on for option, on in wanted.items()},
        "policyd_spf": policyd_spf,
        "strict_from": judge == OPENDMARC,
    }


def absent(me: Mapping[str, Any], site: Mapping[str, Any]) -> list[str]:
    """The roles of a gateway that are switched off, or not chosen."""
    names = {milter["name"] for milter in site["milters"]}
    roles = sorted(row.role for row in MILTERS if row.role and row.name not in names)
    return [*roles, *([] if site["policyd_spf"] else ["spf"])] if me["group"] == GATEWAYS else []


def _judge(at: Place, value: object) -> str:
    """The milter that judges strangers' mail by DMARC."""
    if not isinstance(value, str) or value not in JUDGES:
        at.refuse(value, "is no judge", f"write one of {', '.join(JUDGES)}")
        return JUDGE
    return JUDGES[value]


def _chains(judge: str, off: Collection[str], submission: bool) -> dict[str, list[str]]:
    """{service of Postfix: the milters that it asks, in this order}; none for submission where nobody may submit.

    Who submits is held to his login by our own judge, whoever judges strangers."""
    strangers = {*off, *JUDGES.values()} - {judge}
    chains = {}
    for service in SERVICES:
        without = strangers if service == "smtp" else off
        asked = [row for row in MILTERS if service in row.turns and row.name not in without]
        chains[service] = [row.name for row in sorted(asked, key=lambda row: row.turns[service])]
    return chains if submission else {**chains, "submission": []}


def _milters(at: Place, value: object, chains: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """The milters of these chains: name, unit, group (of the socket), what becomes of mail while one is away
    (`default_action`), and where it listens, as the milter (`listen`) and as Postfix (`connect`) has it."""
    if value not in SOCKETS:
        at.refuse(value, "is no kind of socket", f"write one of {', '.join(SOCKETS)}")
    asked = {name for chain in chains.values() for name in chain}
    found = []
    for row in MILTERS:
        if row.name not in asked:
            continue
        path = f"/run/{row.folder}/{row.name}.sock"
        unix = value != "inet"
        found.append(
            {
                "name": row.name,
                "unit": row.name,
                "group": row.group,
                "default_action": row.default_action,
                "listen": f"local:{path}" if unix else f"inet:{row.port}@127.0.0.1",
                "connect": f"unix:{path}" if unix else f"inet:127.0.0.1:{row.port}",
            }
        )
    return found


def ports(sockets: object) -> dict[int, str]:
    """The ports that milters have, or would have if they were switched on: port: name."""
    return {row.port: row.name for row in MILTERS} if sockets == "inet" else {}


def selinux_ports(milters: Sequence[Mapping[str, Any]], *names: str) -> list[tuple[int, str, bool]]:
    """(port, type, whether a milter listens there) for the ports of milters that EL's policy does not know as such.

    names: of the milters that the host has; none for all of them."""
    used = {milter["name"] for milter in milters if milter["connect"].startswith("inet:")}
    here = [row for row in MILTERS if row.name in names or not names]
    return [(row.port, LABEL, row.name in used) for row in here if row.port not in LABELLED_PORTS]


def _check_scanned_size(at: Place, size: int, scanner: bool) -> None:
    """What is larger than ClamAV's own limit would pass unscanned."""
    if scanner and size > SCANNED_SIZE:
        at.refuse(size, "is more than ClamAV can scan", f"write at most {SCANNED_SIZE}, or mail_virus_scanner: false")
