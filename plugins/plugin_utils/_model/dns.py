# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: what DNS records are made of, but for DKIM keys."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ansible_collections.gatehouse.mail.plugins.module_utils import _spf
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import GATEWAYS, MISSING

DOMAIN_KEYS = ("spf", "dmarc", "caa", "dkim_test")  # in place of the site's value

VARIABLES: dict[str, Any] = {
    "mail_spf": ["gateways", "-all"],
    "mail_dmarc": MISSING,  # made of mail_postmaster
    "mail_caa": [],
    "mail_dns_ttl": 3600,  # seconds
    "mail_dns_zones": [],
}
TSIG_KEYS = "vault_mail_tsig_keys"
SECRETS = (TSIG_KEYS,)

TTLS = (1, 2**31 - 1)  # seconds; RFC 2181 8
TSIG_ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512")

POLICIES = ("none", "quarantine", "reject")
# RFC 9989 4.7, in the order in which they are published: p comes second for readers of RFC 7489.
DMARC_TAGS = {
    "p": POLICIES,
    "sp": POLICIES,
    "np": POLICIES,
    "adkim": ("r", "s"),
    "aspf": ("r", "s"),
    "psd": ("y", "n", "u"),
    "t": ("y", "n"),
}
DMARC_REPORTS = ("rua", "ruf")
DMARC_REMOVED = {"pct": 'write t: "y" to test a policy', "rf": "remove it", "ri": "remove it"}
# RFC 8659 4, RFC 9495 (issuemail), and of mark certificates (issuevmc)
CAA_ISSUERS = ("issue", "issuewild", "issuemail", "issuevmc")
CAA_TAGS = (*CAA_ISSUERS, "iodef")

_ISSUER = re.compile(r"(?:[a-z0-9.-]+)?(?:\s*;\s*(?:[a-z0-9-]+=[!#-:<-\[\]-~]*)?)*", re.IGNORECASE)


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The part `dns` of the model; its shape is that of the filter's documentation."""
    domains, postmaster = site["_domains"], site["postmaster"]
    warnings: list[str] = []
    records = _spf_records(given, domains, site["gateways"], warnings)
    default = {"p": "none", "np": "reject", "rua": [postmaster] if "@" in postmaster else []}
    site_dmarc = _dmarc(given.at("mail_dmarc"), given.get("mail_dmarc", default))
    site_caa = _caa(given.at("mail_caa"), given["mail_caa"])
    described = []
    for name in sorted(domains):
        here, item = domains[name]["item_at"], domains[name]["item"]
        text, reports = _dmarc(here["dmarc"], item["dmarc"]) if "dmarc" in item else site_dmarc
        described.append(
            {
                "name": name,
                "spf": records[name],
                "dmarc": text,
                "reports": [receiver for receiver in reports if receiver in domains and receiver != name],
                "caa": _caa(here["caa"], item["caa"]) if "caa" in item else site_caa,
                "dkim_test": inventory.boolean(here["dkim_test"], item.get("dkim_test", False)),
            }
        )
        warnings += [
            f"DMARC reports on {name} go to {receiver}, which must allow it: "
            f'{name}._report._dmarc.{receiver} TXT "v=DMARC1"'
            for receiver in reports
            if receiver not in domains and not _related(receiver, name)
        ]
    ttl = given.integer("mail_dns_ttl", *TTLS)
    zones = _zones(given.at("mail_dns_zones"), given["mail_dns_zones"])
    example = 'write such as {gatehouse: {algorithm: "hmac-sha256", secret: "…"}}'
    # playbooks/dns.yml takes those of the first gateway that is there.
    at, keys = given.secret(TSIG_KEYS, given.of_group(GATEWAYS), f"{example} in the vault", required=False)
    _check_tsig_keys(at, keys or {}, zones, example)
    return {
        "dns": {
            "ttl": ttl,
            "zones": zones,
            "domains": described,
            "caa": site_caa,
            "warnings": sorted(warnings),
        },
    }


def _related(one: str, other: str) -> bool:
    """Whether one of the names lies in the other, so that reports need no leave (RFC 9990 4)."""
    return one == other or one.endswith("." + other) or other.endswith("." + one)


# SPF


