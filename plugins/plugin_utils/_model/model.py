# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory means: from mail_* variables to one plain dictionary a host. No I/O, no Ansible.

Nothing leaves `parts` unless no problem was noted. A refused name stays known in its folded form, lest one mistake
cause many problems.

The site-wide part is checked and computed once, and the models of all hosts share it: take them as read-only.
"""

from __future__ import annotations

import graphlib
import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Union

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import dkim, dns, dns_lists, inventory, milters
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import InventoryError, Place, kind, show

GATEWAYS = "mail_gateways"
STORES = "mail_stores"
GREYLIST = "mail_greylist"  # may be missing
GROUPS = (GATEWAYS, STORES, GREYLIST)

HOST_VARIABLES = (
    "mail_name",
    "mail_ipv4",
    "mail_ipv6",
    "mail_vpn_address",
    "mail_vpn_interface",
    "mail_preference",
    "mail_retiring",
    "mail_certificate_files",
)
SITE_VARIABLES = (
    "mail_vpn_networks",
    "mail_domains",
    "mail_mailboxes",
    "mail_aliases",
    "mail_external_targets",
    "mail_postmaster",
    "mail_ports",
    "mail_recipient_delimiter",
    "mail_message_size_limit",
    "mail_spf",
    "mail_dmarc",
    "mail_caa",
    "mail_dns_ttl",
    "mail_dns_zones",
    "mail_dkim",
    "mail_dkim_rotation",
    "mail_dkim_senders",
    "mail_logins",
    "mail_milter_sockets",
    "mail_any_from_logins",
    "mail_dmarc_judge",
    "mail_policyd_spf",
    "mail_virus_scanner",
    "mail_spamassassin",
    "mail_dns_lists",
    "mail_postscreen",
    "mail_tried_checks",
    "mail_access",
    "mail_greylisting",
    "mail_greylist_delay",
    "mail_greylist_exceptions",
    "mail_bans",
    "mail_bans_vpn",
    "mail_bans_exempt",
    "mail_statistics",
    "mail_clear_secrets",
    "mail_unrouted_addresses",
)
VARIABLES = HOST_VARIABLES + SITE_VARIABLES
HASHES = "vault_mail_password_hashes"
TSIG_KEYS = "vault_mail_tsig_keys"
CA_PHRASE = "vault_mail_ca_passphrase"
SECRETS = (HASHES, TSIG_KEYS, CA_PHRASE, milters.PASSWORDS, dkim.KEYS, dns_lists.KEYS)
SSH_PORT, SSH_ZONES, SSH_LOCKOUT = SSH_ACCESS = ("firewall_ssh_port", "firewall_ssh_zones", "firewall_ssh_lockout")
SSH_PORTS = ("ansible_port", SSH_PORT)  # at these none of our own daemons listens
FOREIGN = ("ansible_port", *SSH_ACCESS, dns_lists.FORWARDING)  # variables of others that bear on ours
RESULT = "mail_model"  # the fact made of this; in a second run it stands among the variables

# RFC 5321 4.5.4.2 (25), RFC 2033 (any but 25), RFC 8314 3.2 (993). Submission is on the VPN, on a port of its own; the
# policy service for greylists is where EL's policy expects it.
PORTS = {"smtp": 25, "submission": 32841, "lmtp": 24, "imaps": 993, "greylist": 60000}
TAKEN_PORTS = {22: "ssh", 25: "smtp"}
LISTEN = {
    GATEWAYS: {"smtp": ["internet", "vpn"], "submission": ["vpn"]},
    STORES: {"lmtp": ["vpn"], "imaps": ["vpn"], "greylist": ["vpn"]},
}
# What is offered here is watched by the jail of this name.
JAILS = {"smtp": "gatehouse-smtp", "submission": "gatehouse-submission", "imaps": "gatehouse-imap"}
EPHEMERAL_PORTS = range(32768, 61000)  # Linux: net.ipv4.ip_local_port_range
# The SELinux type of each port and the ports that EL's policy gives it already (corenetwork.te of c9s and c10s).
PORT_TYPES = {
    "smtp": ("smtp_port_t", (25, 465, 587)),
    "submission": ("smtp_port_t", (25, 465, 587)),
    "lmtp": ("lmtp_port_t", (24, 2003)),
    "imaps": ("pop_port_t", (106, 109, 110, 143, 220, 993, 995, 1109, 10993)),
    "greylist": ("postgrey_port_t", (60000,)),
}

TLS_DIRECTORY = "/etc/pki/gatehouse"  # below it SELinux lets every mail daemon read (cert_t)
# What all our ports agree to in TLS 1.2, by OpenSSL's names: forward secrecy and authenticated encryption.
CIPHERS = [
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES256-GCM-SHA384", "CHACHA20-POLY1305", "AES128-GCM-SHA256")
    for key in ("ECDSA", "RSA")
]
# What a handshake may be signed with, by the best first; RFC 9155 forbids SHA-1, and nobody needs SHA-224.
SIGNATURES = [f"ECDSA+SHA{bits}" for bits in (256, 384, 512)] + ["ed25519", "ed448"]
SIGNATURES += [f"{key}+SHA{bits}" for key in ("RSA-PSS", "RSA") for bits in (256, 384, 512)]
OLD_SIGNATURES = ["ECDSA+SHA1", "RSA+SHA1"]  # of receivers that know no other, and would else get the mail in clear

DELIMITERS = ("+", "-", "_", ".", "=", "")
# What stands behind a scheme: what crypt(5) and libsodium make, of which Dovecot verifies nothing else. They compare
# text, so a last character that says more than salt or digest have fits no password. As much work as a login waits
# for; of Argon2's digests those of 16, 24, 32, 48 and 64 octets.
_BASE64 = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048])?"
_ARGON2 = (
    r"\$v=19\$m=(?P<memory>[1-9][0-9]{0,9}),t=[1-9][0-9]?,p=(?P<lanes>[1-9][0-9]{0,2})"
    rf"\$(?=[^$]{{11,86}}\$){_BASE64}\$(?=.{{22}}(?:.{{10}}|.{{21}}|.{{42}}|.{{64}})?\Z){_BASE64}"
)
_SALT = r"[./0-9A-Za-z\"#%&'()+,<=>?@\[\]^_`{|}~-]{1,16}"
_SHA2 = rf"\$(?:rounds=[1-9][0-9]{{3,6}}\$)?{_SALT}\$[./0-9A-Za-z]"
SCHEMES = {
    "ARGON2ID": (rf"\$argon2id{_ARGON2}", "$argon2id$v=19$m=…,t=…,p=…$ with salt and digest"),
    "ARGON2I": (rf"\$argon2i{_ARGON2}", "$argon2i$v=19$m=…,t=…,p=…$ with salt and digest"),
    "BLF-CRYPT": (
        r"\$2[aby]\$(?:0[4-9]|1[0-7])\$[./0-9A-Za-z]{21}[.Oeu][./0-9A-Za-z]{30}[.CGKOSWaeimquy26]",
        "$2y$, a cost of 04 to 17, and 53 characters",
    ),
    "SHA512-CRYPT": (rf"\$6{_SHA2}{{85}}[./01]", "$6$, a salt, and 86 characters"),
    "SHA256-CRYPT": (rf"\$5{_SHA2}{{42}}[./0-9A-D]", "$5$, a salt, and 43 characters"),
}
ARGON2_MEMORY = 196608  # KiB; Dovecot's process for logins has 256 MiB in all (default_vsz_limit)
PASSPHRASE_LENGTH = 12  # characters at least
MESSAGE_SIZES = (65536, 2**63 - 1)  # bytes; RFC 5321 4.5.3.1.7: at least 64K octets; Postfix: a long
MESSAGE_SIZE = 52428800  # bytes
GREYLIST_DELAYS = (1, 3600)  # seconds; postgrey takes 0 for its own default of 300
GREYLIST_DELAY = 60  # seconds

# RFC 1918, RFC 6598 (carrier-grade NAT, used by overlay networks), RFC 4193
LOOPBACK = ("127.0.0.0/8", "::1/128")
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
WIDEST = {4: 16, 6: 48}  # shortest prefix of a VPN network, bits

# A mailbox names a folder and a login of Dovecot: the characters of its auth_username_chars.
_MAILBOX = re.compile(r"[a-z0-9._-]+")
_HASH = re.compile(r"\{([A-Z0-9-]+)\}(.*)", re.DOTALL)

IPAddress = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
IPNetwork = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


def concerns(variable: str) -> bool:
    """Whether `parts` looks at this variable: ours or nearly so, one that bears on ours, or a secret that it counts."""
    return variable in (*SECRETS, *FOREIGN) or (variable.startswith("mail_") and variable != RESULT)


# Names and addresses


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


def _certificate_files(at: Place, value: object) -> list[dict[str, str]]:
    """Pairs of paths on the controller, in the order written; whether they fit is for who reads them to say."""
    example = '{certificate: "files/mx1.crt", key: "files/mx1.key"}'
    pairs = []
    for index, item in enumerate(inventory.sequence(at, value, f"[{example}]")):
        here = at[index]
        record = inventory.record(here, item, ("certificate", "key"), example)
        for part in ("certificate", "key") if isinstance(item, Mapping) else ():
            path = record.get(part, inventory.MISSING)
            if path is inventory.MISSING:
                here[part].note("is missing", f"write both, as in {example}")
            elif not isinstance(path, str) or not path or not path.isprintable():
                here[part].refuse(path, "is not a path", f"write a path on the controller, as in {example}")
        pairs.append({part: str(record.get(part)) for part in ("certificate", "key")})
    return pairs


def _host(
    at: Place, host: str, group: str, variables: Mapping[str, Any], vpn: Sequence[IPNetwork], unrouted: bool
) -> dict[str, Any]:
    """What is true of one host by itself, checked."""
    me: dict[str, Any] = {"host": host, "group": group, "preference": None, "ipv4": None, "ipv6": None}
    me["retiring"] = False
    me["name"] = inventory.domain_name(at["mail_name"], variables.get("mail_name", host))
    me["short"] = me["name"].partition(".")[0]
    for version in (4, 6):
        key = f"mail_ipv{version}"
        if key in variables:
            me[f"ipv{version}"] = _public_address(at[key], variables[key], version, vpn, unrouted)
    me["vpn_interface"] = _interface(at["mail_vpn_interface"], variables.get("mail_vpn_interface", "wg0"))
    me["vpn_address"] = None
    if "mail_vpn_address" in variables:
        me["vpn_address"] = _vpn_address(at["mail_vpn_address"], variables["mail_vpn_address"], vpn)
    else:
        at["mail_vpn_address"].note("is missing", "write the host's address in mail_vpn_networks")
    if group == GATEWAYS:
        me["preference"] = inventory.integer(at["mail_preference"], variables.get("mail_preference", 10), 0, 65535, 10)
        if "mail_ipv4" not in variables and "mail_ipv6" not in variables:
            at["mail_ipv4"].note("is missing, and mail_ipv6 too", "write the gateway's public address in one or both")
        me["retiring"] = inventory.boolean(at["mail_retiring"], variables.get("mail_retiring", False))
    for key in ("mail_preference", "mail_retiring") if group == STORES else ():
        if key in variables:
            at[key].refuse(variables[key], "is for gateways only", "remove it on a store")
    files = variables.get("mail_certificate_files", [])
    me["certificate_files"] = _certificate_files(at["mail_certificate_files"], files)
    if group == STORES and files:
        instead = "remove it: IMAP and LMTP show the private CA's certificate"
        at["mail_certificate_files"].refuse(files, "is for gateways only", instead)
    return me


def _all_known(hosts: Mapping[str, Mapping[str, Any]], places: Mapping[str, Place]) -> None:
    """Refuse what looks like ours and is not, once for all hosts that have it."""
    owners: dict[str, list[str]] = {}
    for host in places:
        for variable in hosts[host]:
            if concerns(variable) and variable not in (*SECRETS, *FOREIGN, *VARIABLES):
                owners.setdefault(variable, []).append(host)
    for variable, (first, *others) in sorted(owners.items()):
        also = f" (and {len(others)} more hosts have it)" if others else ""
        inventory.unknown(places[first][variable], variable, VARIABLES, f"variable{also}")


def _exchangers(gateways: Sequence[Mapping[str, Any]], places: Mapping[str, Place]) -> list[Mapping[str, Any]]:
    """The gateways that the world is to send to: those that are not on their way out."""
    stay = [me for me in gateways if not me["retiring"]]
    if gateways and not stay:
        at = places[gateways[0]["host"]]["mail_retiring"]
        at.note("is true on every gateway, so that no MX record is left", "remove it from those that stay")
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


# The site


def _site_values(
    members: Sequence[str], hosts: Mapping[str, Mapping[str, Any]], at: Mapping[str, Place]
) -> dict[str, Any]:
    """The values that all hosts share, as the first host has them."""
    first, *others = members
    for key in SITE_VARIABLES:
        value = hosts[first].get(key, inventory.MISSING)
        for other in others:
            theirs = hosts[other].get(key, inventory.MISSING)
            if theirs == value:
                continue
            here, there = ("not set" if each is inventory.MISSING else show(each) for each in (theirs, value))
            at[other][key].note(f"is {here}, but {there} on host {first}", "write it once, in group_vars/all")
    return {key: hosts[first][key] for key in SITE_VARIABLES if key in hosts[first]}


def _has(at: Place, values: Mapping[str, Any], key: str, example: str) -> bool:
    """Whether a required value is there."""
    if key not in values:
        at[key].note("is missing", f"write it in group_vars/all, such as {example}")
    return key in values


def _ports(at: Place, value: object) -> dict[str, int]:
    known = ("submission", "lmtp", "imaps", "greylist")
    overrides = inventory.record(at, value, known, "{imaps: 10993}")
    ports = dict(PORTS)
    owners = dict(TAKEN_PORTS)
    for name in known:
        ports[name] = inventory.integer(at[name], overrides.get(name, PORTS[name]), 1, 65535, PORTS[name])
        if ports[name] in owners:
            at[name].refuse(ports[name], f"is the port of {owners[ports[name]]}", "write a port that is free")
        owners[ports[name]] = name
    return ports


def _ssh_port(at: Place, value: object, group: str, ports: Mapping[str, int]) -> None:
    """Ansible comes by a port at which none of our daemons listens; an inventory may have it as a string."""
    for name in LISTEN[group]:
        if str(value) == str(ports[name]):
            at.refuse(value, f"is the port of {name}", "write another port for ssh, or for the daemon in mail_ports")


def _ssh_zones(at: Place, value: object) -> None:
    """Ansible, too, comes by one of these zones. By which one only the host knows, and role firewall asks it."""
    if value == [] or value == "":
        at.refuse(
            value, "leaves ssh open nowhere", f"write [internet, vpn], or {SSH_LOCKOUT}: true if you have a console"
        )


def _domains(
    at: Place, value: object, stores: Sequence[Mapping[str, Any]], hosts: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """{domain: {"at": its place, "store": the store's record or None, "allow_empty": bool}}, in the order written."""
    by_name = {key: store for store in stores for key in (store["name"], store["host"])}
    host_names = {me["name"]: me["host"] for me in hosts}
    domains: dict[str, dict[str, Any]] = {}
    for index, item in enumerate(inventory.sequence(at, value, '[{name: "example.org"}]')):
        here = at[index]
        record = inventory.record(
            here, item, ("name", "store", "allow_empty", *dns.DOMAIN_KEYS), '{name: "example.org"}'
        )
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
        if local and not _MAILBOX.fullmatch(local.replace(delimiter, "") if delimiter else local):
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


def _check_targets(aliases: Mapping[str, Mapping[str, Place]], known: Collection[str], ours: Collection[str]) -> None:
    for targets in aliases.values() if ours else ():
        for target, here in targets.items():
            if target in known or "@" not in target:
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


def _password_hashes(
    members: Sequence[str],
    hosts: Mapping[str, Mapping[str, Any]],
    at: Mapping[str, Place],
    mailboxes: Collection[str],
    stores: Collection[str],
) -> None:
    """Each mailbox has a hash, and nobody else. Names keys, never a value, and no key that is not an address."""
    make = "make one with `doveadm pw -s BLF-CRYPT`"
    example = f'write {{mailbox: "{{SCHEME}}hash"}}; {make}'
    place, value = inventory.secret(members, hosts, at, HASHES, stores if mailboxes else (), example)
    if value is None:
        return
    seen = set()
    for number, (key, password_hash) in enumerate(value.items(), 1):
        if not isinstance(key, str) or not inventory.is_address(key):
            place.note(f"the key of entry {number} is not an address", 'write {"alice@example.org": "{SCHEME}hash"}')
            continue
        here = place[key]
        if key.lower() in seen:
            here.note("is there twice, but for upper and lower case", "write it once")
        elif key.lower() not in mailboxes:
            here.note(f"{show(key)} is not a mailbox", "write it in mail_mailboxes, or remove it here")
        seen.add(key.lower())
        why = _why_no_hash(password_hash)
        if why:
            here.note(why, make)
    for mailbox in mailboxes:
        if "@" in mailbox and mailbox not in seen:
            place[mailbox].note(f"mailbox {show(mailbox)} has no password hash", make)


def _why_no_hash(value: object) -> str:
    """Why nobody could log in by this hash, without a word of it but the name of a scheme that is known."""
    if not isinstance(value, str):
        return f"is {kind(value)}, not a password hash"
    match = _HASH.fullmatch(value)
    if match is None or match[1] not in SCHEMES:
        return "is not a password hash of a scheme among " + ", ".join(SCHEMES)
    pattern, words = SCHEMES[match[1]]
    body = re.fullmatch(pattern, match[2])
    if body is None or int(body.groupdict().get("memory", 8)) < 8 * int(body.groupdict().get("lanes", 1)):
        return f"is not a hash of its scheme {match[1]}, which is {words}"
    if int(body.groupdict().get("memory", 8)) > ARGON2_MEMORY:
        return f"takes more memory (m=) than Dovecot has for a login, which is {ARGON2_MEMORY} KiB"
    return ""


def _passphrase(at: Place, value: object) -> None:
    length = f"{PASSPHRASE_LENGTH} characters"
    instead = f"write {length} or more in quotes, or remove it to leave the CA's key unencrypted"
    if not isinstance(value, str):
        at.note(f"is {kind(value)}, not a string", instead)
    elif len(value) < PASSPHRASE_LENGTH or not value.isprintable():
        at.note(f"is shorter than {length}, or has a line break", instead)


def _delimiter(at: Place, value: object) -> str:
    if isinstance(value, str) and value in DELIMITERS:
        return value
    at.refuse(value, "is not a recipient delimiter", 'write one of + - _ . = in quotes, or "" for none')
    return "+"


def _greylist_host(at: Place, value: object, keeper: Mapping[str, Any] | None, port: int) -> dict[str, Any]:
    """Which host keeps the greylist, and where it listens, as postgrey (`listen`) and Postfix (`connect`) write it."""
    if not inventory.boolean(at, value) or keeper is None:
        return {"host": None, "listen": "", "connect": ""}
    address = str(keeper["vpn_address"])
    listen = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return {"host": keeper["host"], "listen": listen, "connect": f"inet:{listen}"}


def _bans(
    at: Place,
    values: Mapping[str, Any],
    hosts: Sequence[Mapping[str, Any]],
    vpn: Sequence[IPNetwork],
    lists: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Whether anybody is banned, who never is, and the DNS lists of those who are not banned at port 25."""
    exempt = dns_lists.networks(at["mail_bans_exempt"], values.get("mail_bans_exempt", []))
    whole = not inventory.boolean(at["mail_bans_vpn"], values.get("mail_bans_vpn", False))
    never = {network for me in hosts for network in _networks_of(me)}
    never.update(str(ipaddress.ip_network(me["vpn_address"])) for me in hosts if me["vpn_address"])
    never.update(str(network) for network in vpn if whole)
    return {
        "on": inventory.boolean(at["mail_bans"], values.get("mail_bans", True)),
        "never": [*LOOPBACK, *sorted(never.union(exempt))],
        "allow_lists": [
            {"zone": entry["zone"], "codes": use["codes"]}
            for entry in lists
            for use in entry["uses"]
            if use["use"] == "trust"
        ],
    }


def _mail(
    at: Place, values: Mapping[str, Any], hosts: Sequence[Mapping[str, Any]], keeper: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The site-wide part of the model that is about mail: domains, addresses, limits. keeper: of the greylist."""
    gateways = [me for me in hosts if me["group"] == GATEWAYS]
    stores = [me for me in hosts if me["group"] == STORES]
    own_names = sorted(me["name"] for me in gateways)
    ports = _ports(at["mail_ports"], values.get("mail_ports", {}))
    delimiter = _delimiter(at["mail_recipient_delimiter"], values.get("mail_recipient_delimiter", "+"))
    size = inventory.integer(
        at["mail_message_size_limit"],
        values.get("mail_message_size_limit", MESSAGE_SIZE),
        *MESSAGE_SIZES,
        MESSAGE_SIZE,
    )
    clear_secrets = inventory.boolean(at["mail_clear_secrets"], values.get("mail_clear_secrets", False))
    domains: dict[str, dict[str, Any]] = {}
    if _has(at, values, "mail_domains", '[{name: "example.org"}]'):
        domains = _domains(at["mail_domains"], values["mail_domains"], stores, hosts)
    ours = {*domains, *own_names} if domains else set()  # no domain, no second problem at each of its addresses

    mailboxes = _mailboxes(at["mail_mailboxes"], values.get("mail_mailboxes", []), domains, delimiter)
    written = _aliases(at["mail_aliases"], values.get("mail_aliases", {}), ours, mailboxes)
    external = _external_targets(at["mail_external_targets"], values.get("mail_external_targets", []), ours)
    inhabited = {inventory.domain_of(address) for addresses in (mailboxes, written) for address in addresses}
    for name, domain in domains.items():
        if name not in inhabited and not domain["allow_empty"]:
            domain["at"].refuse(name, "has no mailbox and no alias", "write one, or allow_empty: true beside the name")

    postmaster = ""
    if _has(at, values, "mail_postmaster", '"postmaster@example.org"'):
        postmaster = inventory.address(at["mail_postmaster"], values["mail_postmaster"])
    known_postmaster = postmaster in mailboxes or postmaster in written
    automatic = [f"{user}@{name}" for name in domains for user in ("postmaster", "abuse")]
    automatic += [f"{user}@{name}" for name in own_names for user in ("postmaster", "abuse", "root")]
    aliases: dict[str, Iterable[str]] = {
        address: [postmaster] if known_postmaster else []
        for address in automatic
        if address not in mailboxes and address not in written
    }
    _check_targets(written, {*mailboxes, *written, *external, *aliases}, ours)
    aliases.update(written)
    final = _final_targets(at["mail_aliases"], aliases)
    if "@" in postmaster and not known_postmaster:
        at["mail_postmaster"].refuse(
            postmaster, "is neither a mailbox nor an alias", "write one of mail_mailboxes, or an alias that you define"
        )
    elif any(target in external for target in final.get(postmaster, [])):
        at["mail_postmaster"].refuse(postmaster, "does not end in mailboxes only", "write one that does")
    postscreen = inventory.boolean(at["mail_postscreen"], values.get("mail_postscreen", False))
    scanner = inventory.boolean(at["mail_virus_scanner"], values.get("mail_virus_scanner", True))
    milters.check_scanned_size(at["mail_message_size_limit"], size, scanner)
    marker = inventory.boolean(at["mail_spamassassin"], values.get("mail_spamassassin", False))
    logins = milters.logins(at["mail_logins"], values.get("mail_logins", {}), domains)
    judge = milters.judge(at["mail_dmarc_judge"], values.get("mail_dmarc_judge", "dmarc"))
    chains = milters.chains(judge, scanner, marker, bool(logins))
    policyd_spf = inventory.boolean(at["mail_policyd_spf"], values.get("mail_policyd_spf", False))
    if policyd_spf and judge != milters.OPENDMARC:
        at["mail_policyd_spf"].refuse(
            True, "goes with opendmarc alone", "write mail_dmarc_judge: opendmarc as well, or remove it"
        )
    return {
        "domains": [
            {
                "name": name,
                "lmtp": {"name": store["name"], "address": store["vpn_address"], "port": ports["lmtp"]},
            }
            for name in sorted(domains)
            for store in [domains[name]["store"]]
            if store is not None
        ],
        "own_names": own_names,
        "mailboxes": sorted(mailboxes),
        "aliases": final,
        "postmaster": postmaster,
        "ports": ports,
        "recipient_delimiter": delimiter,
        "message_size_limit": size,
        **dns.read(at, values, domains, gateways, postmaster),
        **dkim.read(at, values, domains, gateways),
        "logins": logins,
        "senders": milters.senders(logins),
        "any_from_logins": milters.any_from(at["mail_any_from_logins"], values.get("mail_any_from_logins", []), logins),
        "milter_chains": chains,
        "milters": milters.milters(at["mail_milter_sockets"], values.get("mail_milter_sockets", "unix"), chains),
        "judges": [name for name in milters.JUDGES.values() if any(name in chain for chain in chains.values())],
        "virus_scanner": scanner,
        "spamassassin": marker,
        "policyd_spf": policyd_spf,
        "strict_from": judge == milters.OPENDMARC,
        "dns_lists": dns_lists.dns_lists(
            at["mail_dns_lists"], values.get("mail_dns_lists", dns_lists.DEFAULT), postscreen
        ),
        "postscreen": postscreen,
        "tried_checks": dns_lists.tried(at["mail_tried_checks"], values.get("mail_tried_checks", [])),
        "access": dns_lists.access(at["mail_access"], values.get("mail_access", {}), ours),
        "greylist": {
            **_greylist_host(at["mail_greylisting"], values.get("mail_greylisting", True), keeper, ports["greylist"]),
            "delay": inventory.integer(
                at["mail_greylist_delay"],
                values.get("mail_greylist_delay", GREYLIST_DELAY),
                *GREYLIST_DELAYS,
                GREYLIST_DELAY,
            ),
            "exceptions": dns_lists.greylist_exceptions(
                at["mail_greylist_exceptions"], values.get("mail_greylist_exceptions", {}), ours
            ),
        },
        "statistics": inventory.boolean(at["mail_statistics"], values.get("mail_statistics", True)),
        "clear_secrets": clear_secrets,
        "secrets": list(SECRETS),
    }


# The whole


def _members(groups: Mapping[str, Sequence[str]], problems: list[str]) -> dict[str, str]:
    """{inventory host: its group}, gateways first, in the order of the groups."""
    members: dict[str, str] = {}
    for group in (GATEWAYS, STORES):
        if not groups.get(group):
            Place(problems, f"group {group}").note("has no host", "write at least one into the inventory")
        for host in groups.get(group) or ():
            if host in members and members[host] != group:
                Place(problems, f"host {host}").note(f"is in both {members[host]} and {group}", "write it in one")
            members.setdefault(host, group)
    return members


def _keeper(groups: Mapping[str, Sequence[str]], members: Mapping[str, str], problems: list[str]) -> str | None:
    """The host that keeps the greylist: the one of its group, or else the first store."""
    stores = [host for host, group in members.items() if group == STORES]
    hosts = groups.get(GREYLIST) or stores[:1]
    if len(hosts) > 1:
        shown = ", ".join(hosts)
        Place(problems, f"group {GREYLIST}").note(
            f"has {len(hosts)} hosts ({shown})", "leave one in it: all gateways share one greylist"
        )
    for host in hosts:
        if host not in stores:
            Place(problems, f"host {host}").note(
                f"is in {GREYLIST}, but not in {STORES}", f"write one of {', '.join(stores)} there, or remove the group"
            )
    return hosts[0] if hosts else None


def _pick(source: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: source[key] for key in keys}


def _networks_of(me: Mapping[str, Any]) -> list[str]:
    return [f"{me[key]}/{bits}" for key, bits in (("ipv4", 32), ("ipv6", 128)) if me[key]]


def _tls(me: Mapping[str, Any]) -> dict[str, Any]:
    """Where a host keeps its keys and certificates, and which of them the private CA issues to it.

    private: with which gateways and mail host know each other. public: what a gateway shows on port 25, the operator's
    own files or an ECDSA and an RSA certificate side by side; a mail host shows strangers nothing.
    """
    issued = [{"name": "private", "algorithm": "ECDSA", "usage": ["serverAuth", "clientAuth"]}]
    public = [f"public-{index}" for index in range(len(me["certificate_files"]))]
    if me["group"] == GATEWAYS and not public:
        public = ["public-ecdsa", "public-rsa"]
        issued += [{"name": name, "algorithm": name[7:].upper(), "usage": ["serverAuth"]} for name in public]

    def pair(name: str) -> dict[str, str]:
        return {"certificate": f"{TLS_DIRECTORY}/{name}.crt", "key": f"{TLS_DIRECTORY}/{name}.key"}

    return {
        "directory": TLS_DIRECTORY,
        "ca": f"{TLS_DIRECTORY}/ca.crt",
        "issued": issued,
        "private": pair("private"),
        "public": [pair(name) for name in public],
        "openssl_conf": f"{TLS_DIRECTORY}/openssl.cnf",
        "ciphers": CIPHERS,
        "signature_algorithms": SIGNATURES,
        "old_signature_algorithms": OLD_SIGNATURES,
    }


def _selinux_ports(
    me: Mapping[str, Any], site: Mapping[str, Any], listen: Sequence[Mapping[str, Any]]
) -> dict[str, list[dict[str, str]]]:
    """The ports of this host that EL's policy does not know by the right type, and those of what is switched off."""
    offered = {entry["name"] for entry in listen}
    known = [
        (site["ports"][name], setype, name in offered)
        for name in LISTEN[me["group"]]
        for setype, labelled in [PORT_TYPES[name]]
        if site["ports"][name] not in labelled
    ]
    known += milters.selinux_ports(site["milters"]) if me["group"] == GATEWAYS else []
    used = {port for port, _setype, on in known if on} | {entry["port"] for entry in listen}
    return {
        "selinux_ports": [{"port": str(port), "proto": "tcp", "setype": setype} for port, setype, on in known if on],
        "selinux_ports_absent": [
            {"port": str(port), "proto": "tcp", "state": "absent"} for port, _setype, _on in known if port not in used
        ],
    }


def _view(
    me: Mapping[str, Any],
    site: Mapping[str, Any],
    first_preference: int,
    exempt: Sequence[str],
    keyed: Mapping[str, str],
) -> dict[str, Any]:
    """What the model of one host has beside the site."""
    listen = [
        {"name": name, "port": site["ports"][name], "protocol": "tcp", "zones": list(zones)}
        for name, zones in LISTEN[me["group"]].items()
        if (name != "submission" or site["logins"]) and (name != "greylist" or site["greylist"]["host"] == me["host"])
    ]
    for entry in listen:
        if entry["name"] == "greylist":  # who may ask it could fill it with whatever he likes
            entry["sources"] = sorted(gateway["vpn_address"] for gateway in site["gateways"])
    own = set(_networks_of(me)) if me["group"] == GATEWAYS else set()
    return {
        "me": {
            **_pick(me, "host", "name", "short", "group", "preference"),
            "backup": me["preference"] is not None and me["preference"] > first_preference,
            **_pick(me, "ipv4", "ipv6", "vpn_address", "vpn_interface"),
        },
        "exempt": [network for network in exempt if network not in own],
        "keyed_zones": dict(keyed) if me["group"] == GATEWAYS else {},
        "listen": listen,
        "reserved_ports": sorted(entry["port"] for entry in listen if entry["port"] in EPHEMERAL_PORTS),
        **_selinux_ports(me, site, listen),
        "absent": [
            *(milters.absent(site["milters"], site["policyd_spf"]) if me["group"] == GATEWAYS else []),
            *([] if site["statistics"] or me["group"] != GATEWAYS else ["awstats"]),
            *([] if site["greylist"]["host"] == me["host"] else ["greylist"]),
            *([] if site["bans"]["on"] else ["fail2ban"]),
        ],
        "jails": [
            {"name": JAILS[entry["name"]], "port": entry["port"]}
            for entry in listen
            if site["bans"]["on"] and entry["name"] in JAILS
        ],
        "certificate_files": me["certificate_files"],
        "tls": _tls(me),
    }


def build(hosts: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
    """The models of all hosts of the groups mail_gateways and mail_stores, by inventory host; see `parts`."""
    site, views = parts(hosts, groups)
    return {host: {**site, **view} for host, view in views.items()}


def parts(
    hosts: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What the models of all hosts share, and what each has beside it, by inventory host.

    hosts: {inventory host: {variable: value}}; only variables of which `concerns` is true matter.
    groups: {group: [inventory host, ...]}, of which mail_gateways and mail_stores matter, and mail_greylist if there.

    A model holds plain dict, list, str, int, bool and None, no secret, and for the same inventory the same bytes,
    whatever the order in which it was written. Sizes are bytes. Its shape is that of the filter's documentation.

    Raises InventoryError with all problems at once.
    """
    problems: list[str] = []
    members = _members(groups, problems)
    if not members:
        raise InventoryError(problems)
    places = {host: Place(problems, f"host {host}") for host in members}
    variables = {host: hosts.get(host, {}) for host in members}
    first = next(iter(members))

    _all_known(variables, places)
    values = _site_values(list(members), variables, places)
    vpn: list[IPNetwork] = []
    if _has(places[first], values, "mail_vpn_networks", '["10.99.0.0/24"]'):
        vpn = _vpn_networks(places[first]["mail_vpn_networks"], values["mail_vpn_networks"])
    word = "mail_unrouted_addresses"
    unrouted = inventory.boolean(places[first][word], values.get(word, False))
    everyone = [_host(places[host], host, group, variables[host], vpn, unrouted) for host, group in members.items()]
    _all_different(everyone, places)
    exchangers = _exchangers([me for me in everyone if me["group"] == GATEWAYS], places)
    keeper = _keeper(groups, members, problems)
    mail = _mail(places[first], values, everyone, next((me for me in everyone if me["host"] == keeper), None))
    bans = _bans(places[first], values, everyone, vpn, mail["dns_lists"])
    by_group = {group: [host for host in members if members[host] == group] for group in (GATEWAYS, STORES)}
    _password_hashes(list(members), variables, places, dict.fromkeys(mail["mailboxes"]), by_group[STORES])
    phrase = inventory.shared(list(members), variables, places, CA_PHRASE, list(members))  # one CA issues to all
    if phrase:
        _passphrase(*phrase)
    milters.check_passwords(list(members), variables, places, mail["logins"], by_group[GATEWAYS])
    keys = variables[first].get(TSIG_KEYS, {})
    dns.check_tsig_keys(places[first][TSIG_KEYS], keys, mail["dns"]["zones"])
    dkim.check_private_keys(list(members), variables, places, by_group[GATEWAYS])
    keyed = dns_lists.keyed_zones(list(members), variables, places, mail["dns_lists"], by_group[GATEWAYS])
    for host, group in members.items():
        if dns_lists.FORWARDING in variables[host]:
            at = places[host][dns_lists.FORWARDING]
            asked = mail["dns_lists"] if group == GATEWAYS else []  # by this host's resolver
            dns_lists.check_forwarding(at, variables[host][dns_lists.FORWARDING], asked, keyed)
        for name in SSH_PORTS:
            if name in variables[host]:
                _ssh_port(places[host][name], variables[host][name], group, mail["ports"])
        if str(variables[host].get(SSH_LOCKOUT)).lower() not in ("true", "yes", "on", "1"):  # a string by --extra-vars
            _ssh_zones(places[host][SSH_ZONES], variables[host].get(SSH_ZONES))
    if problems:
        raise InventoryError(problems)

    gateways = sorted((me for me in everyone if me["group"] == GATEWAYS), key=lambda me: (me["preference"], me["name"]))
    networks = sorted(map(str, vpn))
    site = {
        "gateways": [
            _pick(me, "host", "name", "preference", "retiring", "ipv4", "ipv6", "vpn_address") for me in gateways
        ],
        "stores": [_pick(me, "host", "name", "vpn_address") for me in everyone if me["group"] == STORES],
        "vpn_networks": networks,
        **mail,
        "bans": bans,
    }
    exempt = sorted(networks + [network for gateway in gateways for network in _networks_of(gateway)])
    first_preference = min(me["preference"] for me in exchangers)
    views = {me["host"]: _view(me, site, first_preference, exempt, keyed) for me in everyone}
    return site, {host: views[host] for host in sorted(views)}
