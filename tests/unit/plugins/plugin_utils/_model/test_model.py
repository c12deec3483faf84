# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model, without Ansible: what good inventories mean, and what is said about bad ones."""

from __future__ import annotations

import base64
import copy
import ipaddress
import json
import random
import time

import pytest
import yaml
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory as _inventory
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import model as _model

GROUPS = {"mail_gateways": ["mx1.example.org", "mx2.example.org"], "mail_stores": ["store.example.org"]}
BCRYPT = "{BLF-CRYPT}$2y$05$" + "u" * 53
ARGON2ID = "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$" + "c2FsdHNhbHRzYWx0" + "$" + "x" * 42 + "w"
HASHES = {
    "alice@example.org": "{BLF-CRYPT}$2y$05$wX4aIJm9Tr2fBzkHnY1fHeE3t0vUuM2Gk5cCkqL9sYbq0pXj7dZ8K",
    "bob@example.org": "{SHA512-CRYPT}$6$rounds=5000$saltsalt$" + "Zm9v" * 21 + "./",
}
MANY = {"mail_stores": ["store.example.org", "store2"]}
STORE2 = {"mail_name": "store2.example.org", "mail_vpn_address": "10.99.0.32"}
X64 = "x" * 64
X63 = "x" * 63


def inventory(changes=None, groups=None):
    """The lab's inventory with changes {host or "all": {variable: value}}; the value ... removes a variable."""
    site = {
        "mail_vpn_networks": ["10.99.0.0/24"],
        "mail_domains": [{"name": "example.org"}],
        "mail_mailboxes": ["alice@example.org", "bob@example.org"],
        "mail_aliases": {"info@example.org": "alice@example.org"},
        "mail_postmaster": "alice@example.org",
        "mail_unrouted_addresses": True,
        "vault_mail_password_hashes": HASHES,
        "ansible_host": "198.51.100.11",
    }
    own = {
        "mx1.example.org": {
            "mail_ipv4": "198.51.100.11",
            "mail_ipv6": "2001:db8:51::11",
            "mail_vpn_address": "10.99.0.11",
        },
        "mx2.example.org": {"mail_ipv4": "198.51.100.12", "mail_vpn_address": "10.99.0.12", "mail_preference": 20},
        "store.example.org": {"mail_ipv4": "198.51.100.31", "mail_vpn_address": "10.99.0.31"},
    }
    changes = changes or {}
    groups = {**GROUPS, **(groups or {})}
    hosts = {}
    for host in {*own, *(host for members in groups.values() for host in members)}:
        merged = {**site, **own.get(host, {}), **changes.get("all", {}), **changes.get(host, {})}
        hosts[host] = copy.deepcopy({key: value for key, value in merged.items() if value is not ...})
    return hosts, groups


def site(**values):
    return {"all": values}


def mx1(**values):
    return {"mx1.example.org": values}


def slow(*classes):
    return site(mail_slow_destinations=list(classes))


def problems_of(changes=None, groups=None):
    with pytest.raises(_inventory.InventoryError) as caught:
        _model.build(*inventory(changes, groups))
    return caught.value.problems


def domains(*names):
    """A change of the domains; the other values stay, so each name gets by without addresses."""
    return site(mail_domains=[{"name": "example.org"}] + [{"name": name, "allow_empty": True} for name in names])


def aliases(**values):
    return site(mail_aliases={f"{key}@example.org": value for key, value in values.items()})


def hashes(**values):
    return site(vault_mail_password_hashes={**HASHES, **{f"{key}@example.org": value for key, value in values.items()}})