def _spf_records(
    given: Given,
    domains: Mapping[str, Mapping[str, Any]],
    gateways: Sequence[Mapping[str, Any]],
    warnings: list[str],
) -> dict[str, str]:
    """{domain: the text of its record}; what a record costs is counted through those of our own that it includes."""
    addresses = [gateway[key] for gateway in gateways for key in ("ipv4", "ipv6") if gateway[key]]
    shared = _spf.expand(_spf_terms(given.at("mail_spf"), given["mail_spf"]), addresses)
    known: dict[str, list[_spf.Term]] = {}
    for name, domain in domains.items():
        own = domain["item"].get("spf", inventory.MISSING)
        here = domain["item_at"]["spf"]
        known[name] = shared if own is inventory.MISSING else _spf.expand(_spf_terms(here, own), addresses)
    hosts = {gateway["name"]: [_spf.Term("", "a"), _spf.Term("-", "all")] for gateway in gateways}

    shared_text = _spf.render(shared)
    shared_is_judged = False
    judge_each = any(term.name in ("include", "redirect") for term in shared)  # one may include itself
    texts: dict[str, str] = {}
    for name, terms in known.items():
        texts[name] = shared_text if terms is shared else _spf.render(terms)
        if terms is shared and shared_is_judged and not judge_each:
            continue
        shared_is_judged |= terms is shared
        here = given.at("mail_spf") if terms is shared else domains[name]["item_at"]["spf"]
        _judge_spf(here, name, terms, {**known, **hosts}, hosts)
        warnings += [f"SPF of {name}: {what}" for what in _spf.warnings(terms)]
    return texts


def _judge_spf(
    at: inventory.Place,
    name: str,
    terms: Sequence[_spf.Term],
    known: Mapping[str, Sequence[_spf.Term]],
    hosts: Collection[str],
) -> None:
    """Refuse a record that receivers would give up on. known: the records of our own; hosts: the gateways' names."""
    try:
        lookups = _spf.lookups(terms, known.get, (name,))
    except _spf.SpfError as error:
        at.refuse(error.term, error.why, error.instead)
        return
    if lookups > _spf.MAX_LOOKUPS:
        at.note(
            f"{name} needs {lookups} look-ups, and receivers stop at {_spf.MAX_LOOKUPS}",
            "write addresses as ip4 and ip6 in place of a, mx and include",
        )
    voids = [str(term) for term in terms if term.name == "mx" and term.target in hosts]
    if len(voids) > _spf.MAX_VOIDS:
        at.note(f"{', '.join(voids)} find nothing, and receivers stop after {_spf.MAX_VOIDS}", "remove them")
    if len(hosts) > _spf.MAX_HOSTS and any(term.name == "mx" and (term.target or name) in known for term in terms):
        at.note(f"mx finds {len(hosts)} hosts, and receivers stop at {_spf.MAX_HOSTS}", "write gateways")


def _spf_terms(at: inventory.Place, value: object) -> list[_spf.Term]:
    example = '["gateways", "include:_spf.example.net", "-all"]'
    terms = []
    problems = len(at.problems)
    for index, item in enumerate(inventory.sequence(at, value, example)):
        if not isinstance(item, str):
            at[index].refuse(item, f"is {inventory.kind(item)}, not a term of SPF", f"write as in {example}")
            continue
        try:
            terms.append(_spf.parse(item))
        except _spf.SpfError as error:
            at[index].refuse(item, error.why, error.instead)
    if len(at.problems) == problems:
        try:
            _spf.check(terms)
        except _spf.SpfError as error:
            at.note(f"{inventory.show(error.term)} {error.why}" if error.term else error.why, error.instead)
    return terms


# DMARC and CAA


def _dmarc(at: inventory.Place, value: object) -> tuple[str, list[str]]:
    """The text of the record, and the domains that reports go to."""
    policy = inventory.mapping(at, value, "{p: reject}")
    for key in policy:
        if key in DMARC_REMOVED:
            at[key].note(f"{inventory.show(key)} is no tag of DMARC any more (RFC 9989)", DMARC_REMOVED[key])
        elif key not in DMARC_TAGS and key not in DMARC_REPORTS:
            inventory.unknown(at[key], key, (*DMARC_TAGS, *DMARC_REPORTS), "tag")
    if "p" not in policy and isinstance(value, Mapping):
        at["p"].note("is missing", f"write one of {', '.join(POLICIES)}")
    tags = ["v=DMARC1"]
    for tag, choices in DMARC_TAGS.items():
        if tag in policy:
            if policy[tag] not in choices:
                instead = " or ".join(f'"{choice}"' for choice in choices)
                at[tag].refuse(policy[tag], f"is no value of {tag}", f"write {instead}")
            tags.append(f"{tag}={policy[tag]}")
    receivers: dict[str, None] = {}
    for tag in DMARC_REPORTS:
        addresses = inventory.addresses(at[tag], policy[tag]) if tag in policy else {}
        receivers.update(dict.fromkeys(address.rpartition("@")[2] for address in addresses))
        if addresses:
            uris = (f"mailto:{quote(address, safe='@', errors='replace')}" for address in addresses)
            tags.append(f"{tag}={','.join(uris)}")
    return "; ".join(tags), list(receivers)


