# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the model that is about mail going out: who may submit it, and the milters."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory

PASSWORDS = "vault_mail_login_passwords"

PASSWORD_LENGTH = 12  # characters at least
PASSWORD_OCTETS = 1024  # at most; saslpasswd2 reads no more

JUDGE = "gatehouse-dmarc"
OPENDMARC = "opendmarc"
JUDGES = {"dmarc": JUDGE, "opendmarc": OPENDMARC}  # mail_dmarc_judge, by role
SCANNER = "clamav-milter"
MARKER = "spamass-milter"
# Each milter with its inet port, the folder and the group of its unix socket, and milter_default_action where that is
# not "tempfail": what only marks is no guard, and must not cost mail. opendkim signs with one kind of key a process,
# hence two.
MILTERS = {
    "opendkim": {"port": 8891, "folder": "opendkim", "group": "opendkim"},
    "opendkim-ed25519": {"port": 8890, "folder": "opendkim", "group": "opendkim"},
    JUDGE: {"port": 8892, "folder": "gatehouse-dmarc", "group": "gatehouse-dmarc"},
    OPENDMARC: {"port": 8893, "folder": "opendmarc", "group": "opendmarc"},
    SCANNER: {"port": 8894, "folder": "clamav-milter", "group": "clamilt"},
    MARKER: {"port": 8895, "folder": "spamass-milter", "group": "sa-milt", "default_action": "accept"},
}
#: The roles of milters that can be switched off, or chosen one instead of the other.
ROLES = {"clamav": SCANNER, "dmarc": JUDGE, "opendmarc": OPENDMARC, "spamassassin": MARKER}
# Whom each service of Postfix asks, in this order. On port 25 a signature is judged before the policy that wants to
# know about it, what a policy refuses need not be scanned, and what is infected need not be marked. At submission the
# judge comes first: what it adds is signed.
CHAINS = {
    "smtp": ("opendkim", JUDGE, OPENDMARC, SCANNER, MARKER),
    "submission": (JUDGE, "opendkim", "opendkim-ed25519", SCANNER),
    "local": ("opendkim", "opendkim-ed25519"),
}
MILTER_PORTS = ("milter_port_t", (8890, 8891, 8893))  # as PORT_TYPES of the model
SOCKETS = ("unix", "inet")
# ClamAV scans no file of 2 GiB (MaxFileSize), and Postfix and the other milters add header fields to a message.
SCANNED_SIZE = 2**31 - 1 - 2**20  # bytes


# Who may submit


def logins(at: inventory.Place, value: object, domains: Mapping[str, Any]) -> dict[str, list[str]]:
    """{login: the senders it may use}; a sender is an address or, for all of a domain, "@" and the domain."""
    example = '{"alice@example.org": ["alice@example.org"], "store@example.org": ["@example.org"]}'
    found: dict[str, list[str]] = {}
    for key, written in inventory.mapping(at, value, example).items():
        here = at[key]
        login = inventory.address(here, key)
        if login in found:
            here.note("is there twice, but for upper and lower case", "write it once")
        senders = [written] if isinstance(written, str) else inventory.sequence(here, written, '["alice@example.org"]')
        found[login] = sorted({address_or_domain(here[index], sender, domains) for index, sender in enumerate(senders)})
        if not senders:
            here.note("may send as nobody", 'write its addresses, or "@example.org" for all of a domain')
    return {login: found[login] for login in sorted(found)}


def address_or_domain(at: inventory.Place, value: object, domains: Mapping[str, Any]) -> str:
    sender = inventory.address_or_domain(at, value)
    domain = inventory.domain_of(sender)
    if "@" in sender and domains and domain not in domains:
        at.refuse(value, "is in a domain that is not ours", "write an address of a domain of mail_domains")
    return sender


