# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked about strangers: DNS lists with their filters, from inventories alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import dns_lists
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Declared, Given
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import Place


def read(lists=(), postscreen=False):
    """(lists, problems) of these values."""
    problems = []
    at = Place(problems, "host mx1")
    return dns_lists.dns_lists(at["mail_dns_lists"], list(lists), postscreen), problems


def test_a_known_list_brings_its_filter():
    (zen,), problems = read(["ZEN.spamhaus.org"])
    assert not problems
    assert zen == {
        "zone": "zen.spamhaus.org",
        "kind": "address",
        "listed": "2.0.0.127",
        "unlisted": "1.0.0.127",
        "uses": [
            {"use": "refuse", "codes": "127.0.0.[2..11]", "name": "dns_list_zen_spamhaus_org_refuse", "weight": 3}
        ],
        "keyed": "zen.dq.spamhaus.net",
        "try": False,
    }


def test_a_list_may_be_used_in_another_way():
    (dnswl,), problems = read([{"zone": "list.dnswl.org", "trust": "127.0.[0..254].3", "try": True}])
    assert not problems
    assert [(use["use"], use["codes"]) for use in dnswl["uses"]] == [("trust", "127.0.[0..254].3")]
    assert dnswl["try"]


def test_every_list_that_is_shipped_is_right():
    lists, problems = read(dns_lists.LISTS, postscreen=True)
    assert not problems
    for entry in dns_lists.LISTS.values():  # also by the check of what an operator writes
        for use in dns_lists.USES:
            if use in entry:
                dns_lists._check_codes(Place(problems, ""), entry[use])
    assert not problems
    assert all(entry["uses"] for entry in lists)
    assert not set(dns_lists.LISTS) & set(dns_lists.DEAD)
    assert all(instead in dns_lists.LISTS for _why, instead in dns_lists.DEAD.values())


def within(codes, filters):
    """Whether each octet of some answers lies within that of a filter."""
    octets = [[dns_lists._numbers(part) for part in dns_lists._PART.findall(text)] for text in (codes, filters)]
    return all(map(set.issubset, *octets))


def test_every_answer_that_is_explained_counts_for_one_use():
    for zone, entry in dns_lists.LISTS.items():
        for answer in entry["codes"]:
            assert sum(within(answer, entry[use]) for use in dns_lists.USES if use in entry) == 1, (zone, answer)
        for use in set(dns_lists.USES) & set(entry):
            assert any(within(answer, entry[use]) for answer in entry["codes"]), (zone, use)


def test_the_page_on_filters_has_the_table_as_it_is():
    page = (Path(__file__).parents[5] / "docs/filters.md").read_text().splitlines()
    lists, _problems = read(dns_lists.LISTS, postscreen=True)
    wanted = []
    for entry in lists:
        shipped = dns_lists.LISTS[entry["zone"]]
        key = f" or a key ({entry['keyed']})" if entry["keyed"] else ""
        wanted.append(f"| {entry['zone']} | {entry['kind']} | {shipped['needs']}{key} | {shipped['state']} |")
        for use in entry["uses"]:
            wanted += [
                f"| {entry['zone']} | `{answer}` | {meaning} | {use['use']} | {use['weight']} |"
                for answer, meaning in shipped["codes"].items()
                if within(answer, use["codes"])
            ]
    assert [line for line in wanted if line not in page] == []
    rows = [
        line for line in page if line.split(" ")[1:2] and line.startswith("|") and line.split(" ")[1] in dns_lists.LISTS
    ]
    assert sorted(rows) == sorted(wanted)


def test_names_of_zones_that_look_alike_differ():
    zones = ["a-b.example", "a.b.example"]
    lists, problems = read([{"zone": zone, "refuse": "127.0.0.2"} for zone in zones])
    assert not problems
    assert len({use["name"] for entry in lists for use in entry["uses"]}) == 2


@pytest.mark.parametrize("zone", [*dns_lists.DEAD, "l2.spews.dnsbl.sorbs.net"])
def test_a_dead_list_is_refused_by_name(zone):
    _lists, (problem,) = read([zone])
    assert problem.startswith(f'host mx1: mail_dns_lists[0]: "{zone}" is a DNS list that is gone (')
    assert "does its work" in problem


OWN = {"zone": "bl.example", "refuse": "127.0.0.2"}
BAD_LISTS = {
    "no filter": ("bl.example", '"bl.example" has no return-code filter'),
    "no zone": ({"refuse": "127.0.0.2"}, "zone: is missing"),
    "no name": ({**OWN, "zone": "bl example"}, "is not a domain name (space at 3)"),
    "unknown key": ({**OWN, "reject": "127.0.0.2"}, '"reject" is not a known key'),
    "a number": (3, "is an integer, not a mapping"),
    "kind": ({**OWN, "kind": "url"}, '"url" is no kind of DNS list; write one of address, domain'),
    "error codes": ({**OWN, "refuse": "127.[0..255].[0..255].[0..255]"}, "which are a list's error messages"),
    "over quota": ({**OWN, "refuse": "127.0.0.[1..255]"}, "which are a list's error messages"),
    "not loopback": ({**OWN, "refuse": "10.0.0.2"}, "is not within 127.0.0.0/8"),
    "too high": ({**OWN, "refuse": "127.0.0.256"}, "is not within 127.0.0.0/8"),
    "no codes": ({**OWN, "refuse": "yes"}, "is no return-code filter"),
    "a domain that is trusted": (
        {"zone": "x.example", "kind": "domain", "trust": "127.0.0.2", "listed": "a", "unlisted": "b"},
        "trust: is for lists of addresses only",
    ),
    "no test point": ({**OWN, "kind": "domain"}, "listed: null is no name to ask the list for"),
    "weight": ({**OWN, "weight": 0}, "weight: 0 is out of range"),
    "what the key is put before": ({**OWN, "keyed": "dq"}, 'keyed: "dq" is not a domain name'),
    "one that does not refuse by itself": ("psbl.surriel.com", "there is no postscreen to count it"),
    "try": ({**OWN, "try": "on"}, 'try: "on" is a string, not a boolean'),
}