def _caa(at: inventory.Place, value: object) -> list[str]:
    """RDATA of CAA records, in the order written."""
    example = '{tag: "issue", value: "letsencrypt.org"}'
    records = []
    for index, item in enumerate(inventory.sequence(at, value, f"[{example}]")):
        here = at[index]
        record = inventory.record(here, item, ("tag", "value", "flags"), example)
        if not isinstance(item, Mapping):
            continue
        tag, text, flags = record.get("tag"), record.get("value"), record.get("flags", 0)
        if tag not in CAA_TAGS:
            here["tag"].refuse(tag, "is not a known tag of CAA", f"write one of {', '.join(CAA_TAGS)}")
        elif tag == "iodef":
            if not isinstance(text, str) or not re.fullmatch(r'(?:mailto:[^\s"\\@]+@|https?://)[!#-\[\]-~]+', text):
                here["value"].refuse(text, "is not where to report", 'write such as "mailto:security@example.org"')
        elif not isinstance(text, str) or not _ISSUER.fullmatch(text):
            here["value"].refuse(text, "is not a certificate authority", 'write such as "letsencrypt.org", or ";"')
        elif text.partition(";")[0].strip() and not inventory.is_name(text.partition(";")[0].strip()):
            here["value"].refuse(text, "does not begin with a domain name", 'write such as "letsencrypt.org"')
        if flags not in (0, 128) or isinstance(flags, bool):
            here["flags"].refuse(flags, "is not a value of the flags", "write 0, or 128 for critical")
        rdata = f'{flags} {tag} "{text}"'
        if rdata in records:
            here.refuse(item, "is there twice", "write it once")
        records.append(rdata)
    return records


# Zones


def _zones(at: inventory.Place, value: object) -> list[dict[str, Any]]:
    """Where records are published, and how to reach it: server and key where updates are taken, servers to ask."""
    example = '{name: "example.org", server: "192.0.2.53", key: "gatehouse"}'
    zones: dict[str, dict[str, Any]] = {}
    for index, item in enumerate(inventory.sequence(at, value, f"[{example}]")):
        here = at[index]
        record = inventory.record(here, item, ("name", "server", "port", "key", "servers"), example)
        if not isinstance(item, Mapping):
            continue
        if "name" not in record:
            here["name"].note("is missing", f"write such as {example}")
            continue
        name = inventory.domain_name(here["name"], record["name"])
        if name in zones:
            here["name"].refuse(record["name"], "is there twice", "write it once")
        if ("server" in record) != ("key" in record):
            here.note("has one of server and key", "write both, or none of them to publish by hand")
        zones[name] = {
            "name": name,
            "server": _server(here["server"], record["server"]) if "server" in record else None,
            "port": inventory.integer(here["port"], record.get("port", 53), 1, 65535, 53),
            "key": str(record["key"]) if "key" in record else None,
            "servers": [
                _server(here["servers"][number], server)
                for number, server in enumerate(
                    inventory.sequence(here["servers"], record.get("servers", []), '["192.0.2.53"]')
                )
            ],
        }
    return [zones[name] for name in sorted(zones)]


def _server(at: inventory.Place, value: object) -> str:
    if isinstance(value, str) and (inventory.is_ip(value) or inventory.is_name(value)):
        return value
    at.refuse(value, "is neither an address nor a name", 'write such as "192.0.2.53" or "ns1.example.org"')
    return ""


def _check_tsig_keys(
    at: inventory.Place, keys: Mapping[Any, Any], zones: Sequence[Mapping[str, Any]], example: str
) -> None:
    """Each zone's key is there and can be used. Names keys, never a secret."""
    for name, key in keys.items():
        here = at[name]
        if not isinstance(key, Mapping) or set(key) != {"algorithm", "secret"}:
            here.note("has not just algorithm and secret", example)
            continue
        if key["algorithm"] not in TSIG_ALGORITHMS:
            here["algorithm"].refuse(key["algorithm"], "is not known", f"write one of {', '.join(TSIG_ALGORITHMS)}")
        try:
            base64.b64decode(key["secret"], validate=True)
        except (TypeError, ValueError):
            here["secret"].note("is not base64", "write the secret as keymgr or tsig-keygen prints it")
    for zone in zones:
        if zone["key"] is not None and zone["key"] not in keys:
            at[zone["key"]].note(f"is missing, and zone {zone['name']} needs it", example)
