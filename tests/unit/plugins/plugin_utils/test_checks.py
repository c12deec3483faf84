# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked about strangers: DNS lists with their filters, and the operator's own rules, from inventories alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import dns_lists as _checks
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import Place

OURS = {"example.org"}


def read(lists=(), tried=(), access=None, postscreen=False):
    """(lists, tried, rules, problems) of these values."""
    problems = []
    at = Place(problems, "host mx1")
    return (
        _checks.dns_lists(at["mail_dns_lists"], list(lists), postscreen),
        _checks.tried(at["mail_tried_checks"], list(tried)),
        _checks.access(at["mail_access"], access or {}, OURS),
        problems,
    )


def test_a_known_list_brings_its_filter():
    (zen,), _tried, _rules, problems = read(["ZEN.spamhaus.org"])
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
    (dnswl,), _tried, _rules, problems = read([{"zone": "list.dnswl.org", "trust": "127.0.[0..254].3", "try": True}])
    assert not problems
    assert [(use["use"], use["codes"]) for use in dnswl["uses"]] == [("trust", "127.0.[0..254].3")]
    assert dnswl["try"]


def test_every_list_that_is_shipped_is_right():
    lists, _tried, _rules, problems = read(_checks.LISTS, postscreen=True)
    assert not problems
    for entry in _checks.LISTS.values():  # also by the check of what an operator writes
        for use in _checks.USES:
            if use in entry:
                _checks._check_codes(Place(problems, ""), entry[use])
    assert not problems
    assert all(entry["uses"] for entry in lists)
    assert not set(_checks.LISTS) & set(_checks.DEAD)
    assert all(instead in _checks.LISTS for _why, instead in _checks.DEAD.values())


def within(codes, filters):
    """Whether each octet of some answers lies within that of a filter."""
    octets = [[_checks._numbers(part) for part in _checks._PART.findall(text)] for text in (codes, filters)]
    return all(map(set.issubset, *octets))


def test_every_answer_that_is_explained_counts_for_one_use():
    for zone, entry in _checks.LISTS.items():
        for answer in entry["codes"]:
            assert sum(within(answer, entry[use]) for use in _checks.USES if use in entry) == 1, (zone, answer)
        for use in set(_checks.USES) & set(entry):
            assert any(within(answer, entry[use]) for answer in entry["codes"]), (zone, use)


def test_the_page_on_filters_has_the_table_as_it_is():
    page = (Path(__file__).parents[4] / "docs/filters.md").read_text().splitlines()
    lists, _tried, _rules, _problems = read(_checks.LISTS, postscreen=True)
    wanted = []
    for entry in lists:
        shipped = _checks.LISTS[entry["zone"]]
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
        line for line in page if line.split(" ")[1:2] and line.startswith("|") and line.split(" ")[1] in _checks.LISTS
    ]
    assert sorted(rows) == sorted(wanted)


def test_names_of_zones_that_look_alike_differ():
    zones = ["a-b.example", "a.b.example"]
    lists, _tried, _rules, problems = read([{"zone": zone, "refuse": "127.0.0.2"} for zone in zones])
    assert not problems
    assert len({use["name"] for entry in lists for use in entry["uses"]}) == 2


@pytest.mark.parametrize("zone", [*_checks.DEAD, "l2.spews.dnsbl.sorbs.net"])
def test_a_dead_list_is_refused_by_name(zone):
    _lists, _tried, _rules, (problem,) = read([zone])
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
    lists = _checks.dns_lists(Place(problems, ""), ["zen.spamhaus.org", KEYED, "list.dnswl.org"], False)
    at = {"mx1": Place(problems, "host mx1")}
    return _checks.keyed_zones(["mx1"], {"mx1": {"vault_mail_dns_list_keys": keys}}, at, lists, ["mx1"]), problems


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
    known = _checks.dns_lists(Place(problems, ""), lists, False)
    at = Place(problems, "host mx1")["unbound_forward_addresses"]
    _checks.check_forwarding(at, addresses, known, keys)
    assert problems == said


def test_weights_add_up_to_what_postscreen_refuses():
    lists, _tried, _rules, problems = read(["psbl.surriel.com", {**OWN, "weight": 2}], postscreen=True)
    assert not problems
    assert [use["weight"] for entry in lists for use in entry["uses"]] == [1, 2]


def test_checks_that_can_be_tried():
    _lists, tried, _rules, problems = read(tried=["reject_non_fqdn_sender", "reject_unlisted_recipient"])
    assert tried == ["reject_non_fqdn_sender"]
    assert '"reject_unlisted_recipient" is not a known check that can be tried' in problems[0]


def test_rules_keep_their_order():
    clients = [
        {"match": "203.0.113.9", "then": "accept"},
        {"match": "203.0.113.0/24", "then": "refuse", "reason": "no"},
    ]
    _lists, _tried, rules, problems = read(
        access={"clients": clients, "senders": [{"match": "@Example.net", "then": "warn"}]}
    )
    assert not problems
    assert rules == {
        "clients": [
            {"match": "203.0.113.9/32", "then": "accept", "reason": "refused by local policy"},
            {"match": "203.0.113.0/24", "then": "refuse", "reason": "no"},
        ],
        "senders": [{"match": "@example.net", "then": "warn", "reason": "refused by local policy"}],
        "recipients": [],
    }


