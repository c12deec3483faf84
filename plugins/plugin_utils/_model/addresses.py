# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: the domains that mail is accepted for, mailboxes, aliases, and who looks after the site."""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.gatehouse.mail.plugins.module_utils import _recipients
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory, recipients
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import MISSING, STORES, Place, kind, show

VARIABLES: dict[str, Any] = {
    "mail_domains": MISSING,
    "mail_mailboxes": [],
    "mail_aliases": {},
    "mail_external_targets": [],
    "mail_postmaster": MISSING,
    "mail_recipient_delimiter": "+",
}
DOMAIN_KEYS = ("name", "store", "allow_empty")
SOCKETS = "/run/gatehouse-lmtp"  # the folder of role stunnel's sockets, a file for each mail host
DELIMITERS = ("+", "-", "_", ".", "=", "")


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The parts `domains`, `own_names`, `mailboxes`, `aliases`, `postmaster` and `recipient_delimiter` of the model.

    For other concerns: `_domains`, {name: {"item": what the operator wrote, "item_at": its place, ...}}; `_ours`, the
    domains and the gateways' names, empty where there is no domain, lest each of its addresses be a second problem.
    """
    own_names = sorted(gateway["name"] for gateway in site["gateways"])
    delimiter = _delimiter(given.at("mail_recipient_delimiter"), given["mail_recipient_delimiter"])
    domains: dict[str, dict[str, Any]] = {}
    if given.required("mail_domains", '[{name: "example.org"}]'):
        domains = _domains(given, site)
    ours = {*domains, *own_names} if domains else set()
    push = recipients.pushing(given)
    pushed = {name for name, domain in domains.items() if domain["store"] and domain["store"]["host"] in push}

    mailboxes = _mailboxes(given.at("mail_mailboxes"), given["mail_mailboxes"], domains, delimiter)
    written = _aliases(given.at("mail_aliases"), given["mail_aliases"], ours, mailboxes)
    external = _external_targets(given.at("mail_external_targets"), given["mail_external_targets"], ours)
    inhabited = {inventory.domain_of(address) for addresses in (mailboxes, written) for address in addresses}
    for name, domain in domains.items():
        if name not in inhabited and name not in pushed and not domain["allow_empty"]:
            domain["at"].refuse(name, "has no mailbox and no alias", "write one, or allow_empty: true beside the name")

    postmaster = ""
    if given.required("mail_postmaster", '"postmaster@example.org"'):
        postmaster = inventory.address(given.at("mail_postmaster"), given["mail_postmaster"])
    known_postmaster = postmaster in mailboxes or postmaster in written
    automatic = [f"{user}@{name}" for name in domains for user in ("postmaster", "abuse")]
    automatic += [f"{user}@{name}" for name in own_names for user in ("postmaster", "abuse", "root")]
    aliases: dict[str, Iterable[str]] = {
        address: [postmaster] if known_postmaster else []
        for address in automatic
        if address not in mailboxes and address not in written
    }
    _check_targets(written, {*mailboxes, *written, *external, *aliases}, ours, pushed)
    aliases.update(written)
    final = _final_targets(given.at("mail_aliases"), aliases)
    if "@" in postmaster and not known_postmaster:
        given.at("mail_postmaster").refuse(
            postmaster, "is neither a mailbox nor an alias", "write one of mail_mailboxes, or an alias that you define"
        )
    elif any(target in external for target in final.get(postmaster, [])):
        given.at("mail_postmaster").refuse(postmaster, "does not end in mailboxes only", "write one that does")
    return {
        "domains": [
            {
                "name": name,
                "lmtp": {
                    "name": store["name"],
                    "address": store["vpn_address"],
                    "port": site["ports"]["lmtp"],
                    "socket": f"{SOCKETS}/{store['name']}",
                },
            }
            for name in sorted(domains)
            for store in [domains[name]["store"]]
            if store is not None
        ],
        "own_names": own_names,
        "mailboxes": sorted(mailboxes),
        "aliases": final,
        "postmaster": postmaster,
        "recipient_delimiter": delimiter,
        "_domains": domains,
        "_ours": ours,
    }


def view(me: Mapping[str, Any], site: Mapping[str, Any]) -> dict[str, Any]:
    """The part `stored_mailboxes` of one host's model: those of its own domains, lest it take mail for another's."""
    here = stored_domains(me, site)
    return {
        "stored_mailboxes": [mailbox for mailbox in site["mailboxes"] if inventory.domain_of(mailbox) in here],
    }


def stored_domains(store: Mapping[str, Any], site: Mapping[str, Any]) -> set[str]:
    """The domains whose mail this host keeps."""
    return {domain["name"] for domain in site["domains"] if domain["lmtp"]["name"] == store["name"]}


def address_or_domain(at: Place, value: object, domains: Mapping[str, Any]) -> str:
    """An address of one of these domains, or "@" and one of them for all of its addresses, in lower case."""
    sender = inventory.address_or_domain(at, value)
    domain = inventory.domain_of(sender)
    if "@" in sender and domains and domain not in domains:
        at.refuse(value, "is in a domain that is not ours", "write an address of a domain of mail_domains")
    return sender


def _domains(given: Given, site: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{domain: {"at": its place, "store": the store's record or None, "allow_empty": bool}}, in the order written."""
    at, value, stores = given.at("mail_domains"), given["mail_domains"], site["stores"]
    by_name = {key: store for store in stores for key in (store["name"], store["host"])}
    host_names = {me["name"]: me["host"] for me in site["_hosts"]}
    domains: dict[str, dict[str, Any]] = {}
    for index, item in enumerate(inventory.sequence(at, value, '[{name: "example.org"}]')):
        here = at[index]
        record = inventory.record(here, item, given.domain_keys, '{name: "example.org"}')
        if not isinstance(item, Mapping):
            continue
        if "name" not in record:
            here["name"].note("is missing", 'write {name: "example.org"}')
            continue
        name = inventory.domain_name(here["name"], record["name"])
        if name in domains:
            here["name"].refuse(record["name"], f"is the same domain as {domains[name]['at'].path}", "write it once")
            continue
        if name in host_names:
            here["name"].refuse(
                record["name"],
                f"is the name of host {host_names[name]}: it would be both local and relay",
                "write a domain of its own, or give the host another mail_name",
            )
        domains[name] = {
            "at": here["name"],
            "item": record,
            "item_at": here,
            "store": _store_of(here["store"], record.get("store", inventory.MISSING), stores, by_name),
            "allow_empty": inventory.boolean(here["allow_empty"], record.get("allow_empty", False)),
        }
    if isinstance(value, (list, tuple)) and not value:
        at.note("is an empty list", 'write at least one, such as [{name: "example.org"}]')
    return domains


