# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: which DNS lists are asked about strangers.

A DNS list is a zone that says by an A record of 127.0.0.0/8 what it knows of an address or a domain (RFC 5782). Which
of its answers count is a filter in Postfix's notation, such as `127.0.0.[2..11]`, and each use of a list has one:
answers of 127.255.255.0/24 and 127.0.0.255 are errors of the lists' own making and count nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import GATEWAYS, Place

# In the order in which Postfix asks. trust: let in; refuse; skip_greylisting: a mail server, which would come again;
# score: not enough by itself, so it counts in postscreen only.
USES = ("trust", "refuse", "skip_greylisting", "score")
# What an answer adds in postscreen, which refuses at 3. A list that knows the client outweighs one that refuses it;
# smtpd asks both again, in its own order.
WEIGHTS = {"trust": -4, "refuse": 3, "skip_greylisting": -2, "score": 1}
KINDS = ("address", "domain")
# RFC 5782 section 5: what a working list of addresses has and has not.
TEST_POINTS = {"listed": "2.0.0.127", "unlisted": "1.0.0.127"}

RESOLVER, REGISTRATION, NOTHING = "a resolver of one's own", "registration of the resolver's address", "nothing"
# As of 2026-11. codes: what each answer means. weight: of what refuses or scores. needs: what a query must come from,
# or the list answers with errors. keyed: what is asked in its place where there is a key: KEY.keyed.
LISTS: dict[str, dict[str, Any]] = {
    "zen.spamhaus.org": {
        "codes": {
            "127.0.0.2": "SBL: sends spam",
            "127.0.0.3": "CSS: sends spam, seen by machines",
            "127.0.0.[4..7]": "XBL: broken into",
            "127.0.0.9": "DROP: belongs to criminals",
            "127.0.0.[10..11]": "PBL: should send no mail",
        },
        "refuse": "127.0.0.[2..11]",
        "needs": RESOLVER,
        "keyed": "zen.dq.spamhaus.net",
        "state": "alive",
    },
    "dbl.spamhaus.org": {
        "kind": "domain",
        "codes": {
            "127.0.1.2": "in spam",
            "127.0.1.4": "phishing",
            "127.0.1.5": "malware",
            "127.0.1.6": "commands machines that were broken into",
        },
        "refuse": "127.0.1.[2..99]",
        "listed": "dbltest.com",
        "unlisted": "example.com",
        "needs": RESOLVER,
        "keyed": "dbl.dq.spamhaus.net",
        "state": "alive",
    },
    "bl.spamcop.net": {
        "codes": {"127.0.0.2": "sends spam, people say"},
        "refuse": "127.0.0.2",
        "weight": 2,
        "needs": NOTHING,
        "state": "alive; lapsed in January 2021 and listed everything",
    },
    "b.barracudacentral.org": {
        "codes": {"127.0.0.2": "sends spam"},
        "refuse": "127.0.0.2",
        "weight": 2,
        "needs": REGISTRATION,
        "state": "alive",
    },
    "bl.mailspike.net": {
        "codes": {
            "127.0.0.2": "sends a wave of spam",
            "127.0.0.10": "worst reputation",
            "127.0.0.11": "very bad reputation",
            "127.0.0.12": "bad reputation",
        },
        "score": "127.0.0.[2;10..12]",
        "weight": 2,
        "needs": NOTHING,
        "state": "alive; up to 100,000 queries a day",
    },
    "psbl.surriel.com": {
        "codes": {"127.0.0.2": "sent to a spam trap"},
        "score": "127.0.0.2",
        "needs": NOTHING,
        "state": "alive",
    },
    "list.dnswl.org": {
        "codes": {
            "127.0.[0..254].3": "highly trusted",
            "127.0.[0..254].2": "trusted",
            "127.0.[0..254].1": "rarely sends spam",
            "127.0.[0..254].0": "a mail server",
        },
        "trust": "127.0.[0..254].[2..3]",
        "skip_greylisting": "127.0.[0..254].[0..1]",
        "needs": RESOLVER,
        "state": "alive; up to 100,000 queries a day",
    },
}
DEFAULT = ("list.dnswl.org", "zen.spamhaus.org")

VARIABLES: dict[str, Any] = {"mail_dns_lists": DEFAULT, "mail_postscreen": False}
KEYS = "vault_mail_dns_list_keys"
SECRETS = (KEYS,)
FORWARDING = "unbound_forward_addresses"  # the one variable of a role that decides which lists can be asked
FOREIGN = (FORWARDING,)
# Quad9, Google, Cloudflare, OpenDNS: what most people forward to.
PUBLIC_RESOLVERS = (
    *("9.9.9.9", "149.112.112.112", "2620:fe::fe", "2620:fe::9"),
    *("8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844"),
    *("1.1.1.1", "1.0.0.1", "2606:4700:4700::1111", "2606:4700:4700::1001"),
    *("208.67.222.222", "208.67.220.220", "2620:119:35::35", "2620:119:53::53"),
)

