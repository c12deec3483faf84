# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role postfix' variables become."""

from __future__ import annotations

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleFilterError
from ansible_collections.gatehouse.mail.plugins.filter.postfix_policy import postfix_policy
from ansible_collections.gatehouse.mail.plugins.filter.shrunk_tables import shrunk_tables

TIMES = "connect_timeout=10s, command_timeout=30s, content_timeout=120s"
GUARD = {"connect": "unix:/run/guard/guard.sock", "name": "guard"}
MARKER = {"connect": "inet:127.0.0.1:8895", "name": "marker", "default_action": "accept"}
BLOCK = {"zone": "bl.example", "kind": "address", "try": False, "uses": [
    {"name": "dns_list_bl_skip", "use": "skip_greylisting", "codes": "127.0.0.3", "weight": -1},
    {"name": "dns_list_bl", "use": "refuse", "codes": "127.0.0.[2..11]", "weight": 3},
]}  # fmt: skip
ALLOW = {"zone": "wl.example", "kind": "address", "try": False, "uses": [
    {"name": "dns_list_wl", "use": "trust", "codes": "127.0.0.2", "weight": -5},
]}  # fmt: skip
NAMES = {"zone": "dbl.example", "kind": "name", "try": False, "uses": [
    {"name": "dns_list_dbl", "use": "refuse", "codes": "127.0.1.2", "weight": 3},
]}  # fmt: skip
TRIED = {**BLOCK, "try": True}


def policy(**given):
    return postfix_policy(
        {
            "milters": [],
            "milter_chains": {},
            "milter_command_timeout": "30s",
            "milter_content_timeout": "120s",
            "dns_lists": [],
            "access": {"clients": [], "senders": [], "recipients": []},
            "exempt_clients": [],
            "relay_domains": [],
            "slow_destinations": [],
            **given,
        }
    )


def test_mail_waits_for_each_milter_but_for_one_that_says_otherwise():
    chains = {"smtp": ["guard", "marker"], "submission": ["guard"], "local": []}
    waits = f"{{ unix:/run/guard/guard.sock, {TIMES}, default_action=tempfail }}"
    passes = f"{{ inet:127.0.0.1:8895, {TIMES}, default_action=accept }}"
    asked = policy(milters=[MARKER, GUARD], milter_chains=chains)["milters"]
    assert asked == {"smtp": f"{waits}, {passes}", "submission": waits, "local": ""}


def test_a_milter_that_nobody_knows_is_named():
    with pytest.raises(AnsibleFilterError, match=r"postfix_milter_chains\.smtp: guard is no name of postfix_milters"):
        policy(milters=[MARKER], milter_chains={"smtp": ["guard"]})


def test_allow_lists_come_before_block_lists_and_a_tried_one_warns():
    classes = policy(dns_lists=[BLOCK, NAMES, ALLOW])["dns_list_classes"]
    assert list(classes) == ["dns_list_wl", "dns_list_bl", "dns_list_dbl", "dns_list_bl_skip"]
    assert classes["dns_list_wl"] == ["permit_dnswl_client wl.example=127.0.0.2"]
    assert classes["dns_list_bl"] == ["reject_rbl_client bl.example=127.0.0.[2..11]"]
    asked = ("helo", "reverse_client", "sender")
    assert classes["dns_list_dbl"] == [f"reject_rhsbl_{what} dbl.example=127.0.1.2" for what in asked]
    tried = policy(dns_lists=[TRIED])["dns_list_classes"]["dns_list_bl"]
    assert tried == ["warn_if_reject reject_rbl_client bl.example=127.0.0.[2..11]"]


def test_postscreen_weighs_lists_of_addresses_that_count():
    sites = policy(dns_lists=[BLOCK, NAMES, ALLOW])["postscreen_dnsbl_sites"]
    assert sites == ["bl.example=127.0.0.3*-1", "bl.example=127.0.0.[2..11]*3", "wl.example=127.0.0.2*-5"]
    assert policy(dns_lists=[TRIED])["postscreen_dnsbl_sites"] == []


def test_rules_become_tables_and_postscreen_leaves_the_refusal_to_smtpd():
    rules = {
        "clients": [
            {"match": "192.0.2.0/24", "then": "refuse", "reason": "no more"},
            {"match": "198.51.100.7", "then": "accept", "reason": ""},
        ],
        "senders": [{"match": "@example.net", "then": "warn", "reason": "watched"}],
        "recipients": [{"match": "bob@example.org", "then": "accept", "reason": ""}],
    }
    assert policy(access=rules, exempt_clients=["10.8.0.0/24", "10.8.0.0/24"])["access"] == {
        "clients": [
            {"key": "192.0.2.0/24", "value": "REJECT 5.7.1 no more"},
            {"key": "198.51.100.7", "value": "OK"},
        ],
        "senders": [{"key": "example.net", "value": "WARN watched"}],
        "recipients": [{"key": "bob@example.org", "value": "OK"}],
        "postscreen": [
            {"key": "10.8.0.0/24", "value": "permit"},
            {"key": "192.0.2.0/24", "value": "dunno"},
            {"key": "198.51.100.7", "value": "permit"},
        ],
    }


def test_each_domain_goes_to_its_mail_host():
    domains = [{"name": "example.org", "lmtp": {"name": "store.example.org", "address": "2001:db8::31", "port": 24}}]
    assert policy(relay_domains=domains)["transport"] == {"example.org": "lmtp:inet:[2001:db8::31]:24"}
    domains[0]["lmtp"]["socket"] = "/run/gatehouse-lmtp/store.example.org"
    assert policy(relay_domains=domains)["transport"] == {
        "example.org": "stunnel:unix:/run/gatehouse-lmtp/store.example.org"
    }


@pytest.mark.parametrize("given", ["text", {}, {"milters": []}], ids=["a text", "nothing", "one of them"])
def test_the_variables_are_named_where_they_are_not_given(given):
    with pytest.raises(AnsibleFilterError, match="no dictionary of milters, milter_chains"):
        postfix_policy(given)


def test_what_is_no_list_of_tables_is_refused():
    with pytest.raises(AnsibleFilterError, match="no list of tables"):
        shrunk_tables("transport")


def test_slow_destinations_have_a_service_each_and_each_domain_its_own_next_hop():
    classes = [
        {"domains": ["a.example", "b.example"], "concurrency": 2},
        {"domains": ["c.example"], "concurrency": 1, "delay": 5},
    ]
    assert policy(slow_destinations=classes)["slow"] == {
        "services": [{"name": "slow1", "concurrency": 2, "delay": 0}, {"name": "slow2", "concurrency": 1, "delay": 5}],
        "tables": ["inline:{a.example=slow1:, b.example=slow1:, c.example=slow2:}"],
    }
    assert policy()["slow"] == {"services": [], "tables": []}