@pytest.mark.parametrize("name", BAD_LISTS)
def test_bad_list(name):
    written, said = BAD_LISTS[name]
    problems = read([written])[-1]
    assert problems[0].startswith("host mx1: mail_dns_lists[0]")
    assert said in "\n".join(problems)


def test_a_list_twice():
    assert read([OWN, {**OWN, "zone": "BL.example"}])[-1] == [
        'host mx1: mail_dns_lists[1].zone: "BL.example" is there twice; write it once, with all its uses'
    ]


KEYED = {"zone": "bl.example", "refuse": "127.0.0.2", "keyed": "dq.example"}


def keyed(keys):
    """(zones with a key, problems) of these keys, with the lists zen.spamhaus.org, bl.example and list.dnswl.org."""
    problems = []
    lists = dns_lists.dns_lists(Place(problems, ""), ["zen.spamhaus.org", KEYED, "list.dnswl.org"], False)
    hosts = {"mx1": {"vault_mail_dns_list_keys": keys}}
    given = Given(Declared({}, {}, (), ()), {}, {"mx1": "mail_gateways"}, hosts, problems)
    return dns_lists.keyed_zones(given, lists), problems


def test_a_key_makes_another_name_of_a_list():
    keys = {"zen.spamhaus.org": "sesame", "BL.example": "sesame2"}
    assert keyed(keys) == ({"zen.spamhaus.org": "zen.dq.spamhaus.net", "bl.example": "dq.example"}, [])


BAD_KEYS = {
    "no mapping": (["sesame"], "is a list, not a mapping"),
    "the wrong way round": ({"sesame": "zen.spamhaus.org"}, "the name of entry 1 is no DNS list"),
    "not in use": ({"dbl.spamhaus.org": "sesame"}, '"dbl.spamhaus.org" is not in use'),
    "takes no key": ({"list.dnswl.org": "sesame"}, "is not known to take a key"),
    "a name": ({"zen.spamhaus.org": "sesame.zen"}, "is no key"),
    "too long": ({"zen.spamhaus.org": "sesame" * 11}, "is no key"),
    "no string": ({"zen.spamhaus.org": 3}, "is no key"),
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_bad_key(name):
    keys, said = BAD_KEYS[name]
    found, (problem,) = keyed(keys)
    assert found == {}
    assert problem.startswith("host mx1: vault_mail_dns_list_keys")
    assert said in problem
    assert "sesame" not in problem


FORWARDS = {
    "nobody": ([], ["zen.spamhaus.org"], {}, []),
    "with a key": (["192.0.2.53"], ["zen.spamhaus.org"], {"zen.spamhaus.org": "zen.dq.spamhaus.net"}, []),
    "a list that does not mind": (["9.9.9.9"], ["bl.spamcop.net", OWN], {}, []),
    "no key": (
        ["192.0.2.53"],
        ["zen.spamhaus.org"],
        {},
        [
            'host mx1: unbound_forward_addresses[0]: "192.0.2.53" would ask zen.spamhaus.org, which answers only a '
            "resolver of one's own; write its key in vault_mail_dns_list_keys, remove the list from mail_dns_lists, or "
            "forward to nobody"
        ],
    ),
    "a public resolver": (
        ["9.9.9.9"],
        ["list.dnswl.org"],
        {},
        [
            'host mx1: unbound_forward_addresses[0]: "9.9.9.9" is public and would ask list.dnswl.org, which answers '
            "only a resolver of one's own; remove the list from mail_dns_lists, or forward to nobody"
        ],
    ),
    "no address": (
        ["dns.example.net"],
        [],
        {},
        [
            'host mx1: unbound_forward_addresses[0]: "dns.example.net" is not an IP address; write the address of a '
            'resolver, such as "192.0.2.53"'
        ],
    ),
}


@pytest.mark.parametrize("addresses, lists, keys, said", FORWARDS.values(), ids=FORWARDS)
def test_who_forwards_cannot_ask_every_list(addresses, lists, keys, said):
    problems = []
    known = dns_lists.dns_lists(Place(problems, ""), lists, False)
    at = Place(problems, "host mx1")["unbound_forward_addresses"]
    dns_lists.check_forwarding(at, addresses, known, keys)
    assert problems == said


def test_weights_add_up_to_what_postscreen_refuses():
    lists, problems = read(["psbl.surriel.com", {**OWN, "weight": 2}], postscreen=True)
    assert not problems
    assert [use["weight"] for entry in lists for use in entry["uses"]] == [1, 2]
