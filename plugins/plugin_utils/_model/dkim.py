# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: DKIM keys, those that the operator writes and those that there are.

Who asks about keys asks here: records, role opendkim, and rotation, which is in ``_dkim_rotation``. A *lane* is what
needs one signing key at any time: a gateway, a domain or one sender of it, a type of key.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.addresses import address_or_domain
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import GATEWAYS

VARIABLES: dict[str, Any] = {"mail_dkim": [], "mail_dkim_rotation": {}, "mail_dkim_senders": {}}
KEYS = "vault_mail_dkim_keys"
SECRETS = (KEYS,)

KEY_TYPES = {"rsa": "", "ed25519": "-ed"}  # and what their selectors end in
STAGES = ("published", "signing", "retired", "removed")
# Seconds that a key stays in a stage at least; lifetime: that it signs before it gets a successor.
ROTATION = {"published": 86400, "lifetime": 180 * 86400, "retired": 14 * 86400}
RSA_BITS = (2048, 4096)  # RFC 8301 3.2: signers use 2048 or more, verifiers need not take more than 4096
SINCE = "%Y-%m-%dT%H:%M:%SZ"  # the form of a key's `since`

_LIVE = ("published", "signing")  # stages of a key that signs or waits to
_LATER = re.compile(r"(?:-ed|-[0-9]+)*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class Lane(NamedTuple):
    """What needs a key: names of gateway and domain, sender (None: the domain's own), type, start of its selectors."""

    host: str
    domain: str
    sender: Optional[str]
    type: str
    base: str

    @property
    def first(self) -> str:
        """The selector of its first key."""
        return self.base + KEY_TYPES[self.type]

    def owns(self, key: Mapping[str, Any]) -> bool:
        """Whether this key was made for it."""
        place = (key["host"], key["domain"], key["type"])
        return place == (self.host, self.domain, self.type) and descends(key["selector"], self.base)


# What the operator writes


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The parts `dkim`, `dkim_rotation` and `dkim_senders` of the model."""
    labels = senders(given.at("mail_dkim_senders"), given["mail_dkim_senders"], site["_domains"])
    check_selectors(given, site["_gateways"], labels)
    found = {
        "dkim": written(given.at("mail_dkim"), given["mail_dkim"]),
        "dkim_rotation": rotation(given.at("mail_dkim_rotation"), given["mail_dkim_rotation"]),
        "dkim_senders": labels,
    }
    check_private_keys(given)
    return found


def senders(at: inventory.Place, value: object, domains: Mapping[str, Any]) -> dict[str, str]:
    """{address with keys of its own: the label that their selectors begin with}."""
    found: dict[str, str] = {}
    for key, label in inventory.mapping(at, value, '{"news@example.org": "news"}').items():
        here = at[key]
        address = address_or_domain(here, key, domains)
        if address.startswith("@"):
            here.refuse(key, "is a domain", "write an address; each domain has keys anyhow")
        if not isinstance(label, str) or not _LABEL.fullmatch(label):
            here.refuse(label, "cannot begin a selector", 'write lower-case letters and digits, such as "news"')
            continue
        if label in found.values():
            here.refuse(label, "is that of another sender as well", "write another one: no selector is used twice")
        found[address] = label
    return {address: found[address] for address in sorted(found)}


def written(at: inventory.Place, value: object) -> list[dict[str, Any]]:
    """The keys as the collection wrote them down, sorted."""
    fields = ("domain", "selector", "host", "type", "stage", "since", "public")
    keys: dict[tuple[str, str], dict[str, Any]] = {}
    for index, item in enumerate(inventory.sequence(at, value, "what rotate_dkim.yml writes")):
        here = at[index]
        record = inventory.record(here, item, fields, "what rotate_dkim.yml writes")
        lacking = [field for field in fields if field not in record] if isinstance(item, Mapping) else fields
        if lacking:
            here.note(f"lacks {', '.join(lacking)}", "take the file from your version control")
            continue
        key = {
            **{field: record[field] for field in fields},
            "domain": inventory.domain_name(here["domain"], record["domain"]),
        }
        key["host"] = inventory.domain_name(here["host"], record["host"])
        for field, choices in (("type", tuple(KEY_TYPES)), ("stage", STAGES)):
            if record[field] not in choices:
                here[field].refuse(record[field], f"is not a known {field}", f"write one of {', '.join(choices)}")
        if not isinstance(key["selector"], str) or not _SELECTOR.fullmatch(key["selector"]):
            here["selector"].refuse(key["selector"], "is not a selector", "write a label of a domain name, lower case")
        try:
            moment(key["since"])
        except (TypeError, ValueError):
            here["since"].refuse(key["since"], "is not a time", 'write such as "2026-12-01T06:00:00Z", in quotes')
        if record["type"] in KEY_TYPES:
            _check_public_key(here["public"], record["type"], record["public"])
        name = (key["domain"], str(key["selector"]))
        if name in keys:
            here["selector"].refuse(key["selector"], f"is there twice for {name[0]}", "give each key its own")
        keys[name] = key
    return [keys[name] for name in sorted(keys)]


def _check_public_key(at: inventory.Place, kind: str, text: object) -> None:
    """What a verifier would refuse: RFC 6376 3.6.1 (RSA: SubjectPublicKeyInfo), RFC 8301, RFC 8463 4 (32 octets)."""
    # ansible-core brings this library to the controller, and nothing of the model runs elsewhere.
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    instead = "take the file from your version control, or rotate the key"
    try:
        octets = base64.b64decode(str(text), validate=True)
        if kind == "ed25519":
            ed25519.Ed25519PublicKey.from_public_bytes(octets)
            return
        key = load_der_public_key(octets)
    except (binascii.Error, ValueError):
        at.refuse(text, f"is not a public key of type {kind}", instead)
        return
    if not isinstance(key, rsa.RSAPublicKey):
        at.refuse(text, "is not an RSA key", instead)
    elif not RSA_BITS[0] <= key.key_size <= RSA_BITS[1]:
        at.refuse(text, f"has {key.key_size} bits", f"use {RSA_BITS[0]} to {RSA_BITS[1]}; {instead}")


def check_private_keys(given: Given) -> None:
    """Each key that is brought is one that opendkim can sign with. No message shows a key."""
    instead = "write a private key in PEM, without a passphrase, as `openssl genrsa 2048` makes one"
    place, value = given.secret(KEYS, given.of_group(GATEWAYS), 'write {"example.org/selector": key}', required=False)
    for number, (name, pem) in enumerate((value or {}).items(), 1):
        domain, _slash, selector = name.partition("/") if isinstance(name, str) else ("", "", "")
        if not inventory.is_name(domain) or not inventory.is_name(f"{selector}.example"):
            place.note(f"the name of entry {number} is no domain and selector", 'write such as "example.org/mx1"')
        else:
            why = _why_no_private_key(pem)
            if why:
                place[name].note(why, instead)


def _why_no_private_key(pem: object) -> str:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not isinstance(pem, str):
        return f"is {inventory.kind(pem)}, not a key in PEM"
    try:
        key = load_pem_private_key(pem.encode("utf-8", "replace"), None)
    except TypeError:
        return "has a passphrase"
    except (ValueError, UnsupportedAlgorithm):
        return "is not a private key in PEM"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return ""
    if not isinstance(key, rsa.RSAPrivateKey):
        return "is neither an RSA nor an Ed25519 key"
    low, high = RSA_BITS
    return "" if low <= key.key_size <= high else f"has {key.key_size} bits, where {low} to {high} are meant"


def check_selectors(given: Given, gateways: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> None:
    """No two lanes may have the same first selector, and on one gateway each key must be of one lane alone."""
    owners: dict[str, Mapping[str, Any]] = {}
    for gateway in gateways:
        for selector in (gateway["short"] + suffix for suffix in KEY_TYPES.values()):
            owner = owners.setdefault(selector, gateway)
            if owner["name"] != gateway["name"]:
                given.places[gateway["host"]]["mail_name"].refuse(
                    gateway["name"],
                    f"begins like {owner['name']}, and DKIM selectors are made of the first label",
                    "write a name with another one",
                )
    bases = [(gateway["short"], gateway["name"]) for gateway in gateways]
    for sender, label in labels.items():
        for gateway in gateways:
            base = f"{label}-{gateway['short']}"
            for other, host in bases:
                if base == other or (host == gateway["name"] and (descends(base, other) or descends(other, base))):
                    given.at("mail_dkim_senders")[sender].refuse(
                        label,
                        f"makes selectors on {gateway['name']} that are taken for those of {other} on {host}",
                        "write another one",
                    )
            bases.append((base, gateway["name"]))


def rotation(at: inventory.Place, value: object) -> dict[str, int]:
    record = inventory.record(at, value, tuple(ROTATION), f"{{lifetime: {ROTATION['lifetime']}}}")
    return {
        name: inventory.integer(at[name], record.get(name, default), 0, 2**31 - 1, default)
        for name, default in ROTATION.items()
    }


def moment(text: str) -> datetime.datetime:
    """The time that a key's `since` says; ValueError or TypeError where it is none."""
    return datetime.datetime.strptime(text, SINCE).replace(tzinfo=datetime.timezone.utc)


# Which keys there are


def keys(model: Mapping[str, Any], gateway: str) -> list[dict[str, Any]]:
    """The keys that the gateway of this name has or should have, by domain: each with domain, sender (null: the
    domain's own), type, selector, stage, and public, which is null for a key that is not made yet.

    Where no key signs or waits to sign, one more is to be made. It signs as soon as it is made: a signature without a
    record counts as none, as no signature does. A selector that was used before is never used again. Removed keys are
    there, too.
    """
    of_lanes: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    used = set()
    for entry in model["dkim"]:
        of_lanes.setdefault((entry["host"], entry["domain"], entry["type"]), []).append(entry)
        used.add((entry["domain"], entry["selector"]))
    found = []
    for lane in lanes(model, gateway):
        made = [entry for entry in of_lanes.get((lane.host, lane.domain, lane.type), []) if lane.owns(entry)]
        common = {"domain": lane.domain, "sender": lane.sender, "type": lane.type}
        found += [{**common, **{name: entry[name] for name in ("selector", "stage", "public")}} for entry in made]
        if all(entry["stage"] not in _LIVE for entry in made):
            names = itertools.chain([lane.first], (f"{lane.first}-{number}" for number in itertools.count(2)))
            selector = unused(model, lane, used, names)
            found.append({**common, "selector": selector, "stage": "signing", "public": None})
    return found


def unmade(model: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those of all gateways' `keys` that are to be made. Few domains have any; the others are passed over."""
    shorts = {gateway["name"]: gateway["name"].partition(".")[0] for gateway in model["gateways"]}
    covered = {
        (key["host"], key["domain"], key["type"])
        for key in model["dkim"]
        if key["stage"] in _LIVE and key["host"] in shorts and descends(key["selector"], shorts[key["host"]])
    }
    busy = {inventory.domain_of(sender) for sender in model["dkim_senders"]}
    found = []
    for gateway in shorts:
        domains = [
            domain
            for domain in model["domains"]
            if domain["name"] in busy or any((gateway, domain["name"], kind) not in covered for kind in KEY_TYPES)
        ]
        if domains:
            found += [key for key in keys({**model, "domains": domains}, gateway) if not key["public"]]
    return found


def lanes(model: Mapping[str, Any], gateway: str) -> Iterator[Lane]:
    """What needs a signing key on the gateway of this name."""
    for domain in model["domains"]:
        yield from _lanes_of(model, gateway, domain["name"])


def _lanes_of(model: Mapping[str, Any], gateway: str, domain: str) -> Iterator[Lane]:
    short = gateway.partition(".")[0]
    bases: dict[Optional[str], str] = {None: short}
    bases.update({sender: f"{label}-{short}" for sender, label in model["dkim_senders"].items()})
    for sender, base in bases.items():
        if sender is None or sender.endswith("@" + domain):
            for kind in KEY_TYPES:
                yield Lane(gateway, domain, sender, kind, base)


def descends(selector: str, base: str) -> bool:
    """Whether a key is the one of this base, or a later one: those have a month or a number at their end."""
    return selector.startswith(base) and _LATER.fullmatch(selector, len(base)) is not None


def unused(model: Mapping[str, Any], lane: Lane, used: Collection[tuple[str, str]], names: Iterable[str]) -> str:
    """The first of these selectors that nobody ever had, such as a gateway of a former name, or will have.

    used: the (domain, selector) of every key that was written down.
    """
    firsts: set[str] = set()  # of other lanes, whose keys may not be made yet
    for name in names:
        if name != lane.first and not firsts:
            here = (_lanes_of(model, gateway["name"], lane.domain) for gateway in model["gateways"])
            firsts = {other.first for each in here for other in each}
        if (lane.domain, name) not in used and name not in firsts:
            return name
    raise ValueError(f"no selector is left for {lane}")