# name: (changes, start of the only problem after "host mx1.example.org: ", the reason and the remedy in it)
DOMAIN = "mail_domains[1].name: "
ADDRESS = "mail_mailboxes[0]: "
BAD_VALUES = {
    "a list of no percent": (
        site(mail_recipients_shrink=100),
        "mail_recipients_shrink: 100",
        "out of range",
        "from 1 to 99",
    ),
    "greylisting is no word": (
        site(mail_greylisting="nay"),
        'mail_greylisting: "nay"',
        "not a boolean",
        "true or false",
    ),
    "no greylist delay": (site(mail_greylist_delay=0), "mail_greylist_delay: 0", "out of range", "from 1 to 3600"),
    "a greylist delay of hours": (
        site(mail_greylist_delay=3601),
        "mail_greylist_delay: 3601",
        "out of range",
        "from 1 to 3600",
    ),
    "a greylist delay in words": (
        site(mail_greylist_delay="60s"),
        'mail_greylist_delay: "60s"',
        "a string, not an integer",
        "without quotes",
    ),
    "greylist at another's port": (
        site(mail_ports={"greylist": 993}),
        "mail_ports.greylist: 993",
        "is the port of imaps",
        "a port that is free",
    ),
    "a slow destination that is ours": (
        slow({"domains": ["far.example", "Example.org"], "concurrency": 2}),
        'mail_slow_destinations[0].domains[1]: "Example.org"',
        "is a domain of ours",
        "remove it",
    ),
    "a slow destination that is a gateway": (
        slow({"domains": ["mx1.example.org"], "concurrency": 2}),
        'mail_slow_destinations[0].domains[0]: "mx1.example.org"',
        "is a domain of ours",
        "remove it",
    ),
    "a slow destination twice": (
        slow({"domains": ["far.example"], "concurrency": 2}, {"domains": ["FAR.example"], "delay": 1}),
        'mail_slow_destinations[1].domains[0]: "FAR.example"',
        "is the same domain as mail_slow_destinations[0].domains[0]",
        "write it once",
    ),
    "a slow destination with all below it": (
        slow({"domains": ["*.far.example"], "delay": 1}),
        'mail_slow_destinations[0].domains[0]: "*.far.example"',
        "a wildcard",
        "each name by itself",
    ),
    "slow destinations without a domain": (
        slow({"domains": [], "delay": 1}),
        "mail_slow_destinations[0].domains: ",
        "has no domain",
        "write the domains of recipients",
    ),
    "slow destinations that are not slow": (
        slow({"domains": ["far.example"]}),
        "mail_slow_destinations[0]: ",
        "has neither concurrency nor delay",
        "write one of them",
    ),
    "a delay between several at once": (
        slow({"domains": ["far.example"], "concurrency": 2, "delay": 1}),
        "mail_slow_destinations[0].concurrency: 2",
        "one delivery at a time",
        "remove one of the two",
    ),
    "slower than mail may wait": (
        slow({"domains": ["far.example"], "delay": 3601}),
        "mail_slow_destinations[0].delay: 3601",
        "is out of range",
        "from 1 to 3600",
    ),
    "a delay with a unit": (
        slow({"domains": ["far.example"], "delay": "5s"}),
        'mail_slow_destinations[0].delay: "5s"',
        "a string, not an integer",
        "without quotes",
    ),
    "many at once are not slow": (
        slow({"domains": ["far.example"], "concurrency": 21}),
        "mail_slow_destinations[0].concurrency: 21",
        "is out of range",
        "from 1 to 20",
    ),
    "a limit of recipients": (
        slow({"domains": ["far.example"], "delay": 1, "recipients": 1}),
        'mail_slow_destinations[0].recipients: "recipients"',
        "is not a known key",
        "domains, concurrency, delay",
    ),
    "slow destinations by name": (
        site(mail_slow_destinations={"far.example": 2}),
        "mail_slow_destinations: ",
        "is a mapping, not a list",
        "write a list",
    ),
    "bans is no word": (site(mail_bans="on"), 'mail_bans: "on"', "not a boolean", "true or false"),
    "bans on the VPN in a list": (site(mail_bans_vpn=[]), "mail_bans_vpn: []", "not a boolean", "true or false"),
    "one who is not banned, without a list": (
        site(mail_bans_exempt="203.0.113.0/24"),
        'mail_bans_exempt: "203.0.113.0/24"',
        "a string, not a list",
        'write a list, such as ["203.0.113.0/24"]',
    ),
    "everybody is not banned": (
        site(mail_bans_exempt=["0.0.0.0/0"]),
        'mail_bans_exempt[0]: "0.0.0.0/0"',
        "is everybody",
        "a smaller network",
    ),
    "a name is not banned": (
        site(mail_bans_exempt=["mail.example.net"]),
        'mail_bans_exempt[0]: "mail.example.net"',
        "is neither an address nor a network",
        "without host bits",
    ),
    "not banned twice": (
        site(mail_bans_exempt=["203.0.113.7", "203.0.113.7/32"]),
        'mail_bans_exempt[1]: "203.0.113.7/32"',
        "is there twice",
        "write it once",
    ),
    "domain with a space": (domains("exa mple.org"), DOMAIN + '"exa mple.org"', "(space at 4)", 'write "example.org"'),
    "empty domain": (domains(""), DOMAIN + '""', "(empty)", "example.org"),
    "domain with a trailing dot": (
        domains("example.net."),
        DOMAIN + '"example.net."',
        "(trailing dot)",
        '"example.net"',
    ),
    "domain in U-labels": (
        domains("münchen.example"),
        DOMAIN + '"münchen.example"',
        "A-labels",
        'write "xn--mnchen-3ya.example"',
    ),
    "U-label that IDNA 2003 renames": (domains("straße.example"), DOMAIN + '"straße.example"', "A-labels", "xn--"),
    "letter that only folds to ASCII": (
        domains("\u212aelvin.example"),
        DOMAIN + '"\u212aelvin.example"',
        "A-labels",
        '"kelvin.example"',
    ),
    "label too long": (domains(X64 + ".org"), f'{DOMAIN}"{X64}.org"', "(label of 64 characters)", "at most 63"),
    "name too long": (domains(".".join([X63] * 4)), f'{DOMAIN}"{X63}.', "(255 characters)", "at most 253"),
    "duplicate domain": (
        domains("Example.ORG"),
        DOMAIN + '"Example.ORG"',
        "same domain as mail_domains[0].name",
        "once",
    ),
    "domain both local and relay": (
        domains("MX2.example.org"),
        DOMAIN + '"MX2.example.org"',
        "both local and relay",
        "mail_name",
    ),
    "domain named as a store": (
        domains("store.example.org"),
        DOMAIN + '"store.example.org"',
        "both local and relay",
        "mail_name",
    ),
    "domain with a byte order mark": (
        domains("\ufeffexample.org"),
        DOMAIN + '"\\ufeffexample.org"',
        "a byte order mark, U+FEFF at 1",
        '"example.org"',
    ),
    "wildcard domain": (domains("*.example.org"), DOMAIN + '"*.example.org"', "(a wildcard)", "each name"),
    "single label": (domains("localhost"), DOMAIN + '"localhost"', "(a single label)", "localhost.example.org"),
    "IPv4 address as domain": (domains("192.0.2.1"), DOMAIN + '"192.0.2.1"', "an IP address", "example.org"),
    "IPv6 literal as domain": (domains("[2001:db8::1]"), DOMAIN + '"[2001:db8::1]"', "an IP address", "example.org"),
    "numeric top level": (domains("example.300"), DOMAIN + '"example.300"', "a number at its end", "example.org"),
    "empty label": (domains("example..org"), DOMAIN + '"example..org"', "(empty label)", "example.org"),
    "hyphen at an end": (domains("-a.org"), DOMAIN + '"-a.org"', "hyphen at an end", "example.org"),
    "underscore": (domains("a_b.org"), DOMAIN + '"a_b.org"', 'character "_" at 2', "letters, digits"),
    "line feed in a domain": (domains("example.net\n"), DOMAIN + r'"example.net\n"', "U+000A at 12", "example.org"),
    "NUL in a domain": (domains("exa\0mple.net"), DOMAIN + r'"exa\u0000mple.net"', "U+0000 at 4", "example.org"),
    "number as domain": (domains(5), DOMAIN + "5", "is an integer, not a domain name", "example.org"),
    "domains as a string": (
        site(mail_domains="example.org"),
        'mail_domains: "example.org"',
        "a string, not a list",
        "write a list",
    ),
    "domain as a string": (
        site(mail_domains=["example.org"]),
        'mail_domains[0]: "example.org"',
        "a string, not a mapping",
        "{name:",
    ),
    "no domains": (site(mail_domains=[]), "mail_domains: is an empty list", "empty", "at least one"),
    "domains missing": (site(mail_domains=...), "mail_domains: is missing", "missing", "group_vars/all"),
    "domain without a name": (
        site(mail_domains=[{"name": "example.org"}, {}]),
        DOMAIN + "is missing",
        "missing",
        "{name:",
    ),
    "unknown key of a domain": (
        site(mail_domains=[{"name": "example.org", "alow_empty": True}]),
        'mail_domains[0].alow_empty: "alow_empty"',
        "not a known key",
        "did you mean allow_empty?",
    ),
    "boolean as a string": (
        site(mail_domains=[{"name": "example.org", "allow_empty": "aye"}]),
        'mail_domains[0].allow_empty: "aye"',
        "a string, not a boolean",
        "without quotes",
    ),
    "unknown store": (
        site(mail_domains=[{"name": "example.org", "store": "shop.example.org"}]),
        'mail_domains[0].store: "shop.example.org"',
        "not a host of mail_stores",
        "store.example.org",
    ),
    "empty domain list of addresses": (
        site(mail_domains=[{"name": "example.org"}, {"name": "example.net"}]),
        DOMAIN + '"example.net"',
        "no mailbox and no alias",
        "allow_empty: true",
    ),
    "external target within": (
        site(mail_external_targets=["carol@example.org"]),
        'mail_external_targets[0]: "carol@example.org"',
        "in a domain of ours",
        "mailbox or an alias",
    ),
    "mailboxes as a string": (
        site(mail_external_targets="a@b.example"),
        'mail_external_targets: "a@b.example"',
        "a string, not a list",
        "write a list",
    ),
    "alias of a foreign domain": (
        site(mail_aliases={"a@else.example": "alice@example.org"}),
        'mail_aliases["a@else.example"]: "a@else.example"',
        "no domain of ours",
        "mail_domains",
    ),
    "alias to an unlisted stranger": (
        aliases(x="a@else.example"),
        'mail_aliases["x@example.org"]: "a@else.example"',
        "outside our domains",
        "mail_external_targets",
    ),
    "alias to nobody": (
        aliases(x=["nobody@example.org"]),
        'mail_aliases["x@example.org"][0]: "nobody@example.org"',
        "neither a mailbox nor an alias",
        "mail_mailboxes",
    ),
    "alias without a target": (
        aliases(x=[]),
        'mail_aliases["x@example.org"]: has no target',
        "no target",
        "remove the alias",
    ),
    "alias to a number": (
        aliases(x=5),
        'mail_aliases["x@example.org"]: 5',
        "an integer, neither an address nor a list",
        "addresses",
    ),
    "alias that is a mailbox": (
        aliases(alice="bob@example.org"),
        'mail_aliases["alice@example.org"]: "alice@example.org"',
        "a mailbox as well (mail_mailboxes[0])",
        "one of the two",
    ),
    "alias twice": (
        site(mail_aliases={"info@example.org": "alice@example.org", "Info@example.org": "bob@example.org"}),
        'mail_aliases["Info@example.org"]: "Info@example.org"',
        "twice",
        "once",
    ),
    "target twice": (
        aliases(x=["alice@example.org", "Alice@example.org"]),
        'mail_aliases["x@example.org"][1]: "Alice@example.org"',
        "the same address as",
        "once",
    ),
    "alias to itself": (
        aliases(x="x@example.org"),
        'mail_aliases["x@example.org"]: the alias leads back',
        "x@example.org -> x@example.org",
        "a mailbox",
    ),
    "loop of aliases": (
        aliases(c="a@example.org", a=["b@example.org", "alice@example.org"], b="c@example.org"),
        'mail_aliases["a@example.org"]: the alias leads back',
        "a@example.org -> b@example.org -> c@example.org -> a@example.org",
        "a mailbox",
    ),
    "aliases as a list": (
        site(mail_aliases=["a@example.org"]),
        "mail_aliases: ['a@example.org']",
        "a list, not a mapping",
        "write a mapping",
    ),
    "postmaster missing": (
        site(mail_postmaster=...),
        "mail_postmaster: is missing",
        "missing",
        "postmaster@example.org",
    ),
    "postmaster unknown": (
        site(mail_postmaster="postmaster@example.org"),
        'mail_postmaster: "postmaster@example.org"',
        "neither a mailbox nor an alias",
        "that you define",
    ),
    "postmaster elsewhere": (
        {
            "all": {
                "mail_external_targets": ["a@else.example"],
                "mail_postmaster": "pm@example.org",
                "mail_aliases": {"pm@example.org": ["alice@example.org", "a@else.example"]},
            }
        },
        'mail_postmaster: "pm@example.org"',
        "does not end in mailboxes only",
        "write one that does",
    ),
    "port 0": (site(mail_ports={"lmtp": 0}), "mail_ports.lmtp: 0", "out of range", "from 1 to 65535"),
    "port 65536": (site(mail_ports={"lmtp": 65536}), "mail_ports.lmtp: 65536", "out of range", "from 1 to 65535"),
    "port as a word": (
        site(mail_ports={"imaps": "587x"}),
        'mail_ports.imaps: "587x"',
        "a string, not an integer",
        "without quotes",
    ),
    "port as a boolean": (
        site(mail_ports={"imaps": True}),
        "mail_ports.imaps: true",
        "a boolean, not an integer",
        "without quotes",
    ),
    "port of SMTP": (site(mail_ports={"lmtp": 25}), "mail_ports.lmtp: 25", "the port of smtp", "free"),
    "a quota that is none": (site(mail_quota="10 GB"), 'mail_quota: "10 GB"', "is no size", '"10G"'),
    "a quota without a unit": (site(mail_quota=10), "mail_quota: 10", "is an integer, not a size", '"10G"'),
    "a quota for no message": (site(mail_quota="49M"), 'mail_quota: "49M"', "is less than the largest message", "10G"),
    "a quota of nobody": (
        site(mail_mailbox_quotas={"mallory@example.org": "1G"}),
        'mail_mailbox_quotas["mallory@example.org"]',
        "is not a mailbox",
        "mail_mailboxes",
    ),
    "port of SSH": (site(mail_ports={"imaps": 22}), "mail_ports.imaps: 22", "the port of ssh", "free"),
    "ports clash": (site(mail_ports={"lmtp": 993}), "mail_ports.imaps: 993", "the port of lmtp", "free"),
    "unknown port": (
        site(mail_ports={"imap": 143}),
        'mail_ports.imap: "imap"',
        "not a known key",
        "did you mean imaps?",
    ),
    "delimiter of two": (
        site(mail_recipient_delimiter="+-"),
        'mail_recipient_delimiter: "+-"',
        "not a recipient delimiter",
        "one of",
    ),
    "size too small": (
        site(mail_message_size_limit=65535),
        "mail_message_size_limit: 65535",
        "out of range",
        "from 65536",
    ),
    "size with a unit": (
        site(mail_message_size_limit="50M"),
        'mail_message_size_limit: "50M"',
        "a string, not an integer",
        "without quotes",
    ),
    "preference too high": (mx1(mail_preference=65536), "mail_preference: 65536", "out of range", "from 0 to 65535"),
    "interface with a slash": (
        mx1(mail_vpn_interface="wg/0"),
        'mail_vpn_interface: "wg/0"',
        "not the name of an interface",
        "wg0",
    ),
    "interface with a quote": (
        mx1(mail_vpn_interface='wg"0'),
        r'mail_vpn_interface: "wg\"0"',
        "not the name of an interface",
        "wg0",
    ),
    "interface too long": (
        mx1(mail_vpn_interface="w" * 16),
        f'mail_vpn_interface: "{"w" * 16}"',
        "1 to 15 characters",
        "wg0",
    ),
    "host name not full": (mx1(mail_name="mx1"), 'mail_name: "mx1"', "a single label", "mx1.example.org"),
    "no public address": (
        mx1(mail_ipv4=..., mail_ipv6=...),
        "mail_ipv4: is missing, and mail_ipv6 too",
        "missing",
        "public address",
    ),
    "IPv6 in IPv4's place": (
        mx1(mail_ipv4="2001:db8::1"),
        'mail_ipv4: "2001:db8::1"',
        "not an IPv4 address",
        "198.51.100.11",
    ),
    "bracketed IPv6": (
        mx1(mail_ipv6="[2001:db8::1]"),
        'mail_ipv6: "[2001:db8::1]"',
        "not an IP address",
        "2001:db8:51::11",
    ),
    "number as address": (mx1(mail_ipv4=3325256704), "mail_ipv4: 3325256704", "not an IP address", "198.51.100.11"),
    "loopback": (mx1(mail_ipv4="127.0.0.1"), 'mail_ipv4: "127.0.0.1"', "not public (loopback)", "the world"),
    "multicast": (mx1(mail_ipv6="ff02::1"), 'mail_ipv6: "ff02::1"', "not public (multicast)", "the world"),
    "unspecified": (mx1(mail_ipv6="::"), 'mail_ipv6: "::"', "not public (unspecified)", "the world"),
    "link-local": (mx1(mail_ipv6="fe80::1"), 'mail_ipv6: "fe80::1"', "not public (link-local)", "the world"),
    "public address in the VPN": (
        mx1(mail_ipv4="10.99.0.77"),
        'mail_ipv4: "10.99.0.77"',
        "lies in VPN network 10.99.0.0/24",
        "public",
    ),
    "no VPN address": (mx1(mail_vpn_address=...), "mail_vpn_address: is missing", "missing", "mail_vpn_networks"),
    "VPN address elsewhere": (
        mx1(mail_vpn_address="10.98.0.1"),
        'mail_vpn_address: "10.98.0.1"',
        "in none of mail_vpn_networks",
        "10.99.0.0/24",
    ),
    "VPN's network address": (
        mx1(mail_vpn_address="10.99.0.0"),
        'mail_vpn_address: "10.99.0.0"',
        "network or broadcast address",
        "the host",
    ),
    "VPN's broadcast address": (
        mx1(mail_vpn_address="10.99.0.255"),
        'mail_vpn_address: "10.99.0.255"',
        "network or broadcast address",
        "the host",
    ),
    "VPN missing": (site(mail_vpn_networks=...), "mail_vpn_networks: is missing", "missing", "10.99.0.0/24"),
    "VPN empty": (site(mail_vpn_networks=[]), "mail_vpn_networks: is an empty list", "empty", "10.99.0.0/24"),
    "half a certificate": (
        mx1(mail_certificate_files=[{"certificate": "a"}]),
        "mail_certificate_files[0].key: is missing",
        "missing",
        "write both",
    ),
    "unknown key of a certificate": (
        mx1(mail_certificate_files=[{"certificate": "a", "key": "b", "chain": "c"}]),
        'mail_certificate_files[0].chain: "chain"',
        "not a known key",
        "certificate, key",
    ),
    "path with a line feed": (
        mx1(mail_certificate_files=[{"certificate": "a\n", "key": "b"}]),
        r'mail_certificate_files[0].certificate: "a\n"',
        "not a path",
        "controller",
    ),
    "unknown variable": (
        mx1(mail_vpn_adress="10.99.0.11"),
        'mail_vpn_adress: "mail_vpn_adress"',
        "not a known variable",
        "did you mean mail_vpn_address?",
    ),
    "hash for nobody": (
        hashes(carol=BCRYPT),
        'vault_mail_password_hashes["carol@example.org"]: "carol@example.org"',
        "not a mailbox",
        "remove it",
    ),
    "hashes missing": (
        site(vault_mail_password_hashes=...),
        "vault_mail_password_hashes: is missing",
        "missing",
        "doveadm pw -s BLF-CRYPT",
    ),
    "hash missing": (
        site(vault_mail_password_hashes={"alice@example.org": HASHES["alice@example.org"]}),
        'vault_mail_password_hashes["bob@example.org"]: mailbox "bob@example.org"',
        "has no password hash",
        "doveadm pw",
    ),
    "hash twice": (
        hashes(ALICE=BCRYPT),
        'vault_mail_password_hashes["ALICE@example.org"]: is there twice',
        "twice",
        "once",
    ),
    "hashes as a string": (
        site(vault_mail_password_hashes="hunter2"),
        "vault_mail_password_hashes: is a string",
        "not a mapping",
        "doveadm pw",
    ),
    "password in clear": (
        hashes(alice="hunter2"),
        'vault_mail_password_hashes["alice@example.org"]: is not a password hash',
        "ARGON2ID, ARGON2I, BLF-CRYPT, SHA512-CRYPT, SHA256-CRYPT",
        "doveadm pw",
    ),
    "weak scheme": (
        hashes(alice="{PLAIN}hunter2"),
        'vault_mail_password_hashes["alice@example.org"]: is not a password hash',
        "of a scheme among",
        "doveadm pw",
    ),
    "hash with a colon": (
        hashes(alice="{BLF-CRYPT}hunter2:0:0"),
        'vault_mail_password_hashes["alice@example.org"]: is not a hash of its scheme BLF-CRYPT',
        "$2y$, a cost of 04 to 17, and 53 characters",
        "doveadm pw",
    ),
    "hash with a line feed": (
        hashes(alice=BCRYPT + "\nhunter2"),
        'vault_mail_password_hashes["alice@example.org"]: is not a hash of its scheme BLF-CRYPT',
        "53 characters",
        "doveadm pw",
    ),
    "hash as a number": (
        hashes(alice=5),
        'vault_mail_password_hashes["alice@example.org"]: is an integer',
        "not a password hash",
        "doveadm pw",
    ),
    "permission as a string": (site(mail_clear_secrets="1"), 'mail_clear_secrets: "1"', "not a boolean", "true or"),
    "hash and mailbox swapped": (
        site(vault_mail_password_hashes={**HASHES, "{PLAIN}hunter2": "bob@example.org"}),
        "vault_mail_password_hashes: the key of entry 3",
        "not an address",
        "{SCHEME}hash",
    ),
}

