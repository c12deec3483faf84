# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: which hosts there are, of which group, and where they are on the internet and on the VPN."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Union

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given, Values
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import (
    GATEWAYS,
    MISSING,
    STORES,
    Place,
    kind,
)

VARIABLES = {"mail_vpn_networks": MISSING, "mail_unrouted_addresses": False, "mail_rollout": 20}
HOST_VARIABLES = {
    "mail_name": MISSING,  # as the inventory calls the host
    "mail_ipv4": MISSING,
    "mail_ipv6": MISSING,
    "mail_vpn_address": MISSING,
    "mail_vpn_interface": "wg0",
    "mail_preference": 10,
    "mail_retiring": False,
}


class Group(NamedTuple):
    """A group of hosts, which may not be empty. exchanger: whether the world sends mail to them, so that each has a
    public address, a preference, and certificates to show to strangers."""

    name: str
    exchanger: bool


ROWS = {row.name: row for row in (Group(GATEWAYS, exchanger=True), Group(STORES, exchanger=False))}
GROUPS = tuple(ROWS)

# RFC 1918, RFC 6598 (carrier-grade NAT, used by overlay networks), RFC 4193
PRIVATE_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
# What no route of the internet leads to (RFC 6890, 5737, 3849, 9637, 2544, 5180), beside what is reserved.
UNROUTED = {
    **dict.fromkeys(("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"), "private"),
    "100.64.0.0/10": "carrier-grade NAT",
    **dict.fromkeys(
        ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"), "for documentation"
    ),
    **dict.fromkeys(("198.18.0.0/15", "2001:2::/48"), "for benchmarks"),
    **dict.fromkeys(("0.0.0.0/8", "192.0.0.0/24", "192.88.99.0/24"), "for special use"),
}
_UNROUTED = [(ipaddress.ip_network(network), use) for network, use in UNROUTED.items()]
SHUT = "shut"  # of mail_retiring: the world knows the gateway no more, so that its ports are shut
WIDEST = {4: 16, 6: 48}  # shortest prefix of a VPN network, bits
LONGEST_STORE = 80  # characters; the path of a socket has at most 107 octets (unix(7)), the folder's with it

IPAddress = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
IPNetwork = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The parts `gateways`, `stores`, `vpn_networks` and `rollout` of the model.

    For other concerns: `_hosts`, the record of each host; `_gateways`, those of gateways by preference and name;
    `_vpn`, the VPN's networks; `_exempt`, those that no policy applies to; `_first_preference`, the lowest of all.
    """
    vpn: list[IPNetwork] = []
    if given.required("mail_vpn_networks", '["10.99.0.0/24"]'):
        vpn = _vpn_networks(given.at("mail_vpn_networks"), given["mail_vpn_networks"])
    unrouted = given.boolean("mail_unrouted_addresses")
    everyone = [_host(given.of(host), host, ROWS[group], vpn, unrouted) for host, group in given.members.items()]
    _all_different(everyone, given.places)
    exchangers = _exchangers([me for me in everyone if ROWS[me["group"]].exchanger], given.places)
    gateways = sorted((me for me in everyone if me["group"] == GATEWAYS), key=lambda me: (me["preference"], me["name"]))
    networks = sorted(map(str, vpn))
    return {
        "gateways": [
            _pick(me, "host", "name", "preference", "retiring", "shut", "ipv4", "ipv6", "vpn_address")
            for me in gateways
        ],
        "stores": [_pick(me, "host", "name", "vpn_address") for me in everyone if me["group"] == STORES],
        "vpn_networks": networks,
        "rollout": given.integer("mail_rollout", 1, 1000),
        "_hosts": everyone,
        "_gateways": gateways,
        "_vpn": vpn,
        "_exempt": sorted(networks + [network for gateway in gateways for network in networks_of(gateway)]),
        "_first_preference": min((me["preference"] for me in exchangers), default=0),
    }


def view(me: Mapping[str, Any], site: Mapping[str, Any]) -> dict[str, Any]:
    """The parts `me` and `exempt` of one host's model."""
    own = set(networks_of(me)) if me["group"] == GATEWAYS else set()
    return {
        "me": {
            **_pick(me, "host", "name", "short", "group", "preference"),
            "backup": me["preference"] is not None and me["preference"] > site["_first_preference"],
            **_pick(me, "ipv4", "ipv6", "vpn_address", "vpn_interface"),
        },
        "exempt": [network for network in site["_exempt"] if network not in own],
    }