def _store_of(
    at: Place, value: object, stores: Sequence[Mapping[str, Any]], by_name: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    names = ", ".join(store["name"] for store in stores)
    if value is inventory.MISSING:
        if len(stores) > 1:
            at.note("is missing, and there are several stores", f"write one of {names}")
        return stores[0] if stores else None
    store = by_name.get(value.lower(), by_name.get(value)) if isinstance(value, str) else None
    if store is None and stores:
        at.refuse(value, f"is not a host of {STORES}", f"write one of {names}")
    return store


def _mailboxes(at: Place, value: object, domains: Mapping[str, Any], delimiter: str) -> dict[str, Place]:
    mailboxes = inventory.addresses(at, value)
    for address, here in mailboxes.items():
        local, _at_sign, domain = address.rpartition("@")
        if local and domains and domain not in domains:
            here.refuse(address, "is in none of mail_domains", f"write {show(domain)} there, or another domain here")
        if local and not _recipients.is_mailbox(local.replace(delimiter, "") if delimiter else local, ""):
            here.refuse(
                address,
                "is no name for a mailbox",
                'write letters, digits, ".", "_" and "-" only, and any other name as an alias of it',
            )
        if delimiter and delimiter in local:
            here.refuse(
                address,
                f"holds the recipient delimiter {show(delimiter)}",
                "write a mailbox without it, or set mail_recipient_delimiter",
            )
    return mailboxes


def _external_targets(at: Place, value: object, ours: Collection[str]) -> dict[str, Place]:
    targets = inventory.addresses(at, value)
    for address, here in targets.items():
        if inventory.domain_of(address) in ours:
            here.refuse(address, "is in a domain of ours", "write it as a mailbox or an alias")
    return targets


def _aliases(
    at: Place, value: object, ours: Collection[str], mailboxes: Mapping[str, Place]
) -> dict[str, dict[str, Place]]:
    """What the operator wrote: {alias: {target: where it stands}}."""
    aliases: dict[str, dict[str, Place]] = {}
    for key, target in inventory.mapping(at, value, '{"info@example.org": "alice@example.org"}').items():
        here = at[key]
        alias = inventory.address(here, key)
        if alias in aliases:
            here.refuse(key, "is there twice, but for upper and lower case", "write it once, with all its targets")
        if alias in mailboxes:
            here.refuse(key, f"is a mailbox as well ({mailboxes[alias].path})", "write it in one of the two")
        if ours and "@" in alias and inventory.domain_of(alias) not in ours:
            here.refuse(key, "is in no domain of ours", "write a domain of mail_domains or the name of a gateway")
        if isinstance(target, str):
            written = inventory.address(here, target)
            aliases[alias] = {written: here} if written else {}
        elif isinstance(target, (list, tuple)):
            aliases[alias] = inventory.addresses(here, target)
        else:
            here.refuse(target, f"is {kind(target)}, neither an address nor a list", "write one or several addresses")
            aliases[alias] = {}
        if target in ([], ()):
            here.note("has no target", "write one or several addresses, or remove the alias")
    return aliases


def _check_targets(
    aliases: Mapping[str, Mapping[str, Place]], known: Collection[str], ours: Collection[str], pushed: Collection[str]
) -> None:
    """Refuse a target that nobody knows. Of a domain whose mail host pushes (`pushed`) the gateways know."""
    for targets in aliases.values() if ours else ():
        for target, here in targets.items():
            if target in known or "@" not in target or inventory.domain_of(target) in pushed:
                continue
            if inventory.domain_of(target) in ours:
                here.refuse(target, "is neither a mailbox nor an alias", "write it in mail_mailboxes or mail_aliases")
            else:
                here.refuse(target, "is outside our domains", "write it in mail_external_targets if that is meant")


def _final_targets(at: Place, aliases: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """{alias: its targets, none of which is an alias, sorted}; a loop is refused, and its aliases end nowhere."""
    graph = {alias: sorted(aliases[alias]) for alias in sorted(aliases)}
    final: dict[str, list[str]] = {}
    while True:
        try:
            order = list(graphlib.TopologicalSorter(graph).static_order())
            break
        except graphlib.CycleError as error:
            loop = error.args[1][::-1]  # from alias to target, the first one again at its end
            start = loop.index(min(loop))
            chain = loop[start:-1] + loop[: start + 1]
            at[chain[0]].note(f"the alias leads back to itself: {' -> '.join(chain)}", "write a mailbox at its end")
            for alias in chain[1:]:
                graph[alias] = []
    for address in order:
        if address in graph:
            final[address] = sorted({end for target in graph[address] for end in final.get(target, [target])})
    return {alias: final[alias] for alias in sorted(aliases)}


def _delimiter(at: Place, value: object) -> str:
    if isinstance(value, str) and value in DELIMITERS:
        return value
    at.refuse(value, "is not a recipient delimiter", 'write one of + - _ . = in quotes, or "" for none')
    return "+"