# mailbox: what is wrong with it, and what to write; beside it stands a good one
BAD_ADDRESSES = {
    "alice": ('(no "@")', "alice@example.org"),
    "": ("(empty)", "one address"),
    "@example.org": ("(a catch-all)", "each address"),
    "a@b@example.org": ('(more than one "@")', "one address"),
    "a b@example.org": ("(space at 2)", "without it"),
    " a@example.org": ("(space at 1)", "without it"),
    "a@example.org\n": ("(control character U+000A at 14)", "without it"),
    "a\r@example.org": ("(control character U+000D at 2)", "without it"),
    "a\0@example.org": ("(control character U+0000 at 2)", "without it"),
    "\ufeffa@example.org": ("(a byte order mark, U+FEFF at 1)", "without it"),
    "a\u200b@example.org": ("(invisible character U+200B at 2)", "without it"),
    "a\u00a0b@example.org": ("(invisible character U+00A0 at 2)", "without it"),
    "#a@example.org": ('(leading "#")', "comment"),
    '"a"@example.org': ("(a quoted local part)", "no quotes"),
    "a..b@example.org": ("no dot-atom", "single dots"),
    ".a@example.org": ("no dot-atom", "single dots"),
    "a,b@example.org": ("no dot-atom", "single dots"),
    "ä@example.org": ("no dot-atom", "ASCII"),
    "\u212a@example.org": ("no dot-atom", "ASCII"),
    "a" * 65 + "@example.org": ("(local part of 65 characters)", "at most 64"),
    "a@exa mple.org": ("(space at 6)", "without it"),
    "a@[192.0.2.1]": ("an IP address", "example.org"),
    "a@example": ("a single label", "example.example.org"),
    "a" * 60 + "@" + ".".join(["b" * 60] * 3) + ".example.org": ("(255 characters)", "at most 254"),
    "carol@else.example": ("is in none of mail_domains", '"else.example"'),
    "alice+list@example.org": ('recipient delimiter "+"', "without it"),
    "o'brien@example.org": ("is no name for a mailbox", "alias"),
    "BOB@Example.org": ("is the same address as mail_mailboxes[1]", "once"),
    None: ("is empty, not an address", "alice@example.org"),
    7: ("is an integer, not an address", "alice@example.org"),
}

BAD_NETWORKS = {
    "0.0.0.0/0": ("is not private", "10.0.0.0/8"),
    "::/0": ("is not private", "fc00::/7"),
    "198.51.100.0/24": ("is not private", "192.168.0.0/16"),
    "10.0.0.0/8": ("is too wide", "/16 or longer"),
    "fd00::/32": ("is too wide", "/48 or longer"),
    "10.98.0.1/24": ("has host bits set", '"10.98.0.0/24"'),
    "10.98.0.0": ("not a network in CIDR form", "10.99.0.0/24"),
    "10.98.0.0/33": ("not a network in CIDR form", "10.99.0.0/24"),
    "10.98.0.0/255.255.0.0": ("not a network in CIDR form", "10.99.0.0/24"),
    "[fd00::]/64": ("not a network in CIDR form", "10.99.0.0/24"),
    "10.99.0.128/25": ("overlaps 10.99.0.0/24 of mail_vpn_networks[0]", "the wider"),
    "10.99.0.0/24": ("overlaps 10.99.0.0/24 of mail_vpn_networks[0]", "the wider"),
    7: ("not a network in CIDR form", "10.99.0.0/24"),
}


def shown(value):
    return (
        "null" if value is None else json.dumps(value, ensure_ascii=isinstance(value, str) and not value.isprintable())
    )


@pytest.mark.parametrize("changes, start, why, instead", BAD_VALUES.values(), ids=BAD_VALUES)
def test_a_bad_value_is_one_problem_with_host_key_value_reason_and_remedy(changes, start, why, instead):
    (problem,) = problems_of(changes)
    assert problem.startswith(f"host mx1.example.org: {start}")
    reason, _semicolon, remedy = problem.partition("; ")
    assert why in reason
    assert instead in remedy


@pytest.mark.parametrize("address", BAD_ADDRESSES, ids=ascii)
def test_a_bad_mailbox_is_refused_where_it_stands(address):
    why, instead = BAD_ADDRESSES[address]
    changes = {"all": {"mail_mailboxes": ["alice@example.org", "bob@example.org", address]}}
    problem = problems_of(changes)[0]
    written = address.lower() if why.startswith(("is in none", "recipient")) else address
    assert problem.startswith(f"host mx1.example.org: mail_mailboxes[2]: {shown(written)[:119]}")
    reason, _semicolon, remedy = problem.partition("; ")
    assert why in reason
    assert instead in remedy


GOOD_ELSEWHERE = ("carol@else.example", "o'brien@example.org", "alice+list@example.org", "BOB@Example.org")


@pytest.mark.parametrize("address", [key for key in BAD_ADDRESSES if key not in GOOD_ELSEWHERE], ids=ascii)
def test_what_is_no_address_is_no_target_of_an_alias_either(address):
    why, _instead = BAD_ADDRESSES[address]
    problem = problems_of(aliases(info=["alice@example.org", address]))[0]
    assert problem.startswith(f'host mx1.example.org: mail_aliases["info@example.org"][1]: {shown(address)[:119]}')
    assert why in problem


@pytest.mark.parametrize("network", BAD_NETWORKS, ids=str)
def test_a_bad_vpn_network_is_refused_where_it_stands(network):
    why, instead = BAD_NETWORKS[network]
    (problem,) = problems_of(site(mail_vpn_networks=["10.99.0.0/24", network]))
    assert problem.startswith(f"host mx1.example.org: mail_vpn_networks[1]: {shown(network)} ")
    reason, _semicolon, remedy = problem.partition("; ")
    assert why in reason
    assert instead in remedy


def test_a_nested_network_is_found_behind_another_one():
    networks = ["10.99.0.0/24", "10.98.0.0/16", "10.98.1.0/24", "10.98.9.0/24"]
    assert [problem.split(": ")[1] for problem in problems_of(site(mail_vpn_networks=networks))] == [
        "mail_vpn_networks[2]",
        "mail_vpn_networks[3]",
    ]


@pytest.mark.parametrize(
    "key, value",
    [
        ("name", "MX1.example.org"),
        ("ipv4", "198.51.100.11"),
        ("ipv6", "2001:DB8:51::11"),
        ("vpn_address", "10.99.0.11"),
    ],
)
def test_two_hosts_never_share_a_name_or_an_address(key, value):
    (problem,) = problems_of({"mx2.example.org": {f"mail_{key}": value}})
    assert problem.startswith(f'host mx2.example.org: mail_{key}: "{value.lower()}" is that of host mx1.example.org')


def test_a_site_wide_value_is_the_same_on_all_hosts():
    (problem,) = problems_of({"mx2.example.org": {"mail_message_size_limit": 70000}})
    assert problem.startswith(
        "host mx2.example.org: mail_message_size_limit: is 70000, but not set on host mx1.example.org; write it once"
    )