def members(groups: Mapping[str, Sequence[str]], problems: list[str]) -> dict[str, str]:
    """{inventory host: its group}, gateways first, in the order of the groups."""
    members: dict[str, str] = {}
    for group in GROUPS:
        if not groups.get(group):
            Place(problems, f"group {group}").note("has no host", "write at least one into the inventory")
        for host in groups.get(group) or ():
            if host in members and members[host] != group:
                Place(problems, f"host {host}").note(f"is in both {members[host]} and {group}", "write it in one")
            members.setdefault(host, group)
    return members


# Addresses and networks


def _ip(at: Place, value: object, version: int) -> IPAddress | None:
    example = {4: "198.51.100.11", 6: "2001:db8:51::11"}[version]
    try:
        if not isinstance(value, str) or "%" in value:  # ipaddress takes numbers and scopes as well
            raise ValueError
        address = ipaddress.ip_address(value)
    except ValueError:
        at.refuse(value, "is not an IP address", f'write an address such as "{example}"')
        return None
    if address.version != version:
        at.refuse(value, f"is not an IPv{version} address", f'write an address such as "{example}"')
        return None
    return address


def _public_address(
    at: Place, value: object, version: int, vpn: Sequence[IPNetwork], unrouted: bool = False
) -> str | None:
    """The address that the world sends to; `unrouted` takes one that no route of the internet leads to as well."""
    address = _ip(at, value, version)
    if address is None:
        return None
    for use in ("unspecified", "loopback", "multicast", "link_local", "reserved"):
        if getattr(address, f"is_{use}"):
            at.refuse(value, f"is not public ({use.replace('_', '-')})", "write the address that the world sends to")
            return None
    for network in vpn:
        if address in network:
            at.refuse(value, f"lies in VPN network {network}", "write the public address")
            return None
    use = next((use for network, use in _UNROUTED if address in network), "")
    if use and not unrouted:
        instead = "write the address that the world sends to, or mail_unrouted_addresses: true if the world is a lab"
        at.refuse(value, f"is not public ({use})", instead)
        return None
    return str(address)


def _vpn_address(at: Place, value: object, vpn: Sequence[IPNetwork]) -> str | None:
    address = _ip(at, value, 6 if isinstance(value, str) and ":" in value else 4)
    if address is None:
        return None
    network = next((network for network in vpn if address in network), None)
    if network is None:
        if vpn:
            at.refuse(value, "is in none of mail_vpn_networks", f"write an address in {', '.join(map(str, vpn))}")
        return None
    ends = (network.network_address, network.broadcast_address) if network.version == 4 else (network.network_address,)
    if address in ends and network.prefixlen < network.max_prefixlen - 1:
        at.refuse(value, f"is the network or broadcast address of {network}", "write the address of the host in it")
        return None
    return str(address)


def _vpn_networks(at: Place, value: object) -> list[IPNetwork]:
    """The networks, which do not overlap, in the order of their addresses."""
    networks: list[tuple[IPNetwork, Place]] = []
    for index, item in enumerate(inventory.sequence(at, value, '["10.99.0.0/24"]')):
        network = _vpn_network(at[index], item)
        if network is not None:
            networks.append((network, at[index]))
    networks.sort(key=lambda pair: (pair[0].version, pair[0].network_address, pair[0].prefixlen))
    apart: list[tuple[IPNetwork, Place]] = []
    for network, here in networks:  # networks nest or are apart, so the last one that is apart is the only suspect
        if apart and network.version == apart[-1][0].version and network.overlaps(apart[-1][0]):
            here.refuse(str(network), f"overlaps {apart[-1][0]} of {apart[-1][1].path}", "write the wider of the two")
        else:
            apart.append((network, here))
    if isinstance(value, (list, tuple)) and not value:
        at.note("is an empty list", 'write the VPN\'s networks, such as ["10.99.0.0/24"]')
    return [network for network, _place in apart]


def _vpn_network(at: Place, value: object) -> IPNetwork | None:
    example = 'write a network such as "10.99.0.0/24"'
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Fa-f.:]+/[0-9]{1,3}", value):
        at.refuse(value, "is not a network in CIDR form", example)
        return None
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        at.refuse(value, "is not a network in CIDR form", example)
        return None
    private = [wide for wide in PRIVATE_NETWORKS if wide.version == network.version]
    if str(network.network_address) != str(ipaddress.ip_address(value.partition("/")[0])):
        at.refuse(value, "has host bits set", f'write "{network}"')
    elif not any(network.subnet_of(wide) for wide in private):  # type: ignore[arg-type]
        at.refuse(value, "is not private", f"write a network within {', '.join(map(str, private))}")
    elif network.prefixlen < WIDEST[network.version]:
        at.refuse(value, "is too wide", f"write a network of /{WIDEST[network.version]} or longer")
    else:
        return network
    return None