BAD_RULES = {
    "unknown table": ({"helos": []}, '"helos" is not a known key'),
    "host bits": ({"clients": [{"match": "203.0.113.1/24", "then": "refuse"}]}, "without host bits"),
    "a name": ({"clients": [{"match": "mail.example.net", "then": "refuse"}]}, "is neither an address nor a network"),
    "everybody": ({"clients": [{"match": "::/0", "then": "accept"}]}, '"::/0" is everybody'),
    "twice": ({"clients": [{"match": "203.0.113.1", "then": "refuse"}] * 2}, "is there twice; write it once"),
    "then": ({"clients": [{"match": "203.0.113.1", "then": "OK"}]}, '"OK" is nothing to do with clients'),
    "no then": ({"clients": [{"match": "203.0.113.1"}]}, "null is nothing to do with clients"),
    "a sender that opens doors": (
        {"senders": [{"match": "a@example.net", "then": "accept"}]},
        "write one of refuse, warn",
    ),
    "foreign": ({"recipients": [{"match": "a@example.net", "then": "refuse"}]}, "is in no domain of ours"),
    "no words": ({"recipients": [{"match": "a@example.org", "then": "refuse", "reason": " "}]}, '" " is no reason'),
    "a sign": ({"senders": [{"match": "a@b.example", "then": "refuse", "reason": "-1"}]}, "has no word"),
    "a code": ({"senders": [{"match": "a@b.example", "then": "refuse", "reason": "5.7.1"}]}, "has no word"),
    "a space at its end": (
        {"senders": [{"match": "a@b.example", "then": "refuse", "reason": "no "}]},
        '"no " is no reason',
    ),
    "two lines": ({"senders": [{"match": "a@b.example", "then": "refuse", "reason": "a\nb"}]}, "is no reason"),
    "a reply over 512 octets": (
        {"senders": [{"match": "a@b.example", "then": "refuse", "reason": "x" * 179}]},
        "has 179 characters, too many for a line of SMTP; write words in ASCII, at most 178 characters",
    ),
    "no list": ({"senders": {"a@b.example": "refuse"}}, "is a mapping, not a list"),
}


@pytest.mark.parametrize("name", BAD_RULES)
def test_bad_rule(name):
    written, said = BAD_RULES[name]
    problems = read(access=written)[-1]
    assert problems[0].startswith("host mx1: mail_access")
    assert said in "\n".join(problems)


def test_a_reason_fits_a_reply_with_the_longest_name_of_a_client():
    """RFC 5321 4.5.3.1.5: 512 octets with code and CRLF; access(5): the reason comes last."""
    written = {"clients": [{"match": "203.0.113.9", "then": "refuse", "reason": "x" * 178}]}
    _lists, _tried, rules, problems = read(access=written)
    assert not problems
    client = f"{'n' * 255}[2001:1db8:1111:2222:3333:4444:5555:6666]"
    assert len(f"554 5.7.1 <{client}>: Client host rejected: {rules['clients'][0]['reason']}\r\n") == 512


def exceptions(written):
    problems = []
    at = Place(problems, "host mx1")["mail_greylist_exceptions"]
    return _checks.greylist_exceptions(at, written, OURS), problems


def test_exceptions_of_the_greylist_are_folded():
    found, problems = exceptions({"clients": ["203.0.113.7", "2001:DB8::/32"], "recipients": ["Alice@Example.org"]})
    assert not problems
    assert found == {"clients": ["203.0.113.7/32", "2001:db8::/32"], "recipients": ["alice@example.org"]}
    assert exceptions({"recipients": ["@example.org"]}) == ({"clients": [], "recipients": ["@example.org"]}, [])


BAD_EXCEPTIONS = {
    "a list": (["203.0.113.7"], "is a list, not a mapping"),
    "unknown table": ({"senders": []}, '"senders" is not a known key; '),
    "no list": ({"clients": "203.0.113.7"}, 'clients: "203.0.113.7" is a string, not a list'),
    "host bits": ({"clients": ["203.0.113.1/24"]}, 'clients[0]: "203.0.113.1/24" is neither an address nor a network'),
    "a name": ({"clients": ["mail.example.net"]}, "is neither an address nor a network; write one such as"),
    "everybody": ({"clients": ["0.0.0.0/0"]}, '"0.0.0.0/0" is everybody'),
    "twice": (
        {"clients": ["203.0.113.1", "203.0.113.1/32"]},
        'clients[1]: "203.0.113.1/32" is there twice; write it once',
    ),
    "foreign": ({"recipients": ["a@example.net"]}, 'recipients[0]: "a@example.net" is in no domain of ours'),
    "a foreign domain": ({"recipients": ["@example.net"]}, '"@example.net" is in no domain of ours'),
    "no address": ({"recipients": ["alice"]}, '"alice" is not an address (no "@")'),
}


@pytest.mark.parametrize("written, said", BAD_EXCEPTIONS.values(), ids=BAD_EXCEPTIONS)
def test_bad_exception(written, said):
    (problem,) = exceptions(written)[1]
    assert problem.startswith("host mx1: mail_greylist_exceptions")
    assert said in problem
    assert "; " in problem


@pytest.mark.parametrize("what", ["clients", "senders", "recipients"])
def test_rules_that_are_none_are_each_named(what):
    *_others, problems = read(access={what: ["a", "a"]})
    for index in (0, 1):
        assert any(line.startswith(f"host mx1: mail_access.{what}[{index}]") for line in problems)
    assert not any("twice" in line for line in problems)