def test_hashes_that_differ_name_both_hosts_and_no_value():
    (problem,) = problems_of({"store.example.org": {"vault_mail_password_hashes": {"a": "hunter2"}}})
    assert problem.startswith(
        "host store.example.org: vault_mail_password_hashes: is not the same as on host mx1.example.org"
    )
    assert "hunter2" not in problem


def test_hashes_may_be_known_to_the_store_alone():
    changes = {host: {"vault_mail_password_hashes": ...} for host in GROUPS["mail_gateways"]}
    assert _model.build(*inventory(changes)) == _model.build(*inventory())


@pytest.mark.parametrize(
    "secret, value, host",
    [
        ("vault_mail_password_hashes", HASHES, "store.example.org"),
        ("vault_mail_login_passwords", {"alice@example.org": "correct horse battery"}, "mx2.example.org"),
        ("vault_mail_dns_list_keys", {"zen.spamhaus.org": "hunter2hunter2"}, "mx2.example.org"),
        ("vault_mail_ca_passphrase", "correct horse battery", "store.example.org"),
    ],
)
def test_a_secret_is_on_every_host_that_reads_it(secret, value, host):
    site_wide = {"mail_logins": {"alice@example.org": "alice@example.org"}} if "login" in secret else {}
    (problem,) = problems_of({"all": {**site_wide, secret: value}, host: {secret: ...}})
    assert problem.startswith(f"host {host}: {secret}: is missing, but is on host m")
    assert _model.build(*inventory({"all": {**site_wide, secret: value}}))


def test_a_store_has_no_preference():
    (problem,) = problems_of({"store.example.org": {"mail_preference": 10}})
    assert problem.startswith("host store.example.org: mail_preference: 10 is for gateways only")


def test_a_mail_host_s_name_fits_into_the_path_of_a_socket():
    names = ["a" * 40 + "." + "b" * 27 + ".example.org", "a" * 40 + "." + "b" * 28 + ".example.org"]
    assert [len(name) for name in names] == [80, 81]
    _model.build(*inventory({"store.example.org": {"mail_name": names[0]}}))
    (problem,) = problems_of({"store.example.org": {"mail_name": names[1]}})
    assert problem.startswith("host store.example.org: mail_name: ")
    assert problem.endswith("has 81 characters, and names a socket; write at most 80")


def test_a_gateway_that_retires_differs_in_that_alone():
    stays, retires = (
        _model.build(*inventory({"mx2.example.org": {"mail_retiring": is_so}})) for is_so in (False, True)
    )
    assert [gateway["retiring"] for gateway in retires["store.example.org"]["gateways"]] == [False, True]
    for host, model in retires.items():
        del model["gateways"], stays[host]["gateways"]
    assert retires == stays


def test_a_gateway_that_is_shut_differs_from_one_that_retires_in_its_zones_alone():
    """It listens as before, on loopback for itself."""
    retires, shut = (
        _model.build(*inventory({"mx2.example.org": {"mail_retiring": value}})) for value in (True, "shut")
    )
    assert [gateway["shut"] for gateway in shut["store.example.org"]["gateways"]] == [False, True]
    open_, closed = (models["mx2.example.org"].pop("listen") for models in (retires, shut))
    assert closed == [{**entry, "zones": []} for entry in open_]
    assert [entry["zones"] for entry in open_ if entry["name"] == "smtp"] == [["internet", "vpn"]]
    for host, model in shut.items():
        del model["gateways"], retires[host]["gateways"]
    assert shut == retires


def test_a_word_of_the_command_line_is_a_boolean_here_too():
    for word, leaves in (("yes", True), ("true", True), ("no", False)):
        models = _model.build(*inventory({"mx2.example.org": {"mail_retiring": word}}))
        assert [gateway["retiring"] for gateway in models["store.example.org"]["gateways"]] == [False, leaves]


def test_who_comes_after_a_gateway_that_retires_is_no_backup_any_more():
    models = _model.build(*inventory(mx1(mail_retiring=True)))
    assert [models[f"mx{number}.example.org"]["me"]["backup"] for number in (1, 2)] == [False, False]


RETIRING = {
    "no boolean": (
        mx1(mail_retiring="soon"),
        'host mx1.example.org: mail_retiring: "soon" is none of true, false and shut; write true, or shut when',
    ),
    "a store": (
        {"store.example.org": {"mail_retiring": False}},
        "host store.example.org: mail_retiring: false is for gateways only; remove it",
    ),
    "every gateway": (
        {"mx1.example.org": {"mail_retiring": True}, "mx2.example.org": {"mail_retiring": True}},
        "host mx1.example.org: mail_retiring: true is written on every gateway, so that none takes mail from the "
        "internet; remove it from those that stay",
    ),
    "every gateway, the first of which is shut": (
        {"mx1.example.org": {"mail_retiring": "shut"}, "mx2.example.org": {"mail_retiring": True}},
        'host mx1.example.org: mail_retiring: "shut" is written on every gateway, ',
    ),
    "a number": (mx1(mail_retiring=1), "host mx1.example.org: mail_retiring: 1 is none of true, false and shut;"),
    "a word like it": (mx1(mail_retiring="Shut"), 'host mx1.example.org: mail_retiring: "Shut" is none of'),
}


@pytest.mark.parametrize("name", RETIRING)
def test_who_cannot_retire(name):
    changes, said = RETIRING[name]
    (problem,) = problems_of(changes)
    assert problem.startswith(said)


def test_a_store_takes_no_certificates():
    pair = {"certificate": "a.crt", "key": "a.key"}
    (problem,) = problems_of({"store.example.org": {"mail_certificate_files": [pair]}})
    assert problem.startswith("host store.example.org: mail_certificate_files: [{'certificate': 'a.crt'")
    assert "is for gateways only; remove it" in problem


@pytest.mark.parametrize(
    "host, port, name",
    [
        ("store.example.org", 993, "imaps"),
        ("store.example.org", "24", "lmtp"),
        ("store.example.org", 60000, "greylist"),
        ("mx1.example.org", 25, "smtp"),
    ],
)
@pytest.mark.parametrize("variable", ["ansible_port", "firewall_ssh_port"])
def test_ssh_s_port_is_none_of_ours(host, port, name, variable):
    (problem,) = problems_of({host: {variable: port}})
    assert problem.startswith(f"host {host}: {variable}: {shown(port)} is the port of {name}; write another port")


def test_ssh_may_have_a_port_that_this_host_does_not_listen_on():
    assert _model.build(*inventory({"mx1.example.org": {"ansible_port": 993}})) == _model.build(*inventory())


@pytest.mark.parametrize("value", [{}, None, "192.0.2.53", ["dns.example.net"]], ids=str)
def test_a_store_s_resolver_is_looked_at_as_well(value):
    (problem,) = problems_of({"store.example.org": {"unbound_forward_addresses": value}})
    assert problem.startswith("host store.example.org: unbound_forward_addresses")


def test_a_store_asks_no_list_and_may_forward_to_anybody():
    assert _model.build(*inventory({"store.example.org": {"unbound_forward_addresses": ["9.9.9.9"]}}))


def test_ssh_stays_open_somewhere():
    (problem,) = problems_of({"mx1.example.org": {"firewall_ssh_zones": []}})
    assert problem == (
        "host mx1.example.org: firewall_ssh_zones: [] leaves ssh open nowhere; "
        "write [internet, vpn], or firewall_ssh_lockout: true if you have a console"
    )


@pytest.mark.parametrize(
    "variables",
    [
        {"firewall_ssh_zones": ["vpn"]},
        {"firewall_ssh_zones": "vpn"},
        {"firewall_ssh_zones": None},
        {"firewall_ssh_zones": [], "firewall_ssh_lockout": True},
        {"firewall_ssh_zones": [], "firewall_ssh_lockout": "true"},
    ],
    ids=str,
)
def test_ssh_may_be_open_in_one_zone_or_where_there_is_a_console_in_none(variables):
    assert _model.build(*inventory({"mx1.example.org": variables})) == _model.build(*inventory())


HASHES_ALONE = ["vault_mail_password_hashes"]
KNOWN = {"postfix_": ["postfix_map_type", "postfix_parameters"], "postfix_null_": ["postfix_null_relay"]}


@pytest.mark.parametrize(
    "variable, slip",
    {
        "postfix_map_tpye": "is not a known variable; did you mean postfix_map_type?",
        "postfix_null_realy": "is not a known variable; did you mean postfix_null_relay?",
        "vault_mail_password_hashs": '"vault_mail_password_hashs" is not a known variable; '
        "did you mean vault_mail_password_hashes?",
        "vault_mail_x": '"vault_mail_x" is not a known variable; write one of vault_mail_password_hashes',
    }.items(),
)
def test_a_slip_in_a_variable_of_a_role_names_the_one_that_was_meant(variable, slip):
    names = {"mx1": [variable, "postfix_map_type"], "mx2": [variable]}
    assert _inventory.unknown_variables(names, KNOWN, HASHES_ALONE) == ([f"host mx1: {variable}: {slip}"], [])


def test_a_variable_that_may_be_somebody_else_s_is_no_slip():
    names = {"mx1": ["postfix_map_type", "postfix_null_relay", "vault_mail_password_hashes", "postfix_inet", "other"]}
    others = ["host mx1: postfix_inet: no role of gatehouse.mail reads it"]
    assert _inventory.unknown_variables(names, KNOWN, HASHES_ALONE) == ([], others)


@pytest.mark.parametrize("group", GROUPS)
def test_no_group_is_empty(group):
    assert f"group {group}: has no host; write at least one into the inventory" in problems_of(groups={group: []})


def test_a_host_is_gateway_or_store():
    problems = problems_of(groups={"mail_stores": ["store.example.org", "mx1.example.org"]})
    assert "host mx1.example.org: is in both mail_gateways and mail_stores; write it in one" in problems


def test_with_several_stores_a_domain_names_its_own():
    (problem,) = problems_of({"store2": STORE2}, MANY)
    assert problem.startswith("host mx1.example.org: mail_domains[0].store: is missing, and there are several stores")
    assert problem.endswith("write one of store.example.org, store2.example.org")


def test_an_unknown_variable_of_many_hosts_is_one_problem():
    (problem,) = problems_of(site(mail_domain="example.org"))
    assert problem == (
        'host mx1.example.org: mail_domain: "mail_domain" is not a known variable (and 2 more hosts have it);'
        " did you mean mail_domains?"
    )


def test_all_problems_are_found_in_one_run():
    changes = {
        "all": {
            "mail_ports": {"lmtp": 0},
            "mail_aliases": {"a@example.org": "a@example.org", "b@example.org": "b@example.org"},
        },
        "mx2.example.org": {"mail_ipv4": "127.0.0.1", "mail_nmae": "x"},
        "store.example.org": {"mail_vpn_address": 5},
    }
    keys = [problem.split(": ")[:2] for problem in problems_of(changes)]
    assert keys == [
        ["host mx2.example.org", "mail_nmae"],
        ["host mx2.example.org", "mail_ipv4"],
        ["host store.example.org", "mail_vpn_address"],
        ["host mx1.example.org", "mail_ports.lmtp"],
        ["host mx1.example.org", 'mail_aliases["a@example.org"]'],
        ["host mx1.example.org", 'mail_aliases["b@example.org"]'],
    ]


