# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forty bad values, each answered with host, key, value and remedy, or tested where a file or a host is needed."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from generated import HOSTS, judged

ROOT = Path(__file__).parents[5]
SITE = HOSTS["mx1.example.org"]
SPF = [f"include:a{number}.example" for number in range(11)]


def pem(bits, encryption=None):
    key = rsa.generate_private_key(65537, bits)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()


def site(**variables):
    return dict.fromkeys(HOSTS, variables)


def domain(name):
    return site(mail_domains=[*SITE["mail_domains"], {"name": name, "allow_empty": True}])


def mailbox(address):
    return site(mail_mailboxes=[*SITE["mail_mailboxes"], address])


def password(text):
    return site(vault_mail_login_passwords={**SITE["vault_mail_login_passwords"], "alice@example.org": text})


def dns_list(**entry):
    return site(mail_dns_lists=[*SITE["mail_dns_lists"], entry])


def key(text):
    return site(vault_mail_dkim_keys={"example.org/mx1": text})


def reason(text):
    return site(mail_access={"senders": [{"match": "a@b.example", "then": "refuse", "reason": text}]})


DOMAIN, MAILBOX, VPN = "mail_domains[1].name: ", "mail_mailboxes[2]: ", "mail_vpn_networks[0]: "
PASSWORD, KEY = 'vault_mail_login_passwords["alice@example.org"]: ', 'vault_mail_dkim_keys["example.org/mx1"]: '
# number in the list: (changes, what is said of it after the host, up to the remedy)
REFUSED = {
    "1": (domain("exa mple.org"), DOMAIN + '"exa mple.org" is not a domain name (space at 4); write "example.org"'),
    "2": (domain(""), DOMAIN + '"" is not a domain name (empty); write '),
    "3": (domain("example.net."), DOMAIN + '"example.net." is not a domain name (trailing dot); write "example.net"'),
    "4": (domain("bücher.example"), DOMAIN + '"bücher.example" is not a domain name (not in A-labels); write "xn--'),
    "5": (domain("x" * 64 + ".org"), DOMAIN + f'"{"x" * 64}.org" is not a domain name (label of 64 characters); '),
    "6": (domain(".".join(["x" * 63] * 4)), "is not a domain name (255 characters); write at most 253"),
    "7": (domain("Example.org"), DOMAIN + '"Example.org" is the same domain as mail_domains[0].name; write it once'),
    "8": (
        domain("mx1.example.org"),
        DOMAIN + '"mx1.example.org" is the name of host mx1.example.org: it would be both',
    ),
    "9": (domain("*.example.net"), DOMAIN + '"*.example.net" is not a domain name (a wildcard); write each'),
    "10": (domain("localhost"), DOMAIN + '"localhost" is not a domain name (a single label); write the full name'),
    "11": (domain("192.0.2.1"), DOMAIN + '"192.0.2.1" is not a domain name (an IP address'),
    "12": (mailbox("carol"), MAILBOX + '"carol" is not an address (no "@"); write it in full'),
    "13": (mailbox("carol@else.example"), MAILBOX + '"carol@else.example" is in none of mail_domains; write'),
    "14": (
        mailbox("Alice@example.org"),
        MAILBOX + '"Alice@example.org" is the same address as mail_mailboxes[0]; write',
    ),
    "15": (
        site(mail_domains=[*SITE["mail_domains"], {"name": "example.net"}]),
        DOMAIN + '"example.net" has no mailbox and no alias; write one, or allow_empty: true',
    ),
    "17, newline": (mailbox("carol\n@example.org"), MAILBOX + r'"carol\n@example.org" is not an address (control'),
    "17, return": (mailbox("carol\r@example.org"), MAILBOX + r'"carol\r@example.org" is not an address (control'),
    "17, NUL": (mailbox("carol\0@example.org"), MAILBOX + r'"carol\u0000@example.org" is not an address (control'),
    "18, comment": (mailbox("#carol@example.org"), MAILBOX + '"#carol@example.org" is not an address (leading "#"); '),
    "18, space": (mailbox(" carol@example.org"), MAILBOX + '" carol@example.org" is not an address (space at 1); '),
    "20": (mailbox("@example.org"), MAILBOX + '"@example.org" is not an address (a catch-all); write each address'),
    "21": (site(mail_vpn_networks=["0.0.0.0/0"]), VPN + '"0.0.0.0/0" is not private; write a network within'),
    "21, IPv6": (site(mail_vpn_networks=["::/0"]), VPN + '"::/0" is not private; write a network within'),
    "22": (site(mail_vpn_networks=["10.0.0.0/8"]), VPN + '"10.0.0.0/8" is too wide; write a network of /16 or longer'),
    "22, public": (
        site(mail_vpn_networks=["203.0.113.0/24"]),
        VPN + '"203.0.113.0/24" is not private; write a network',
    ),
    "23": (site(mail_vpn_networks=["10.99.0.1/24"]), VPN + '"10.99.0.1/24" has host bits set; write "10.99.0.0/24"'),
    "24": (
        {"mx1.example.org": {"mail_ipv6": "[2001:db8::1]"}},
        'mail_ipv6: "[2001:db8::1]" is not an IP address; write an address such as',
    ),
    "25, 0": (site(mail_ports={"imaps": 0}), "mail_ports.imaps: 0 is out of range; write an integer from 1 to 65535"),
    "25, 65536": (site(mail_ports={"imaps": 65536}), "mail_ports.imaps: 65536 is out of range; write an integer"),
    "25, a word": (site(mail_ports={"imaps": "587x"}), 'mail_ports.imaps: "587x" is a string, not an integer; write'),
    "25, submission": (
        site(mail_ports={"submission": 25}),
        "mail_ports.submission: 25 is the port of smtp; write a port",
    ),
    "26": (site(mail_vpn_networks=[]), "mail_vpn_networks: is an empty list; write the VPN's networks"),
    "31": (key(pem(1024)), KEY + "has 1024 bits, where 2048 to 4096 are meant; write a private key in PEM"),
    "32, not PEM": (key("hunter2"), KEY + "is not a private key in PEM; write a private key in PEM"),
    "32, encrypted": (
        key(pem(2048, BestAvailableEncryption(b"x"))),
        KEY + "has a passphrase; write a private key in PEM",
    ),
    "34, empty": (password(""), PASSWORD + "is empty; make one with"),
    "34, short": (password("hunter2hunt"), PASSWORD + "is shorter than 12 characters; make one with"),
    "34, newline": (password("hunter2\nhunter2"), PASSWORD + "contains a newline or NUL; make one with"),
    "34, NUL": (password("hunter2\0hunter2"), PASSWORD + "contains a newline or NUL; make one with"),
    "36, colon": (
        site(mail_logins={"al:ice@example.org": "alice@example.org"}),
        '"al:ice@example.org" is not an address',
    ),
    "36, no realm": (
        site(mail_logins={"alice": "alice@example.org"}),
        'mail_logins.alice: "alice" is not an address (no "@"',
    ),
    "37, dead": (dns_list(zone="dnsbl.sorbs.net", refuse="127.0.0.2"), '"dnsbl.sorbs.net" is a DNS list that is gone'),
    "37, no filter": (dns_list(zone="zen.example"), '"zen.example" has no return-code filter; write what counts'),
    "38": (reason("5.7.1"), 'mail_access.senders[0].reason: "5.7.1" has no word, and a reply needs one; write words'),
    "39, name": (
        {"mx2.example.org": {"mail_name": "mx1.example.org"}},
        'mail_name: "mx1.example.org" is that of host mx1',
    ),
    "39, address": (
        {"mx2.example.org": {"mail_ipv4": "198.51.100.11"}},
        'mail_ipv4: "198.51.100.11" is that of host mx1',
    ),
    "40b": (
        site(mail_spf=["gateways", *SPF, "-all"]),
        "mail_spf: example.org needs 11 look-ups, and receivers stop at 10",
    ),
    "40c": (site(mail_message_size_limit=5 * 10**9), "5000000000 is more than ClamAV can scan; write at most"),
}
# Not bad in an inventory, or seen elsewhere: (file, words of the test there).
ELSEWHERE = {
    "16": ("molecule/runs/tests/test_shrinking.py", "def test_a_recipient_list_that_shrank_needs_a_word"),
    "19": ("tests/unit/plugins/module_utils/test_postmap.py", "pcre"),
    "27": ("tests/unit/plugins/plugin_utils/test_certificate.py", "is not the key of the certificate"),
    "28": ("molecule/site/tests/test_bad_inventory.py", "in less than 7 days"),
    "29": ("molecule/site/tests/test_bad_inventory.py", "is for www.example.org; write one for mx1.example.org"),
    "30": ("molecule/site/tests/test_bad_inventory.py", "is open to others (mode 0644)"),
    "33": ("tests/unit/plugins/module_utils/test_dns.py", "a selector used twice"),
    "35": ("molecule/site/tests/test_bad_inventory.py", "def test_secrets_in_clear_touch_no_host_unless_that_is_meant"),
    "40a": ("tests/unit/roles/test_refusals.py", "def test_a_platform_that_no_role_knows_is_refused_first_of_all"),
    "40d": (
        "tests/unit/plugins/plugin_utils/_model/test_dkim.py",
        "def test_keys_that_nobody_made_sign_as_soon_as_they_are",
    ),
}