# Zones that are gone: since when or why, and what does their work now. What lies below one is gone with it.
DEAD = {
    "sorbs.net": ("shut in June 2024", "zen.spamhaus.org"),
    "cbl.abuseat.org": ("part of another list since 2021", "zen.spamhaus.org"),
    "db.wpbl.info": ("empty since November 2023", "zen.spamhaus.org"),
    "ix.dnsbl.manitu.net": ("empty since January 2025", "zen.spamhaus.org"),
    "bondedsender.org": ("no open list any more", "list.dnswl.org"),
    "wirehub.net": ("closed in 2004", "zen.spamhaus.org"),
    "njabl.org": ("closed", "zen.spamhaus.org"),
    "ahbl.org": ("closed", "zen.spamhaus.org"),
    "dsbl.org": ("closed", "zen.spamhaus.org"),
    "ordb.org": ("closed", "zen.spamhaus.org"),
    "rfc-ignorant.org": ("closed", "dbl.spamhaus.org"),
    "inps.de": ("closed", "zen.spamhaus.org"),
    "emailbasura.org": ("gone, and lists everything", "zen.spamhaus.org"),
    "megarbl.net": ("gone, and lists everything", "zen.spamhaus.org"),
    "msrbl.net": ("closed", "zen.spamhaus.org"),
    "ubl.unsubscore.com": ("closed", "zen.spamhaus.org"),
}

_OCTET = r"(?:[0-9]{1,3}|\[[0-9]{1,3}(?:\.\.[0-9]{1,3})?(?:;[0-9]{1,3}(?:\.\.[0-9]{1,3})?)*\])"
_CODES = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_PART = re.compile(_OCTET)
_NEVER = (({127}, {255}, {255}, set(range(256))), ({127}, {0}, {0}, {255}))


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The parts `dns_lists` and `postscreen` of the model. For the view: `_keyed`, the zones that have a key."""
    postscreen = given.boolean("mail_postscreen")
    lists = dns_lists(given.at("mail_dns_lists"), given["mail_dns_lists"], postscreen)
    keyed = keyed_zones(given, lists)
    for host, group in given.members.items():
        if FORWARDING in given.hosts[host]:
            asked = lists if group == GATEWAYS else []  # by this host's resolver
            check_forwarding(given.places[host][FORWARDING], given.hosts[host][FORWARDING], asked, keyed)
    return {"dns_lists": lists, "postscreen": postscreen, "_keyed": keyed}


def view(me: Mapping[str, Any], site: Mapping[str, Any]) -> dict[str, Any]:
    """The part `keyed_zones` of one host's model."""
    return {"keyed_zones": dict(site["_keyed"]) if me["group"] == GATEWAYS else {}}


def dns_lists(at: Place, value: object, postscreen: bool) -> list[dict[str, Any]]:
    """The lists in the order written: zone, kind, listed and unlisted (names below the zone), uses, keyed, and try.

    Each use has its name, which is also that of a restriction class of Postfix, its filter (`codes`) and its weight.
    """
    example = '["zen.spamhaus.org", {zone: "bl.example.org", refuse: "127.0.0.2"}]'
    found: dict[str, dict[str, Any]] = {}
    for index, item in enumerate(inventory.sequence(at, value, example)):
        here = at[index]
        keys = ("zone", "kind", *TEST_POINTS, *USES, "weight", "keyed", "try")
        record = {"zone": item} if isinstance(item, str) else inventory.record(here, item, keys, example)
        if "zone" not in record:
            here["zone"].note("is missing", f"write it, as in {example}")
            continue
        place = here if isinstance(item, str) else here["zone"]
        zone = inventory.domain_name(place, record["zone"])
        dead = next((name for name in DEAD if zone == name or zone.endswith("." + name)), None)
        if dead:
            why, instead = DEAD[dead]
            place.refuse(record["zone"], f"is a DNS list that is gone ({why})", f"remove it; {instead} does its work")
        elif zone in found:
            place.refuse(record["zone"], "is there twice", "write it once, with all its uses")
        else:
            found[zone] = _dns_list(here, zone, record)
            if not postscreen and {use["use"] for use in found[zone]["uses"]} == {"score"}:
                place.refuse(
                    record["zone"],
                    "does not refuse by itself, and there is no postscreen to count it",
                    f'write mail_postscreen: true, or {{zone: "{zone}", refuse: …}} if it may refuse alone',
                )
    return list(found.values())