GARBAGE = [
    None,
    "",
    0,
    -1,
    True,
    [],
    {},
    [None],
    "x",
    1.5,
    float("nan"),
    {None: None},
    {1: [{}]},
    [[[]]],
    "\ud800",
    b"x",
    10**400,
]


@pytest.mark.parametrize("value", GARBAGE, ids=lambda value: ascii(value)[:20])
@pytest.mark.parametrize("variable", [*_model.VARIABLES, *_model.SECRETS, *_model.FOREIGN, "mail_unknown"])
def test_garbage_is_refused_in_words(variable, value):
    for where in ("all", "mx1.example.org", "store.example.org"):
        try:
            models = _model.build(*inventory({where: {variable: value}}))
        except _inventory.InventoryError as error:
            assert error.problems
            assert all(line.startswith("host ") and "; " in line and line.isprintable() for line in error.problems)
        else:
            json.dumps(models, allow_nan=False)


@pytest.mark.parametrize("value", GARBAGE, ids=lambda value: ascii(value)[:20])
@pytest.mark.parametrize("wrap", [
    lambda value: {"mail_domains": [{"name": value}]},
    lambda value: {"mail_domains": [{"name": "example.org", "store": value, "allow_empty": value}]},
    lambda value: {"mail_mailboxes": [value]},
    lambda value: {"mail_aliases": {"a@example.org": value, "b@example.org": [value]}},
    lambda value: {"mail_ports": {"lmtp": value}},
    lambda value: {"mail_certificate_files": [{"certificate": value, "key": value}]},
    lambda value: {"vault_mail_password_hashes": {"alice@example.org": value}},
])  # fmt: skip
def test_garbage_within_is_refused_in_words(wrap, value):
    try:
        _model.build(*inventory({"all": wrap(value)}))
    except _inventory.InventoryError as error:
        assert all(line.startswith("host ") and "; " in line for line in error.problems)


def test_the_lab_in_whole():
    shared = {
        "gateways": [
            {
                "host": "mx1.example.org", "name": "mx1.example.org", "preference": 10, "retiring": False,
                "shut": False, "ipv4": "198.51.100.11", "ipv6": "2001:db8:51::11", "vpn_address": "10.99.0.11",
            },
            {
                "host": "mx2.example.org", "name": "mx2.example.org", "preference": 20, "retiring": False,
                "shut": False, "ipv4": "198.51.100.12", "ipv6": None, "vpn_address": "10.99.0.12",
            },
        ],
        "stores": [{"host": "store.example.org", "name": "store.example.org", "vpn_address": "10.99.0.31"}],
        "vpn_networks": ["10.99.0.0/24"],
        "rollout": 20,
        "domains": [
            {"name": "example.org", "lmtp": {
                "name": "store.example.org", "address": "10.99.0.31", "port": 24,
                "socket": "/run/gatehouse-lmtp/store.example.org",
            }},
        ],
        "own_names": ["mx1.example.org", "mx2.example.org"],
        "mailboxes": ["alice@example.org", "bob@example.org"],
        "aliases": {
            address: ["alice@example.org"]
            for address in (
                "abuse@example.org", "abuse@mx1.example.org", "abuse@mx2.example.org", "info@example.org",
                "postmaster@example.org", "postmaster@mx1.example.org", "postmaster@mx2.example.org",
                "root@mx1.example.org", "root@mx2.example.org",
            )
        },
        "postmaster": "alice@example.org",
        "ports": {
            "smtp": 25, "submission": 32841, "submission_starttls": 587, "submissions": 465, "lmtp": 24, "imaps": 993,
            "managesieve": 4190, "pop3s": 995,
            "greylist": 60000,
        },
        "users": "inventory",
        "sieve": True,
        "pop3": False,
        "quota": 0,
        "mailbox_quotas": {},
        "submission": False,
        "stored_senders": {},
        "self_sender_domains": [],
        "submission_public_addresses": [],
        "way_out": {"name": "", "login": "", "gateways": [], "records": []},
        "logins": {},
        "senders": {},
        "dkim_senders": {},
        "submission_zones": ["vpn"],
        "mail_host_logins": [],
        "any_from_logins": [],
        "policyd_spf": False,
        "strict_from": False,
        "judges": ["gatehouse-dmarc"],
        "milter_chains": {
            "smtp": ["opendkim", "gatehouse-dmarc", "clamav-milter"],
            "submission": [],
            "local": ["opendkim", "opendkim-ed25519"],
        },
        "virus_scanner": True,
        "spamassassin": False,
        "statistics": True,
        "milters": [
            {
                "name": name, "unit": name, "group": group, "default_action": "tempfail",
                "listen": f"local:/run/{folder}/{name}.sock", "connect": f"unix:/run/{folder}/{name}.sock",
            }
            for name, folder, group in (
                ("opendkim", "opendkim", "opendkim"),
                ("opendkim-ed25519", "opendkim", "opendkim"),
                ("gatehouse-dmarc", "gatehouse-dmarc", "gatehouse-dmarc"),
                ("clamav-milter", "clamav-milter", "clamilt"),
            )
        ],
        "recipient_delimiter": "+",
        "message_size_limit": 52428800,
        "dns_lists": [
            {
                "zone": zone, "kind": "address", "listed": "2.0.0.127", "unlisted": "1.0.0.127", "try": False,
                "keyed": keyed,
                "uses": [
                    {"use": use, "codes": codes, "name": f"dns_list_{zone.replace('.', '_')}_{use}", "weight": weight}
                    for use, codes, weight in uses
                ],
            }
            for zone, keyed, uses in (
                (
                    "list.dnswl.org", None,
                    [("trust", "127.0.[0..254].[2..3]", -4), ("skip_greylisting", "127.0.[0..254].[0..1]", -2)],
                ),
                ("zen.spamhaus.org", "zen.dq.spamhaus.net", [("refuse", "127.0.0.[2..11]", 3)]),
            )
        ],
        "postscreen": False,
        "keyed_zones": {},
        "tried_checks": [],
        "access": {"clients": [], "senders": [], "recipients": []},
        "greylist": {
            "host": "store.example.org", "listen": "10.99.0.31:60000", "connect": "inet:10.99.0.31:60000", "delay": 60,
            "exceptions": {"clients": [], "recipients": []},
        },
        "slow_destinations": [],
        "relayhost": {"host": "", "port": 0, "login": ""},
        "recipients": {
            "shrink": 50,
            "max_age": 24,
            "grace": 0,
            "mail_hosts": [],
            "first_aliases": {},
            "first_deferred": {},
            "domains": [],
        },
        "recipients_sources": [],
        "recipients_ssh_port": 0,
        "bans": {
            "on": True,
            "never": [
                "127.0.0.0/8", "::1/128", "10.99.0.0/24", "10.99.0.11/32", "10.99.0.12/32", "10.99.0.31/32",
                "198.51.100.11/32", "198.51.100.12/32", "198.51.100.31/32", "2001:db8:51::11/128",
            ],
            "allow_lists": [{"zone": "list.dnswl.org", "codes": "127.0.[0..254].[2..3]"}],
        },
        "clear_secrets": False,
        "reserved_ports": [],
        "selinux_ports": [],
        "certificate_files": [],
        "dns": {
            "ttl": 3600,
            "zones": [],
            "domains": [
                {
                    "name": "example.org",
                    "spf": "v=spf1 ip4:198.51.100.11 ip6:2001:db8:51::11 ip4:198.51.100.12 -all",
                    "dmarc": "v=DMARC1; p=none; np=reject; rua=mailto:alice@example.org",
                    "reports": [], "caa": [], "dkim_test": False,
                },
            ],
            "caa": [],
            "warnings": [],
        },
        "dkim": [],
        "dkim_rotation": {"published": 86400, "lifetime": 15552000, "retired": 1209600},
        "secrets": [
            "vault_mail_password_hashes", "vault_mail_tsig_keys", "vault_mail_ca_passphrase",
            "vault_mail_login_passwords", "vault_mail_relayhost_password", "vault_mail_dkim_keys",
            "vault_mail_dns_list_keys",
        ],
    }  # fmt: skip
    smtp = [{"name": "smtp", "port": 25, "protocol": "tcp", "zones": ["internet", "vpn"]}]
    dovecot = [
        {"name": "lmtp", "port": 24, "protocol": "tcp", "zones": ["vpn"], "sources": ["10.99.0.11", "10.99.0.12"]},
        {"name": "imaps", "port": 993, "protocol": "tcp", "zones": ["vpn"]},
        {"name": "managesieve", "port": 4190, "protocol": "tcp", "zones": ["vpn"]},
        {
            "name": "greylist",
            "port": 60000,
            "protocol": "tcp",
            "zones": ["vpn"],
            "sources": ["10.99.0.11", "10.99.0.12"],
        },
    ]
    milter = {"proto": "tcp", "setype": "milter_port_t", "state": "absent"}
    off = {
        # Ports of milters on TCP, and of submission, for which there are no logins.
        "selinux_ports_absent": [
            {"port": "32841", "proto": "tcp", "setype": "smtp_port_t", "state": "absent"},
            *({**milter, "port": port} for port in ("8892", "8894", "8895")),
        ],
        "absent": ["pushed_recipients", "opendmarc", "spamassassin", "spf", "greylist"],
    }
    mx1_networks = ["198.51.100.11/32", "2001:db8:51::11/128"]
    mx2_networks = ["198.51.100.12/32"]

    def tls(*public):  # nobody has a login here
        pairs = {
            name: {"certificate": f"/etc/pki/gatehouse/{name}.crt", "key": f"/etc/pki/gatehouse/{name}.key"}
            for name in ("private", *public)
        }
        both = {"name": "private", "algorithm": "ECDSA", "usage": ["serverAuth", "clientAuth"]}
        issued = [{"name": name, "algorithm": name[7:].upper(), "usage": ["serverAuth"]} for name in public]
        return {
            "directory": "/etc/pki/gatehouse",
            "ca": "/etc/pki/gatehouse/ca.crt",
            "issued": [both, *issued],
            "private": pairs["private"],
            "public": [pairs[name] for name in public],
            "submission": [],
            "openssl_conf": "/etc/pki/gatehouse/openssl.cnf",
            "ciphers": [
                "ECDHE-ECDSA-AES256-GCM-SHA384",
                "ECDHE-RSA-AES256-GCM-SHA384",
                "ECDHE-ECDSA-CHACHA20-POLY1305",
                "ECDHE-RSA-CHACHA20-POLY1305",
                "ECDHE-ECDSA-AES128-GCM-SHA256",
                "ECDHE-RSA-AES128-GCM-SHA256",
            ],
            "signature_algorithms": [
                "ECDSA+SHA256",
                "ECDSA+SHA384",
                "ECDSA+SHA512",
                "ed25519",
                "ed448",
                "RSA-PSS+SHA256",
                "RSA-PSS+SHA384",
                "RSA-PSS+SHA512",
                "RSA+SHA256",
                "RSA+SHA384",
                "RSA+SHA512",
            ],
            "old_signature_algorithms": ["ECDSA+SHA1", "RSA+SHA1"],
        }

    assert _model.build(*inventory()) == {
        "mx1.example.org": {
            **shared,
            "me": {
                "host": "mx1.example.org", "name": "mx1.example.org", "short": "mx1", "group": "mail_gateways",
                "preference": 10, "backup": False, "ipv4": "198.51.100.11", "ipv6": "2001:db8:51::11",
                "vpn_address": "10.99.0.11", "vpn_interface": "wg0",
            },
            "exempt": ["10.99.0.0/24", *mx2_networks],
            "listen": smtp,
            "jails": [{"name": "gatehouse-smtp", "port": 25}],
            "stored_mailboxes": [],
            **off,
            "tls": tls("public-ecdsa", "public-rsa"),
        },
        "mx2.example.org": {
            **shared,
            "me": {
                "host": "mx2.example.org", "name": "mx2.example.org", "short": "mx2", "group": "mail_gateways",
                "preference": 20, "backup": True, "ipv4": "198.51.100.12", "ipv6": None,
                "vpn_address": "10.99.0.12", "vpn_interface": "wg0",
            },
            "exempt": ["10.99.0.0/24", *mx1_networks],
            "listen": smtp,
            "jails": [{"name": "gatehouse-smtp", "port": 25}],
            "stored_mailboxes": [],
            **off,
            "tls": tls("public-ecdsa", "public-rsa"),
        },
        "store.example.org": {
            **shared,
            "me": {
                "host": "store.example.org", "name": "store.example.org", "short": "store", "group": "mail_stores",
                "preference": None, "backup": False, "ipv4": "198.51.100.31", "ipv6": None,
                "vpn_address": "10.99.0.31", "vpn_interface": "wg0",
            },
            "exempt": ["10.99.0.0/24", mx1_networks[0], mx2_networks[0], mx1_networks[1]],
            "listen": dovecot,
            "jails": [{"name": "gatehouse-imap", "port": 993}, {"name": "gatehouse-managesieve", "port": 4190}],
            "stored_mailboxes": ["alice@example.org", "bob@example.org"],
            "reserved_ports": [60000],
            "selinux_ports_absent": [{**milter, "port": "8892"}],
            "absent": ["recipients", "submission", "dmarc"],
            "tls": tls(),
        },
    }  # fmt: skip