def networks_of(me: Mapping[str, Any]) -> list[str]:
    return [f"{me[key]}/{bits}" for key, bits in (("ipv4", 32), ("ipv6", 128)) if me[key]]


# One host


def _interface(at: Place, value: object) -> str:
    instead = 'write a name such as "wg0"'
    if not isinstance(value, str):
        at.refuse(value, f"is {kind(value)}, not the name of an interface", instead)
    elif not inventory.is_interface(value):
        at.refuse(
            value, "is not the name of an interface (1 to 15 characters, letters, digits and _ . = + - only)", instead
        )
    return str(value)


def _host(own: Values, host: str, group: Group, vpn: Sequence[IPNetwork], unrouted: bool) -> dict[str, Any]:
    """What is true of one host by itself, checked."""
    me: dict[str, Any] = {"host": host, "group": group.name, "preference": None, "ipv4": None, "ipv6": None}
    me["retiring"] = me["shut"] = False
    me["name"] = inventory.domain_name(own.at("mail_name"), own.get("mail_name", host))
    me["short"] = me["name"].partition(".")[0]
    if not group.exchanger and len(me["name"]) > LONGEST_STORE:
        own.at("mail_name").refuse(
            me["name"], f"has {len(me['name'])} characters, and names a socket", f"write at most {LONGEST_STORE}"
        )
    for version in (4, 6):
        key = f"mail_ipv{version}"
        if key in own:
            me[f"ipv{version}"] = _public_address(own.at(key), own[key], version, vpn, unrouted)
    me["vpn_interface"] = _interface(own.at("mail_vpn_interface"), own["mail_vpn_interface"])
    me["vpn_address"] = None
    if "mail_vpn_address" in own:
        me["vpn_address"] = _vpn_address(own.at("mail_vpn_address"), own["mail_vpn_address"], vpn)
    else:
        own.at("mail_vpn_address").note("is missing", "write the host's address in mail_vpn_networks")
    if group.exchanger:
        me["preference"] = own.integer("mail_preference", 0, 65535)
        if "mail_ipv4" not in own and "mail_ipv6" not in own:
            own.at("mail_ipv4").note(
                "is missing, and mail_ipv6 too", "write the gateway's public address in one or both"
            )
        me["shut"] = own["mail_retiring"] == SHUT
        me["retiring"] = me["shut"] or _retires(own.at("mail_retiring"), own["mail_retiring"])
    for key in ("mail_preference", "mail_retiring") if not group.exchanger else ():
        if key in own:
            own.at(key).refuse(own[key], "is for gateways only", "remove it on a store")
    return me


def _retires(at: Place, value: object) -> bool:
    # INI and the command line make strings of booleans.
    if str(value).lower() not in ("true", "yes", "false", "no"):
        at.refuse(
            value,
            f"is none of true, false and {SHUT}",
            f"write true, or {SHUT} when retire.yml says so, or remove it on a gateway that stays",
        )
        return False
    return inventory.boolean(at, value)


def _exchangers(gateways: Sequence[Mapping[str, Any]], places: Mapping[str, Place]) -> list[Mapping[str, Any]]:
    """The gateways that the world is to send to: those that are not on their way out."""
    stay = [me for me in gateways if not me["retiring"]]
    if gateways and not stay:
        first = gateways[0]
        places[first["host"]]["mail_retiring"].refuse(
            SHUT if first["shut"] else True,
            "is written on every gateway, so that none takes mail from the internet",
            "remove it from those that stay",
        )
    return stay


def _all_different(hosts: Sequence[Mapping[str, Any]], places: Mapping[str, Place]) -> None:
    for key in ("name", "ipv4", "ipv6", "vpn_address"):
        owners: dict[str, str] = {}
        for me in hosts:
            value = me[key]
            if value in owners:
                at = places[me["host"]][f"mail_{key}"]
                at.refuse(value, f"is that of host {owners[value]} as well", "write another one: each host has its own")
            elif value:
                owners[value] = me["host"]


def _pick(source: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: source[key] for key in keys}
