# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS records from the model; what a record is, and how it becomes text, `module_utils/_dns.py` says. No I/O."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from ansible_collections.gatehouse.mail.plugins.module_utils import _spf
from ansible_collections.gatehouse.mail.plugins.module_utils._dns import Record
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import dkim


class Zones:
    """Which zone a name lies in: the longest that the inventory names, or else a guess."""

    def __init__(self, model: Mapping[str, Any]) -> None:
        self.named = {zone["name"] for zone in model["dns"]["zones"]}
        self.domains = {domain["name"] for domain in model["domains"]}

    def of(self, name: str, otherwise: str) -> str:
        """The longest zone of mail_dns_zones around the name; else its shortest mail domain; else the third word."""
        domain = ""
        around = name
        while around:
            if around in self.named:
                return around
            if around in self.domains:
                domain = around
            around = around.partition(".")[2]
        return domain or otherwise


def records(model: Mapping[str, Any]) -> list[Record]:
    """All records that the site needs: of its domains, of its gateways' own names and addresses.

    model: that of any host of the site.
    """
    zones = Zones(model)
    exchangers = [
        f"{gateway['preference']} {gateway['name']}." for gateway in model["gateways"] if not gateway["retiring"]
    ]
    keys = _keys(model)
    wanted: list[Record] = []
    for domain in model["dns"]["domains"]:
        wanted += _of_domain(domain, model["dns"]["ttl"], exchangers, keys[domain["name"]], zones)
    for gateway in model["gateways"]:
        wanted += _of_gateway(gateway, model["dns"], zones)
    return wanted


def _record(zone: str, name: str, rdtype: str, kind: str, ttl: int, value: Optional[str]) -> Record:
    return {"zone": zone, "name": name, "type": rdtype, "kind": kind, "ttl": ttl, "value": value}


def _of_domain(
    domain: Mapping[str, Any], ttl: int, exchangers: Sequence[str], keys: Iterable[Mapping[str, Any]], zones: Zones
) -> list[Record]:
    name = domain["name"]
    zone = zones.of(name, name)
    tested = "t=y; " if domain["dkim_test"] else ""
    return [
        *[_record(zone, name, "MX", "MX", ttl, value) for value in exchangers],
        _record(zone, name, "TXT", "SPF", ttl, domain["spf"]),
        _record(zone, "_dmarc." + name, "TXT", "DMARC", ttl, domain["dmarc"]),
        *[_record(zone, name, "CAA", "CAA", ttl, value) for value in domain["caa"]],
        *[
            _record(
                zone,
                f"{key['selector']}._domainkey.{name}",
                "TXT",
                "DKIM",
                ttl,
                f"v=DKIM1; k={key['type']}; {tested}p={key['public']}" if key["public"] else None,
            )
            for key in keys
        ],
        *[
            _record(zones.of(to, to), f"{name}._report._dmarc.{to}", "TXT", "report", ttl, "v=DMARC1")
            for to in domain["reports"]
        ],
    ]


def _keys(model: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """{domain: the keys that it publishes}, those that are not there yet at the end, without a public part."""
    keys: dict[str, list[Mapping[str, Any]]] = {domain["name"]: [] for domain in model["dns"]["domains"]}
    for key in model["dkim"]:
        if key["stage"] != "removed" and key["domain"] in keys:
            keys[key["domain"]].append(key)
    for key in dkim.unmade(model):
        keys[key["domain"]].append(key)
    return keys


def _of_gateway(gateway: Mapping[str, Any], dns: Mapping[str, Any], zones: Zones) -> list[Record]:
    name, ttl = gateway["name"], dns["ttl"]
    zone = zones.of(name, name.partition(".")[2])
    wanted = []
    # Without a better word, reverse zones are those of a /24 and a /64.
    for rdtype, address, host_labels in (("A", gateway["ipv4"], 1), ("AAAA", gateway["ipv6"], 16)):
        if address:
            wanted.append(_record(zone, name, rdtype, rdtype, ttl, address))
            pointer = ipaddress.ip_address(address).reverse_pointer
            reverse = zones.of(pointer, pointer.split(".", host_labels)[-1])
            wanted.append(_record(reverse, pointer, "PTR", "PTR", ttl, name + "."))
    # For the name in HELO, which stands for the sender of a bounce: RFC 7208 2.3
    wanted.append(_record(zone, name, "TXT", "SPF", ttl, f"{_spf.VERSION} a -all"))
    return wanted + [_record(zone, name, "CAA", "CAA", ttl, value) for value in dns["caa"]]


def former_records(model: Mapping[str, Any]) -> list[Record]:
    """Records that must be gone: those of removed DKIM keys."""
    zones = Zones(model)
    return [
        _record(
            zones.of(key["domain"], key["domain"]),
            f"{key['selector']}._domainkey.{key['domain']}",
            "TXT",
            "DKIM",
            model["dns"]["ttl"],
            f"v=DKIM1; k={key['type']}; p={key['public']}",
        )
        for key in model["dkim"]
        if key["stage"] == "removed"
    ]