def rich():
    """Two stores, three domains, chains of aliases, an external target, ports in the ephemeral range, capitals."""
    changes = {
        "all": {
            "mail_vpn_networks": ["fd00:99::/64", "10.99.0.0/24", "10.100.0.0/24"],
            "mail_domains": [
                {"name": "Example.org", "store": "store2"},
                {"name": "example.net", "store": "store.example.org"},
                {"name": "quiet.example", "store": "STORE2.example.org", "allow_empty": True},
            ],
            "mail_mailboxes": ["Bob@example.net", "alice@example.org"],
            "mail_aliases": {
                "team@example.net": ["office@example.net", "alice@example.org", "Far@else.example"],
                "office@example.net": ["bob@example.net", "help@example.org"],
                "help@example.org": "alice@example.org",
                "abuse@quiet.example": "bob@example.net",
                "root@mx1.example.org": "postmaster@quiet.example",
                "pm@example.org": ["alice@example.org"],
            },
            "mail_external_targets": ["far@Else.example"],
            "mail_postmaster": "PM@example.org",
            "mail_ports": {"imaps": 60999, "lmtp": 32768},
            "mail_recipient_delimiter": "",
            "vault_mail_password_hashes": {"Alice@example.org": ARGON2ID, "bob@example.net": BCRYPT},
            "mail_model": {"of": "a former run"},
            "vault_mail_later": "not counted yet",
        },
        "mx1.example.org": {
            "mail_preference": 20,
            "mail_vpn_address": "FD00:99::11",
            "mail_certificate_files": [
                {"certificate": "z.crt", "key": "z.key"},
                {"certificate": "a.crt", "key": "a.key"},
            ],
        },
        "store2": STORE2,
    }
    return inventory(changes, MANY)


def test_a_rich_site_in_its_parts():
    models = _model.build(*rich())
    store = models["store2"]
    assert [(domain["name"], *domain["lmtp"].values()) for domain in store["domains"]] == [
        ("example.net", "store.example.org", "10.99.0.31", 32768, "/run/gatehouse-lmtp/store.example.org"),
        ("example.org", "store2.example.org", "10.99.0.32", 32768, "/run/gatehouse-lmtp/store2.example.org"),
        ("quiet.example", "store2.example.org", "10.99.0.32", 32768, "/run/gatehouse-lmtp/store2.example.org"),
    ]
    assert store["stored_mailboxes"] == [name for name in store["mailboxes"] if not name.endswith("@example.net")]
    assert {name for model in models.values() for name in model["stored_mailboxes"]} == set(store["mailboxes"])
    assert models["mx1.example.org"]["stored_mailboxes"] == []
    assert store["aliases"] == {
        "abuse@example.net": ["alice@example.org"],
        "abuse@example.org": ["alice@example.org"],
        "abuse@mx1.example.org": ["alice@example.org"],
        "abuse@mx2.example.org": ["alice@example.org"],
        "abuse@quiet.example": ["bob@example.net"],
        "help@example.org": ["alice@example.org"],
        "office@example.net": ["alice@example.org", "bob@example.net"],
        "pm@example.org": ["alice@example.org"],
        "postmaster@example.net": ["alice@example.org"],
        "postmaster@example.org": ["alice@example.org"],
        "postmaster@mx1.example.org": ["alice@example.org"],
        "postmaster@mx2.example.org": ["alice@example.org"],
        "postmaster@quiet.example": ["alice@example.org"],
        "root@mx1.example.org": ["alice@example.org"],
        "root@mx2.example.org": ["alice@example.org"],
        "team@example.net": ["alice@example.org", "bob@example.net", "far@else.example"],
    }
    assert store["mailboxes"] == ["alice@example.org", "bob@example.net"]
    assert store["postmaster"] == "pm@example.org"
    assert store["reserved_ports"] == [32768, 60999]
    assert models["store.example.org"]["reserved_ports"] == [32768, 60000, 60999]
    assert models["mx1.example.org"]["reserved_ports"] == []
    assert store["recipient_delimiter"] == ""
    assert store["vpn_networks"] == ["10.100.0.0/24", "10.99.0.0/24", "fd00:99::/64"]
    assert [each["host"] for each in store["stores"]] == ["store.example.org", "store2"]
    assert [each["host"] for each in store["gateways"]] == ["mx1.example.org", "mx2.example.org"]
    assert models["mx1.example.org"]["me"]["vpn_address"] == "fd00:99::11"
    assert models["mx1.example.org"]["me"]["backup"] is False  # both have 20: neither is above the lowest
    assert models["mx1.example.org"]["certificate_files"] == [
        {"certificate": "z.crt", "key": "z.key"},
        {"certificate": "a.crt", "key": "a.key"},
    ]
    assert [each["name"] for each in models["mx1.example.org"]["tls"]["issued"]] == ["private"]
    assert [each["key"] for each in models["mx1.example.org"]["tls"]["public"]] == [
        "/etc/pki/gatehouse/public-0.key",
        "/etc/pki/gatehouse/public-1.key",
    ]


def test_a_chain_of_a_thousand_aliases_has_one_end():
    chain = {f"a{number}@example.org": f"a{number + 1}@example.org" for number in range(5000)}
    models = _model.build(*inventory(site(mail_aliases={**chain, "a5000@example.org": "bob@example.org"})))
    assert models["mx1.example.org"]["aliases"]["a0@example.org"] == ["bob@example.org"]


