# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: who may submit mail, and as whom: to the gateways, and to a mail host, which hands it on to them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.addresses import address_or_domain, stored_domains
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import GATEWAYS, STORES, Place

VARIABLES: dict[str, Any] = {
    "mail_logins": {},
    "mail_any_from_logins": [],
    "mail_submission": False,
    "mail_submission_zones": ["vpn"],
    "mail_sender_addresses": {},
}
PASSWORDS = "vault_mail_login_passwords"
SECRETS = (PASSWORDS,)

PASSWORD_LENGTH = 12  # characters at least
# Of the secret that a mail host's password at each gateway is made of: who breaks into a gateway has one of these, and
# all the time that he wants for guesses.
SECRET_LENGTH = 24
PASSWORD_OCTETS = 1024  # at most; saslpasswd2 reads no more

# The name of all gateways together, which a mail host's own resolver alone knows. In .internal, which ICANN keeps for
# private use, nobody else has one.
ZONES = ("internet", "vpn")
ALL_GATEWAYS = "gateways.gatehouse.internal"


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The parts `submission`, `submission_zones`, `logins`, `mail_host_logins`, `senders`, `any_from_logins` of the
    model.

    For `view`: `_more_senders`, {mailbox: the senders it may use beside its own}."""
    on = given.boolean("mail_submission")
    by_login = _logins(given.at("mail_logins"), given["mail_logins"], site["_domains"])
    more = _more_senders(given.at("mail_sender_addresses"), given["mail_sender_addresses"], site)
    any_from = _any_from(given.at("mail_any_from_logins"), given["mail_any_from_logins"], by_login)
    if on:
        by_login = _with_mail_hosts(given.at("mail_logins"), by_login, site)
    of_hosts = sorted(_login_of(store) for store in site["stores"])
    _check_passwords(given, by_login, of_hosts, [GATEWAYS, STORES] if on else [GATEWAYS])
    return {
        "submission": on,
        "submission_zones": _zones(given, on, site),
        "logins": by_login,
        "mail_host_logins": of_hosts if on else [],
        "senders": _senders(by_login),
        "any_from_logins": any_from,
        "_more_senders": more,
    }


def view(me: Mapping[str, Any], site: Mapping[str, Any]) -> dict[str, Any]:
    """The parts `stored_senders`, `self_sender_domains`, `submission_public_addresses` and `way_out` of one host's
    model."""
    if me["group"] != STORES or not site["submission"]:
        way_out = {"name": "", "login": "", "gateways": [], "records": []}
        nothing: dict[str, Any] = {"stored_senders": {}, "self_sender_domains": [], "submission_public_addresses": []}
        return {**nothing, "way_out": way_out}
    here = stored_domains(me, site)
    senders = {mailbox: {mailbox} for mailbox in site["mailboxes"] if inventory.domain_of(mailbox) in here}
    for alias, ends in site["aliases"].items():
        if len(ends) == 1 and ends[0] in senders and inventory.domain_of(alias) in here:
            senders[ends[0]].add(alias)
    for mailbox in senders:
        senders[mailbox].update(site["_more_senders"].get(mailbox, ()))
    ways = [gateway for gateway in site["gateways"] if not gateway["retiring"]]
    records = [f"{ALL_GATEWAYS}. 60 IN MX 10 {gateway['name']}." for gateway in ways]
    for gateway in ways:
        address = gateway["vpn_address"]
        records.append(f"{gateway['name']}. 60 IN {'AAAA' if ':' in address else 'A'} {address}")
    return {
        "stored_senders": _senders(senders),
        # Of whom only this host knows: the model has no list of the mailboxes of a domain whose recipients are pushed.
        "self_sender_domains": sorted(here.intersection(site["recipients"]["domains"])),
        # Bans and Postfix' limits are for one address, and who has IPv6 has 2^64 of them to guess from.
        "submission_public_addresses": [me["ipv4"]] if me["ipv4"] and "internet" in site["submission_zones"] else [],
        "way_out": {
            "name": ALL_GATEWAYS,
            "login": _login_of(me),
            "gateways": sorted(gateway["name"] for gateway in ways),
            "records": records,
        },
    }


def absent(me: Mapping[str, Any], site: Mapping[str, Any]) -> list[str]:
    """The roles by which people send, where that is switched off: Postfix, and the judge, which holds them to From."""
    return ["submission", "dmarc"] if me["group"] == STORES and not site["submission"] else []


def _zones(given: Given, on: bool, site: Mapping[str, Any]) -> list[str]:
    """The zones in which people submit. On the internet a mail host needs an IPv4 address."""
    at, value = given.at("mail_submission_zones"), given["mail_submission_zones"]
    zones = inventory.sequence(at, value, '["internet", "vpn"]')
    for index, zone in enumerate(zones):
        if zone not in ZONES or zone in zones[:index]:
            at[index].refuse(zone, "is no zone, or is there twice", f"write one of {', '.join(ZONES)}")
    if "vpn" not in zones:
        at.refuse(list(zones), "lacks vpn", 'write ["vpn"] or ["internet", "vpn"]')
    for me in site["_hosts"] if on and "internet" in zones else ():
        if me["group"] == STORES and not me["ipv4"]:
            given.places[me["host"]]["mail_ipv4"].note(
                "is missing, and people submit on the internet (mail_submission_zones), by IPv4 alone",
                "write the mail host's public address",
            )
    return [zone for zone in ZONES if zone in zones]


def _login_of(mail_host: Mapping[str, Any]) -> str:
    """The login by which a mail host sends what people submit there."""
    return f"submission@{mail_host['name']}"


def _with_mail_hosts(at: Place, by_login: Mapping[str, list[str]], site: Mapping[str, Any]) -> dict[str, list[str]]:
    """All logins, those of mail hosts among them, each of which may send for the domains that it keeps mail of, and for
    itself: notices of a mail host go to a postmaster whose mailbox may be on another one."""
    found = dict(by_login)
    for store in site["stores"]:
        login = _login_of(store)
        if login in found:
            at[login].refuse(login, "is the login of a mail host", "remove it: mail_submission has made it")
        found[login] = [f"@{name}" for name in sorted({store["name"], *stored_domains(store, site)})]
    return {login: found[login] for login in sorted(found)}


def _logins(at: Place, value: object, domains: Mapping[str, Any]) -> dict[str, list[str]]:
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


def _more_senders(at: Place, value: object, site: Mapping[str, Any]) -> dict[str, list[str]]:
    """{mailbox: more senders}, in domains that its mail host keeps, since it may send for no others."""
    more = _logins(at, value, site["_domains"])
    stores = {domain["name"]: domain["lmtp"]["name"] for domain in site["domains"]}
    for mailbox, senders in more.items():
        if "@" in mailbox and mailbox not in site["mailboxes"]:
            at[mailbox].refuse(mailbox, "is not a mailbox", "write one of mail_mailboxes; other logins are mail_logins")
            continue
        store = stores.get(inventory.domain_of(mailbox))
        for sender in senders:
            other = stores.get(inventory.domain_of(sender), store)
            if store and other != store:
                at[mailbox].refuse(
                    sender, f"is in a domain of {other}, and {store} sends for its own alone", "remove it"
                )
    return more


def _senders(by_login: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
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


def _any_from(at: Place, value: object, logins: Mapping[str, Any]) -> list[str]:
    """The logins whose From field may name anybody."""
    found = []
    for index, login in enumerate(inventory.sequence(at, value, '["printer@example.org"]')):
        name = inventory.address(at[index], login)
        if "@" in name and name not in logins:
            at[index].refuse(login, "is not a login", "write one of mail_logins")
        found.append(name)
    return sorted(set(found))


def _check_passwords(given: Given, known: Mapping[str, Any], of_hosts: Collection[str], groups: Sequence[str]) -> None:
    """Each login has a password that saslpasswd2 takes, and nobody else has. No message shows one.

    of_hosts: the logins of mail hosts, which have theirs also while people do not submit. groups: of hosts that read
    them."""
    make = "make one with `openssl rand -base64 24`"
    example = f"write {{login: password}}; {make}"
    users = [host for group in groups for host in given.of_group(group)]
    place, value = given.secret(PASSWORDS, users if known else (), example)
    if value is None:
        return
    seen = set()
    for number, (login, password) in enumerate(value.items(), 1):
        if not isinstance(login, str) or not inventory.is_address(login):
            place.note(f"the key of entry {number} is not a login", 'write {"alice@example.org": "password"}')
            continue
        seen.add(login.lower())
        if login.lower() not in known and login.lower() not in of_hosts:
            place[login].note(f"{inventory.show(login)} is not a login", "write it in mail_logins, or remove it here")
        why = _why_no_password(password, SECRET_LENGTH if login.lower() in of_hosts else PASSWORD_LENGTH)
        if why:
            place[login].note(why, make)
    for login in known:
        if "@" in login and login not in seen:
            place[login].note(f"login {inventory.show(login)} has no password", make)


def _why_no_password(value: object, least: int) -> str:
    if not isinstance(value, str):
        return f"is {inventory.kind(value)}, not a password"
    if not value:
        return "is empty"
    if any(character in value for character in "\n\r\0"):
        return "contains a newline or NUL"
    if len(value) < least:
        return f"is shorter than {least} characters"
    if len(value.encode("utf-8", "replace")) > PASSWORD_OCTETS:
        return f"is longer than {PASSWORD_OCTETS} octets"
    return ""