def changed(changes):
    hosts = copy.deepcopy(HOSTS)
    for host, variables in changes.items():
        hosts[host].update(copy.deepcopy(variables))
    return hosts


@pytest.mark.parametrize("changes, said", REFUSED.values(), ids=REFUSED)
def test_a_bad_value_is_refused_with_its_remedy(changes, said):
    problems, _models = judged(changed(changes))
    (line, *_others) = [problem for problem in problems if said in problem]
    assert re.fullmatch(r"host (?:mx1|mx2|store)\.example\.org: [^\n]+; [^\n]+", line)
    assert "hunter2" not in "".join(problems)


@pytest.mark.parametrize("file, words", ELSEWHERE.values(), ids=ELSEWHERE)
def test_what_needs_more_than_the_inventory_has_its_test(file, words):
    assert words in (ROOT / file).read_text()


def test_there_are_forty():
    numbers = {int(re.match("[0-9]+", name)[0]) for name in [*REFUSED, *ELSEWHERE]}
    assert numbers == set(range(1, 41))


def test_a_pattern_where_an_address_is_meant_stands_for_itself():
    """No variable of the inventory becomes a pattern of PCRE (19)."""
    hosts = changed(site(mail_access={"senders": [{"match": "a*@b.example", "then": "refuse"}]}))
    assert judged(hosts)[0] == []


def test_a_good_key_may_be_brought():
    assert judged(changed(key(pem(2048))))[0] == []