def shuffled(value, rng):
    """The same value with its mappings in another order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key], rng) for key in rng.sample(list(value), len(value))}
    if isinstance(value, list):
        return [shuffled(item, rng) for item in value]
    return value


@pytest.mark.parametrize("make", [inventory, rich])
def test_the_order_of_the_inventory_changes_no_byte(make):
    hosts, groups = make()
    expected = json.dumps(_model.build(hosts, groups))
    for seed in range(30):
        rng = random.Random(seed)  # noqa: S311 (an order to try, no secret)
        others = shuffled(hosts, rng)
        for key in ("mail_domains", "mail_mailboxes", "mail_vpn_networks"):
            items = next(iter(hosts.values()))[key]
            items = rng.sample(items, len(items))
            for variables in others.values():
                variables[key] = items
        gateways = rng.sample(groups["mail_gateways"], len(groups["mail_gateways"]))
        assert json.dumps(_model.build(others, shuffled({**groups, "mail_gateways": gateways}, rng))) == expected


def leaks(text, secrets):
    """Those of the secrets that text holds, raw or in base64 at any of the three offsets."""
    found = set()
    for secret in secrets:
        raw = secret.encode()
        forms = [base64.b64encode(b"\0" * offset + raw)[4 if offset else 0 : -4] for offset in range(3)]
        if any(form in text.encode() for form in [raw, *forms]):
            found.add(secret)
    return found


def test_no_secret_is_in_the_models():
    secrets = [*HASHES.values(), *(value.partition("}")[2] for value in HASHES.values())]
    text = json.dumps(_model.build(*inventory()))
    assert leaks(text, secrets) == set()
    for leak in (
        secrets[0],
        base64.b64encode(secrets[1].encode()).decode(),
        base64.b64encode(b"\0alice\0" + secrets[2].encode()).decode(),
    ):
        assert leaks(text + leak, secrets)


def test_no_secret_is_in_a_message():
    for name, (changes, *_words) in BAD_VALUES.items():
        text = "\n".join(problems_of(changes))
        assert leaks(text, [*HASHES.values(), "hunter2"]) == set(), name
    assert leaks("alice: hunter2", ["hunter2"]) == {"hunter2"}


def test_the_given_values_are_left_as_they_were():
    hosts, groups = rich()
    before = copy.deepcopy((hosts, groups))
    _model.build(hosts, groups)
    assert (hosts, groups) == before


def test_time_grows_with_the_site_not_with_its_square():
    """Four times the gateways and domains in at most ten times the time: linear has 4, square 16."""

    def seconds(gateways, count):
        names = [f"d{number}.example" for number in range(count)]
        shared = {
            "mail_vpn_networks": ["10.99.0.0/16"],
            "mail_domains": [{"name": name} for name in names],
            "mail_mailboxes": [f"alice@{name}" for name in names],
            "mail_aliases": {f"info@{name}": f"alice@{name}" for name in names},
            "mail_postmaster": "alice@d0.example",
            "mail_unrouted_addresses": True,
            "vault_mail_password_hashes": {f"alice@{name}": BCRYPT for name in names},
        }
        hosts = {"store.example.org": {**copy.deepcopy(shared), "mail_vpn_address": "10.99.255.1"}}
        for number in range(1, gateways + 1):
            hosts[f"mx{number}.example.org"] = {
                **copy.deepcopy(shared),
                "mail_ipv6": f"2001:db8::{number:x}",
                "mail_vpn_address": str(ipaddress.ip_address("10.99.0.0") + number),
            }
        groups = {"mail_gateways": [host for host in hosts if host[0] == "m"], "mail_stores": ["store.example.org"]}
        times = []
        for _attempt in range(3):
            start = time.process_time()
            _model.build(hosts, groups)
            times.append(time.process_time() - start)
        return min(times)

    small, large = seconds(25, 500), seconds(100, 2000)
    assert large < 10 * small


def test_a_port_without_a_label_gets_one_where_it_is_listened_on():
    models = _model.build(*inventory(site(mail_ports={"lmtp": 2424, "imaps": 10993})))
    assert models["store.example.org"]["selinux_ports"] == [
        {"port": "2424", "proto": "tcp", "setype": "lmtp_port_t"},
    ]
    assert models["mx1.example.org"]["selinux_ports"] == []


def test_what_is_switched_off_is_absent_and_has_no_label():
    off = {
        "mail_virus_scanner": False,
        "mail_greylisting": False,
        "mail_statistics": False,
        "mail_ports": {"greylist": 10023},
    }
    models = _model.build(*inventory(site(**off)))
    always = ["pushed_recipients", "clamav", "opendmarc", "spamassassin", "spf"]
    assert models["mx1.example.org"]["absent"] == [*always, "awstats", "greylist"]
    assert models["store.example.org"]["absent"] == ["recipients", "submission", "dmarc", "greylist"]
    types = {"10023": "postgrey_port_t", "8892": "milter_port_t"}
    gone = [{"port": port, "proto": "tcp", "setype": setype, "state": "absent"} for port, setype in types.items()]
    assert models["store.example.org"]["selinux_ports_absent"] == gone
    chosen = {"mail_dmarc_judge": "opendmarc", "mail_policyd_spf": True, "mail_spamassassin": True}
    assert _model.build(*inventory(site(**chosen)))["mx2.example.org"]["absent"] == [
        "pushed_recipients",
        "dmarc",
        "greylist",
    ]


def test_ports_that_are_offered_have_their_jails():
    changes = {**site(mail_logins={"alice@example.org": "alice@example.org"}, mail_ports={"imaps": 10993})["all"]}
    changes["vault_mail_login_passwords"] = {"alice@example.org": "x" * 24}
    models = _model.build(*inventory({"all": changes}))
    assert models["mx1.example.org"]["jails"] == [
        {"name": "gatehouse-smtp", "port": 25},
        {"name": "gatehouse-submission", "port": 32841},
    ]
    assert models["store.example.org"]["jails"] == [
        {"name": "gatehouse-imap", "port": 10993},
        {"name": "gatehouse-managesieve", "port": 4190},
    ]


def test_pop3_is_offered_where_it_is_asked_for():
    store = _model.build(*inventory(site(mail_pop3=True)))["store.example.org"]
    assert {"name": "pop3s", "port": 995, "protocol": "tcp", "zones": ["vpn"]} in store["listen"]
    assert {"name": "gatehouse-pop3", "port": 995} in store["jails"]


def test_a_quota_is_bytes_and_a_mailbox_may_have_its_own():
    own = {"Alice@example.org": "2T", "bob@example.org": "none"}
    model = _model.build(*inventory(site(mail_quota="10G", mail_mailbox_quotas=own)))["store.example.org"]
    assert model["quota"] == 10 * 2**30
    assert model["mailbox_quotas"] == {"alice@example.org": 2 * 2**40, "bob@example.org": 0}


def test_without_sieve_nothing_of_it_is_offered():
    off = site(mail_sieve=False, mail_ports={"managesieve": 14190})
    store = _model.build(*inventory(off))["store.example.org"]
    assert [entry["name"] for entry in store["listen"]] == ["lmtp", "imaps", "greylist"]
    assert store["jails"] == [{"name": "gatehouse-imap", "port": 993}]
    gone = {"port": "14190", "proto": "tcp", "setype": "sieve_port_t", "state": "absent"}
    assert gone in store["selinux_ports_absent"]
    on = _model.build(*inventory(site(mail_ports={"managesieve": 14190})))["store.example.org"]
    assert on["selinux_ports"] == [{"port": "14190", "proto": "tcp", "setype": "sieve_port_t"}]


def test_without_bans_there_is_no_jail_and_the_role_is_absent():
    for host, model in _model.build(*inventory(site(mail_bans=False))).items():
        assert model["jails"] == []
        assert model["absent"][-1] == "fail2ban", host


def test_gateways_and_mail_hosts_are_not_banned_where_the_vpn_is():
    exempt = ["203.0.113.0/24", "2001:db8:7::1"]
    models = _model.build(*inventory(site(mail_bans_vpn=True, mail_bans_exempt=exempt)))
    assert models["mx1.example.org"]["bans"]["never"] == [
        *("127.0.0.0/8", "::1/128", "10.99.0.11/32", "10.99.0.12/32", "10.99.0.31/32", "198.51.100.11/32"),
        *("198.51.100.12/32", "198.51.100.31/32", "2001:db8:51::11/128", "2001:db8:7::1/128", "203.0.113.0/24"),
    ]


def test_slow_destinations_have_a_pace_each():
    classes = [
        {"domains": ["Far.example", "away.example"], "concurrency": 2},
        {"domains": ["last.example"], "delay": 5},
    ]
    for model in _model.build(*inventory(slow(*classes))).values():
        assert model["slow_destinations"] == [
            {"domains": ["away.example", "far.example"], "concurrency": 2, "delay": 0},
            {"domains": ["last.example"], "concurrency": 1, "delay": 5},
        ]


def greylist_ports(models):
    """{host: (port, SELinux label)} of those that listen for the greylist."""
    return {
        host: (entry["port"], [label["setype"] for label in model["selinux_ports"]])
        for host, model in models.items()
        for entry in model["listen"]
        if entry["name"] == "greylist"
    }


TWO_STORES = {**site(mail_domains=[{"name": "example.org", "store": "store.example.org"}]), "store2": STORE2}


def test_one_store_keeps_the_greylist():
    assert greylist_ports(_model.build(*inventory(TWO_STORES, MANY))) == {"store.example.org": (60000, [])}
    changes = {**TWO_STORES, "all": {**TWO_STORES["all"], "mail_ports": {"greylist": 10023}}}
    chosen = _model.build(*inventory(changes, {**MANY, "mail_greylist": ["store2"]}))
    assert greylist_ports(chosen) == {"store2": (10023, ["postgrey_port_t"])}
    assert all(model["greylist"]["connect"] == "inet:10.99.0.32:10023" for model in chosen.values())


def test_a_greylist_on_ipv6_has_brackets():
    changes = {
        "all": {"mail_vpn_networks": ["10.99.0.0/24", "fd00:99::/64"]},
        "store.example.org": {"mail_vpn_address": "fd00:99::31"},
    }
    greylist = _model.build(*inventory(changes))["mx1.example.org"]["greylist"]
    assert greylist["listen"] == "[fd00:99::31]:60000"
    assert greylist["connect"] == "inet:[fd00:99::31]:60000"


def test_without_greylisting_nothing_listens_and_nothing_is_asked():
    models = _model.build(*inventory(site(mail_greylisting=False)))
    assert greylist_ports(models) == {}
    assert models["store.example.org"]["reserved_ports"] == []
    assert models["mx1.example.org"]["greylist"]["host"] is None
    assert models["mx1.example.org"]["greylist"]["connect"] == ""


GREYLIST_GROUPS = {
    "two hosts": (
        ["store.example.org", "store2"],
        "group mail_greylist: has 2 hosts (store.example.org, store2); leave one in it: all gateways share",
    ),
    "a gateway": (
        ["mx1.example.org"],
        "host mx1.example.org: is in mail_greylist, but not in mail_stores; write one of store.example.org, store2",
    ),
    "a stranger": (["elsewhere"], "host elsewhere: is in mail_greylist, but not in mail_stores; write one of"),
}


@pytest.mark.parametrize("hosts, said", GREYLIST_GROUPS.values(), ids=GREYLIST_GROUPS)
def test_the_greylist_has_one_host_and_it_is_a_store(hosts, said):
    hosts_and_variables, groups = inventory(TWO_STORES, MANY)
    with pytest.raises(_inventory.InventoryError) as caught:
        _model.build(hosts_and_variables, {**groups, "mail_greylist": hosts})
    (problem,) = caught.value.problems
    assert problem.startswith(said)


def test_a_gateway_taken_out_leaves_no_trace():
    hosts, groups = inventory()
    groups = {**groups, "mail_gateways": ["mx1.example.org"]}
    assert "mx2" in json.dumps(_model.build(*inventory())["mx1.example.org"])  # the control
    assert "mx2" not in json.dumps(_model.build(hosts, groups))


B64 = "A" * 43
WHOLE_HASHES = {
    "2a": "{BLF-CRYPT}$2a$04$" + "." * 53,
    "2b": "{BLF-CRYPT}$2b$17$" + "u" * 53,
    "2y": BCRYPT,
    "SHA-512": "{SHA512-CRYPT}$6$salt$" + "x" * 85 + "1",
    "SHA-512 with rounds": "{SHA512-CRYPT}$6$rounds=656000$saltsaltsaltsalt$" + "x" * 85 + "/",
    "SHA-256": "{SHA256-CRYPT}$5$salt$" + "x" * 42 + "D",
    "Argon2id": ARGON2ID,
    "Argon2i": "{ARGON2I}$argon2i$v=19$m=4096,t=3,p=1$" + "A" * 22 + "$" + B64,
    "Argon2id of four lanes": "{ARGON2ID}$argon2id$v=19$m=196608,t=3,p=4$" + "A" * 22 + "$" + B64,
}
NO_HASHES = {
    "a password behind a scheme": "{BLF-CRYPT}hunter2hunter2",
    "cut short": BCRYPT[:-1],
    "one too many": BCRYPT + "x",
    "another's body": "{SHA512-CRYPT}" + BCRYPT[11:],
    "no such version": "{BLF-CRYPT}$2x$05$" + "x" * 53,
    "a cost that is none": "{BLF-CRYPT}$2y$03$" + "x" * 53,
    "SHA-512 cut short": "{SHA512-CRYPT}$6$salt$" + "x" * 85,
    "SHA-512 without salt": "{SHA512-CRYPT}$6$" + "x" * 86,
    "SHA-256's length for SHA-512": "{SHA512-CRYPT}$6$salt$" + "x" * 43,
    "SHA-256 cut short": "{SHA256-CRYPT}$5$salt$" + "x" * 42,
    "Argon2id by the name of Argon2i": "{ARGON2I}" + ARGON2ID[10:],
    "Argon2 without its digest": ARGON2ID.rpartition("$")[0],
    "Argon2 without parameters": "{ARGON2ID}$argon2id$v=19$" + "A" * 22 + "$" + B64,
    "a space at the end": BCRYPT + " ",
    "a last character that no digest has": BCRYPT[:-1] + "x",
    "a salt that no one has": "{BLF-CRYPT}$2y$05$" + "x" * 22 + "u" * 31,
    "a cost that no login waits for": "{BLF-CRYPT}$2y$18$" + "u" * 53,
    "SHA-512 with a foreign end": "{SHA512-CRYPT}$6$salt$" + "x" * 86,
    "SHA-256 with a foreign end": "{SHA256-CRYPT}$5$salt$" + "x" * 43,
    "a salt that crypt refuses": "{SHA512-CRYPT}$6$sa;lt$" + "x" * 85 + "1",
    "rounds that no login waits for": "{SHA512-CRYPT}$6$rounds=99999999$salt$" + "x" * 85 + "1",
    "Argon2 cut short by one": ARGON2ID[:-1],
    "Argon2 longer by one": ARGON2ID + "x",
    "Argon2 with a foreign end": ARGON2ID[:-1] + "x",
    "Argon2 with less memory than lanes": "{ARGON2ID}$argon2id$v=19$m=8,t=3,p=4$" + "A" * 22 + "$" + B64,
}


@pytest.mark.parametrize("value", WHOLE_HASHES.values(), ids=WHOLE_HASHES)
def test_a_whole_hash_is_taken(value):
    assert _model.build(*inventory(hashes(alice=value)))


@pytest.mark.parametrize("value", NO_HASHES.values(), ids=NO_HASHES)
def test_a_hash_that_no_one_can_use_is_refused_by_address_and_scheme(value):
    (problem,) = problems_of(hashes(alice=value))
    scheme = value[1 : value.index("}")]
    place = 'host mx1.example.org: vault_mail_password_hashes["alice@example.org"]: '
    assert problem.startswith(f"{place}is not a hash of its scheme {scheme}, which is $")
    assert value.partition("}")[2] not in problem


def test_a_hash_that_takes_more_memory_than_a_login_has_is_refused():
    (problem,) = problems_of(hashes(alice="{ARGON2ID}$argon2id$v=19$m=262144,t=1,p=1$" + "A" * 22 + "$" + B64))
    assert "takes more memory (m=) than Dovecot has for a login" in problem


@pytest.mark.parametrize("value, why", [(12345678901234, "is an integer, not a string"), (True, "is a boolean"),
                                        ("x", "is shorter than 12"), ("hunter2hunt", "is shorter than 12"),
                                        ("hunter2\nhunter2", "or has a line break"), (None, "is empty")])  # fmt: skip
def test_a_passphrase_of_the_ca_that_protects_nothing_is_refused(value, why):
    (problem, *_others) = problems_of(site(vault_mail_ca_passphrase=value))
    assert problem.startswith("host mx1.example.org: vault_mail_ca_passphrase: ") and why in problem
    assert "hunter2" not in problem
    assert _model.build(*inventory(site(vault_mail_ca_passphrase="twelve chars")))


UNROUTED = {
    "192.168.1.12": "private",
    "10.1.2.3": "private",
    "172.31.0.1": "private",
    "100.127.0.1": "carrier-grade NAT",
    "192.0.2.12": "for documentation",
    "203.0.113.12": "for documentation",
    "198.19.0.12": "for benchmarks",
    "192.0.0.9": "for special use",
    "2001:db8:1::12": "for documentation",
    "3fff:1::12": "for documentation",
    "fd00::12": "private",
    "fec0::12": "private",
}


@pytest.mark.parametrize("address, use", UNROUTED.items(), ids=UNROUTED)
def test_an_address_that_the_world_cannot_reach_wants_a_word(address, use):
    key = f"mail_ipv{6 if ':' in address else 4}"
    public = {"mail_ipv4": "8.8.4.4", "mail_ipv6": ...}
    hosts = {"mx1.example.org": public, "mx2.example.org": {"mail_ipv4": "9.9.9.9", key: address},
             "store.example.org": {"mail_ipv4": ...}}  # fmt: skip
    (problem,) = problems_of({"all": {"mail_unrouted_addresses": ...}, **hosts})
    assert problem.startswith(f'host mx2.example.org: {key}: "{address}" is not public ({use}); write ')
    assert _model.build(*inventory(hosts))["mx2.example.org"]["me"][key[5:]] == address


@pytest.mark.parametrize("address", ["100.128.0.1", "172.32.0.1", "192.0.3.1", "198.20.0.1", "2606:4700::1"])
def test_an_address_beside_those_is_public(address):
    key = f"mail_ipv{6 if ':' in address else 4}"
    public = {"mx1.example.org": {"mail_ipv4": "8.8.4.4", "mail_ipv6": ...}, "store.example.org": {"mail_ipv4": ...}}
    hosts = {**public, "mx2.example.org": {"mail_ipv4": ..., key: address}}
    assert _model.build(*inventory({"all": {"mail_unrouted_addresses": ...}, **hosts}))


# What INI and the command line make of `false`, `30000000` and the like.
WORDS = {
    "mail_postscreen": ("false", "True", "yes"),
    "mail_virus_scanner": ("FALSE", "no"),
    "mail_statistics": ("False",),
    "mail_message_size_limit": ("30000000",),
    "mail_greylist_delay": ("60",),
    "mail_ports": ({"imaps": "10993"},),
}


@pytest.mark.parametrize("name, word", [(name, word) for name, words in WORDS.items() for word in words])
def test_a_word_that_can_only_mean_one_thing_is_taken(name, word):
    meant = yaml.safe_load(word if isinstance(word, str) else json.dumps(word).replace('"10993"', "10993"))
    assert _model.build(*inventory(site(**{name: word}))) == _model.build(*inventory(site(**{name: meant})))


@pytest.mark.parametrize(
    "values, said",
    [
        ({"mail_postscreen": "off"}, "write true or false, without quotes"),
        ({"mail_greylist_delay": "1m"}, "write an integer from 1 to 3600, without quotes"),
        ({"mail_dns_lists": "[]"}, 'write a list, such as ["zen.spamhaus.org", {zone: '),
        ({"mail_access": "{}"}, "write a mapping, such as {clients: "),
    ],
)  # fmt: skip
def test_the_remedy_holds_where_the_value_was_written(values, said):
    (problem,) = problems_of(site(**values))
    (name,) = values
    assert f"; {said}" in problem
    assert problem.endswith(f"; in INI as Python has it, with -e as JSON: -e '{{\"{name}\": …}}'")


def test_a_number_in_words_is_held_to_its_range():
    (problem,) = problems_of(site(mail_greylist_delay="-1"))
    assert "mail_greylist_delay: -1 is out of range; write an integer from 1 to 3600" in problem


def pushes(*sources, **gateway):
    return {"store.example.org": {"mail_recipients_sources": list(sources)}, "mx1.example.org": gateway}


USERS = {"users_file": "/etc/dovecot/people"}
BAD_SOURCES = {
    "an unknown one": ([{"user_file": "/x"}], "did you mean users_file?"),
    "two in one": ([{**USERS, "list": "/x"}], "[0]: has 2 sources"),
    "none": ([{"domain": "example.org"}], "[0]: has 0 sources"),
    "a word": (["/etc/people"], "is a string, not a mapping"),
    "a relative path": ([{"list": "people"}], '[0].list: "people" is not an absolute path'),
    "a path with a space": ([{"list": "/my people"}], '[0].list: "/my people" is not an absolute path'),
    "a command in a string": ([{"command": "/bin/addresses"}], "[0].command: "),
    "a command without a path": ([{"command": ["addresses"]}], "does not begin with a program's full path"),
    "a mask that is an option": ([{"doveadm": "-A"}], '[0].doveadm: "-A" is no mask of users'),
    "a foreign domain": (
        [{**USERS, "domain": "example.com"}],
        '[0].domain: "example.com" is no domain of this mail host',
    ),
    "the file of site.yml": (
        [{"users_file": "/etc/dovecot/../dovecot/users"}],
        "is written by site.yml from mail_mail",
    ),
    "the file of site.yml as a list": ([{"list": "/etc/dovecot/users"}], "is written by site.yml from mail_mailboxes"),
    "a group with a space": ([{"unix_group": "mail users"}], '"mail users" is no name of a group'),
}


@pytest.mark.parametrize("sources, reason", BAD_SOURCES.values(), ids=BAD_SOURCES)
def test_a_source_that_cannot_be_meant_is_refused(sources, reason):
    (problem,) = problems_of(pushes(*sources))
    assert problem.startswith("host store.example.org: mail_recipients_sources")
    assert reason in problem


def test_recipients_are_pushed_over_the_vpn_alone():
    (problem,) = problems_of(pushes(USERS, firewall_ssh_zones=["internet"]))
    assert problem.startswith("host mx1.example.org: firewall_ssh_zones: ['internet'] lacks vpn")
    for zones in (["vpn"], ["internet", "vpn"]):
        models = _model.build(*inventory(pushes(USERS, firewall_ssh_zones=zones, firewall_ssh_port=2222)))
        assert models["mx1.example.org"]["recipients_ssh_port"] == 2222
    _model.build(*inventory(mx1(firewall_ssh_zones=["internet"])))  # where nobody pushes


def test_who_pushes_is_known_to_both_sides():
    models = _model.build(*inventory(pushes(USERS, {"unix_group": "people", "domain": "example.org"})))
    assert models["store.example.org"]["recipients_sources"] == [
        {"kind": "users_file", "value": "/etc/dovecot/people", "domain": "example.org"},
        {"kind": "unix_group", "value": "people", "domain": "example.org"},
    ]
    assert models["store.example.org"]["recipients"]["domains"] == ["example.org"]
    assert models["store.example.org"]["self_sender_domains"] == []  # where nobody submits
    (host,) = models["mx2.example.org"]["recipients"]["mail_hosts"]
    assert host == {
        "host": "store.example.org",
        "name": "store.example.org",
        "vpn_address": "10.99.0.31",
        "domains": ["example.org"],
        "pushes": True,
        "mailboxes": ["alice@example.org", "bob@example.org"],
        "needed": ["alice@example.org"],
    }
    assert "recipients" not in models["store.example.org"]["absent"]
    assert "pushed_recipients" not in models["mx1.example.org"]["absent"]


def test_an_alias_may_end_where_recipients_are_pushed():
    changes = {**aliases(info="dora@example.org"), **pushes(USERS)}
    assert _model.build(*inventory(changes))["mx1.example.org"]["aliases"]["info@example.org"] == ["dora@example.org"]
    more = {**aliases(info="dora@example.org", both=["dora@example.org", "bob@example.org"]), **pushes(USERS)}
    first = _model.build(*inventory(more))["mx1.example.org"]["recipients"]["first_aliases"]
    assert "info@example.org" not in first  # mail for it would be returned
    assert first["both@example.org"] == ["bob@example.org"]
    assert first["postmaster@example.org"] == ["alice@example.org"]
    assert len(problems_of(aliases(info="dora@example.org"))) == 1
    assert len(problems_of({**aliases(info="dora@example.com"), **pushes(USERS)})) == 1


def test_a_domain_whose_recipients_are_pushed_needs_none_in_the_inventory():
    more = {"mail_domains": [{"name": "example.org"}, {"name": "example.net"}]}
    _model.build(*inventory({"all": more, **pushes(USERS)}))
    assert len(problems_of({"all": more})) == 1