def senders(by_login: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """{sender: the logins that may use it}. Postfix looks for the address first and then asks no further, so an address
    with an owner of its own belongs to the owners of its domain as well."""
    owners: dict[str, set[str]] = {}
    for login, names in by_login.items():
        for name in names:
            owners.setdefault(name, set()).add(login)
    return {
        name: sorted(owners[name] | owners.get("@" + inventory.domain_of(name), set()))
        for name in sorted(owners)
    }  # fmt: skip


def any_from(at: inventory.Place, value: object, logins: Mapping[str, Any]) -> list[str]:
    """The logins whose From field may name anybody."""
    found = []
    for index, login in enumerate(inventory.sequence(at, value, '["printer@example.org"]')):
        name = inventory.address(at[index], login)
        if "@" in name and name not in logins:
            at[index].refuse(login, "is not a login", "write one of mail_logins")
        found.append(name)
    return sorted(set(found))


def check_passwords(
    members: Sequence[str],
    hosts: Mapping[str, Mapping[str, Any]],
    at: Mapping[str, inventory.Place],
    known: Mapping[str, Any],
    gateways: Collection[str],
) -> None:
    """Each login has a password that saslpasswd2 takes, and nobody else has. No message shows a password."""
    make = "make one with `openssl rand -base64 24`"
    example = f"write {{login: password}}; {make}"
    place, value = inventory.secret(members, hosts, at, PASSWORDS, gateways if known else (), example)
    if value is None:
        return
    seen = set()
    for number, (login, password) in enumerate(value.items(), 1):
        if not isinstance(login, str) or not inventory.is_address(login):
            place.note(f"the key of entry {number} is not a login", 'write {"alice@example.org": "password"}')
            continue
        seen.add(login.lower())
        if login.lower() not in known:
            place[login].note(f"{inventory.show(login)} is not a login", "write it in mail_logins, or remove it here")
        why = _why_no_password(password)
        if why:
            place[login].note(why, make)
    for login in known:
        if "@" in login and login not in seen:
            place[login].note(f"login {inventory.show(login)} has no password", make)


def _why_no_password(value: object) -> str:
    if not isinstance(value, str):
        return f"is {inventory.kind(value)}, not a password"
    if not value:
        return "is empty"
    if any(character in value for character in "\n\r\0"):
        return "contains a newline or NUL"
    if len(value) < PASSWORD_LENGTH:
        return f"is shorter than {PASSWORD_LENGTH} characters"
    if len(value.encode("utf-8", "replace")) > PASSWORD_OCTETS:
        return f"is longer than {PASSWORD_OCTETS} octets"
    return ""


# The milters


def judge(at: inventory.Place, value: object) -> str:
    """The milter that judges strangers' mail by DMARC."""
    if not isinstance(value, str) or value not in JUDGES:
        at.refuse(value, "is no judge", f"write one of {', '.join(JUDGES)}")
        return JUDGE
    return JUDGES[value]


def chains(judge: str, scanner: bool, marker: bool, submission: bool) -> dict[str, list[str]]:
    """{service of Postfix: the milters that it asks, in this order}; none for submission where nobody may submit.

    Who submits is held to his login by our own judge, whoever judges strangers."""
    off = {name for name, wanted in ((SCANNER, scanner), (MARKER, marker)) if not wanted}
    strangers = off | (set(JUDGES.values()) - {judge})
    return {
        "smtp": [name for name in CHAINS["smtp"] if name not in strangers],
        "submission": [name for name in CHAINS["submission"] if submission and name not in off],
        "local": list(CHAINS["local"]),
    }


def milters(at: inventory.Place, value: object, chains: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """The milters of these chains: name, unit, group (of the socket), what becomes of mail while one is away
    (`default_action`), and where it listens, as the milter (`listen`) and as Postfix (`connect`) has it."""
    if value not in SOCKETS:
        at.refuse(value, "is no kind of socket", f"write one of {', '.join(SOCKETS)}")
    asked = {name for chain in chains.values() for name in chain}
    found = []
    for name, milter in MILTERS.items():
        if name not in asked:
            continue
        path = f"/run/{milter['folder']}/{name}.sock"
        unix = value != "inet"
        found.append(
            {
                "name": name,
                "unit": name,
                "group": milter["group"],
                "default_action": milter.get("default_action", "tempfail"),
                "listen": f"local:{path}" if unix else f"inet:{milter['port']}@127.0.0.1",
                "connect": f"unix:{path}" if unix else f"inet:127.0.0.1:{milter['port']}",
            }
        )
    return found


def selinux_ports(milters: Sequence[Mapping[str, Any]]) -> list[tuple[int, str, bool]]:
    """(port, type, whether a milter listens there) for the ports of milters that EL's policy does not know as such."""
    setype, labelled = MILTER_PORTS
    used = {milter["name"] for milter in milters if milter["connect"].startswith("inet:")}
    return [
        (milter["port"], setype, name in used) for name, milter in MILTERS.items() if milter["port"] not in labelled
    ]


def absent(milters: Sequence[Mapping[str, Any]], policyd_spf: bool) -> list[str]:
    """The roles of a gateway that are switched off."""
    names = {milter["name"] for milter in milters}
    return [*(role for role, name in ROLES.items() if name not in names), *([] if policyd_spf else ["spf"])]


def check_scanned_size(at: inventory.Place, size: int, scanner: bool) -> None:
    """What is larger than ClamAV's own limit would pass unscanned."""
    if scanner and size > SCANNED_SIZE:
        at.refuse(size, "is more than ClamAV can scan", f"write at most {SCANNED_SIZE}, or mail_virus_scanner: false")