def _dns_list(at: Place, zone: str, record: Mapping[Any, Any]) -> dict[str, Any]:
    shipped = LISTS.get(zone, {})
    kind = record.get("kind", shipped.get("kind", "address"))
    if kind not in KINDS:
        at["kind"].refuse(kind, "is no kind of DNS list", f"write one of {', '.join(KINDS)}")
    written = {use: record[use] for use in USES if use in record}
    uses = written or {use: shipped[use] for use in USES if use in shipped}
    for use, codes in written.items():
        _check_codes(at[use], codes)
        if kind == "domain" and use != "refuse":
            at[use].note("is for lists of addresses only", 'write "refuse": a name is what anybody may claim')
    if not uses:
        at.refuse(
            zone, "has no return-code filter", f'write what counts, such as {{zone: "{zone}", refuse: "127.0.0.2"}}'
        )
    points = {}
    for point in TEST_POINTS:
        points[point] = record.get(point, shipped.get(point, TEST_POINTS[point] if kind == "address" else None))
        if not isinstance(points[point], str) or not re.fullmatch(r"[a-z0-9.-]{1,200}", points[point]):
            at[point].refuse(
                points[point], "is no name to ask the list for", 'write one below the zone, such as "dbltest.com"'
            )
    weights = dict(WEIGHTS)
    if "weight" in record or "weight" in shipped:
        weight = record.get("weight", shipped.get("weight"))
        weights["refuse"] = weights["score"] = inventory.integer(at["weight"], weight, 1, 10, WEIGHTS["refuse"])
    keyed = record.get("keyed", shipped.get("keyed"))
    return {
        "zone": zone,
        "kind": kind,
        **points,
        "uses": [
            {"use": use, "codes": codes, "name": _class(zone, use), "weight": weights[use]}
            for use, codes in uses.items()
        ],
        "keyed": None if keyed is None else inventory.domain_name(at["keyed"], keyed),
        "try": inventory.boolean(at["try"], record.get("try", False)),
    }


def _class(zone: str, use: str) -> str:
    """A name of letters, digits and underscores; no two zones have the same, as no label begins or ends in a hyphen."""
    return f"dns_list_{zone.replace('-', '__').replace('.', '_')}_{use}"


def _check_codes(at: Place, value: object) -> None:
    instead = 'write what counts as an answer, such as "127.0.0.[2..11]"'
    if not isinstance(value, str) or not _CODES.fullmatch(value):
        at.refuse(value, "is no return-code filter", instead)
        return
    octets = [_numbers(part) for part in _PART.findall(value)]
    if any(number > 255 for numbers in octets for number in numbers) or octets[0] != {127}:
        at.refuse(value, "is not within 127.0.0.0/8", instead)
    elif any(all(map(set.intersection, octets, never)) for never in _NEVER):
        at.refuse(value, "takes in 127.255.255.x or 127.0.0.255, which are a list's error messages", instead)


def _numbers(part: str) -> set[int]:
    numbers: set[int] = set()
    for piece in part.strip("[]").split(";"):
        first, _dots, last = piece.partition("..")
        numbers.update(range(int(first), int(last or first) + 1))
    return numbers


def keyed_zones(given: Given, lists: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """{zone of a list that has a key: the name that KEY is put before}. No message shows a key."""
    example = "write {zone: key}"
    place, value = given.secret(KEYS, given.of_group(GATEWAYS), example, required=False)
    known = {entry["zone"]: entry["keyed"] for entry in lists}
    found: dict[str, str] = {}
    for number, (zone, key) in enumerate((value or {}).items(), 1):
        if not isinstance(zone, str) or not inventory.is_name(zone):
            place.note(f"the name of entry {number} is no DNS list", 'write {"zen.spamhaus.org": "key"}')
        elif zone.lower() not in known:
            place[zone].note(f"{inventory.show(zone)} is not in use", "write it in mail_dns_lists, or remove it here")
        elif not known[zone.lower()]:
            place[zone].note(
                "this list is not known to take a key",
                'write in mail_dns_lists what its key is put before, as in keyed: "zen.dq.spamhaus.net"',
            )
        elif not isinstance(key, str) or not re.fullmatch(r"[A-Za-z0-9]{1,63}", key):
            place[zone].note("is no key", "write the letters and digits that the list's owner gave you")
        else:
            found[zone.lower()] = known[zone.lower()]
    return found


def check_forwarding(at: Place, value: object, lists: Sequence[Mapping[str, Any]], keyed: Collection[str]) -> None:
    """A resolver that forwards asks in another's name, and lists answer such a one with errors."""
    for index, address in enumerate(inventory.sequence(at, value, '["192.0.2.53"]')):
        if not isinstance(address, str) or not inventory.is_ip(address):
            at[index].refuse(address, "is not an IP address", 'write the address of a resolver, such as "192.0.2.53"')
            continue
        public = "is public and " if address in PUBLIC_RESOLVERS else ""
        for zone in (entry["zone"] for entry in lists if entry["zone"] not in keyed):
            shipped = LISTS.get(zone, {})
            if shipped.get("needs") == RESOLVER:
                key = f"write its key in {KEYS}, " if "keyed" in shipped else ""
                at[index].refuse(
                    address,
                    f"{public}would ask {zone}, which answers only {RESOLVER}",
                    f"{key}remove the list from mail_dns_lists, or forward to nobody",
                )
