# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A DKIM key's life, on a made-up clock."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _dkim_rotation
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import dkim as _dkim
from hypothesis import given
from hypothesis import strategies as st

START = datetime.datetime(2026, 12, 1, 6, tzinfo=datetime.timezone.utc)
WAITS = {"published": 100, "lifetime": 10000, "retired": 1000}


def at(seconds):
    return START + datetime.timedelta(seconds=seconds)


def since(seconds):
    return f"{at(seconds):%Y-%m-%dT%H:%M:%SZ}"


def model(*keys, gateways=("mx1.example.org",), domains=("example.org",)):
    return {
        "gateways": [{"name": name} for name in gateways],
        "domains": [{"name": name} for name in domains],
        "dns": {"zones": [], "ttl": 60, "domains": [{"name": name} for name in domains]},
        "dkim": list(keys),
        "dkim_senders": {"news@example.org": "news"} if any(key["selector"][:4] == "news" for key in keys) else {},
        "dkim_rotation": WAITS,
    }


def key(selector, stage, seconds=0, kind="rsa", host="mx1.example.org", domain="example.org"):
    return {
        "domain": domain, "selector": selector, "host": host, "type": kind, "stage": stage,
        "since": since(seconds), "public": "AAAA",
    }  # fmt: skip


OTHER = key("mx1-ed", "signing", kind="ed25519")  # the other lane of the gateway, at rest


def plan(*keys, now=0, shown=(), start=False, lost="", **site):
    return _dkim_rotation.plan(model(*keys, **site), at(now), set(shown), start, lost)


def stages(result):
    return {key["selector"]: key["stage"] for key in result["keys"]}


def steps(result):
    return [(step["selector"], step["do"], step["due"]) for step in result["steps"]]


def test_a_lane_without_a_key_is_left_to_role_opendkim():
    assert plan()["steps"] == []
    assert plan(key("mx1", "removed"))["steps"] == []


def test_a_sender_s_own_key_and_its_domain_s_live_side_by_side():
    keys = [key("mx1", "signing"), OTHER, key("news-mx1", "signing"), key("news-mx1-202611", "published")]
    result = plan(*keys, now=100, shown=[("example.org", "news-mx1-202611")])
    assert stages(result) == {
        "mx1": "signing", "mx1-ed": "signing", "news-mx1": "retired", "news-mx1-202611": "signing"
    }  # fmt: skip
    made = plan(*keys[:3], now=1, start=True)["make"]["mx1.example.org"]
    assert [(new["selector"], new["sender"]) for new in made] == [
        ("mx1-202612", None), ("mx1-202612-ed", None), ("news-mx1-202612", "news@example.org")
    ]  # fmt: skip
    assert {(new["stage"], new["public"]) for new in made} == {("published", None)}


def test_a_key_signs_only_when_its_time_has_passed_and_every_server_shows_it():
    young = plan(key("mx1", "published"), OTHER, now=99, shown=[("example.org", "mx1")])
    unseen = plan(key("mx1", "published"), OTHER, now=100)
    ready = plan(key("mx1", "published"), OTHER, now=100, shown=[("example.org", "mx1")])
    assert [stages(result)["mx1"] for result in (young, unseen, ready)] == ["published", "published", "signing"]
    assert ready["keys"][0]["since"] == since(100)
    assert "authoritative" in unseen["steps"][0]["waits_for"] + unseen["steps"][1]["waits_for"]
    assert young["steps"][0]["at"] == since(100)


def test_the_key_before_retires_at_the_moment_when_its_successor_signs():
    keys = [key("mx1", "signing", -10000), key("mx1-202612", "published"), OTHER]
    waiting = plan(*keys, now=100)
    ready = plan(*keys, now=100, shown=[("example.org", "mx1-202612")])
    assert stages(waiting) == {"mx1": "signing", "mx1-202612": "published", "mx1-ed": "signing"}
    assert stages(ready) == {"mx1": "retired", "mx1-202612": "signing", "mx1-ed": "signing"}


def test_a_retired_key_stays_until_its_mail_has_arrived():
    keys = [key("mx1", "retired"), key("mx1-202612", "signing"), OTHER]
    assert stages(plan(*keys, now=999))["mx1"] == "retired"
    assert stages(plan(*keys, now=1000))["mx1"] == "removed"


def test_an_old_key_gets_a_successor_with_the_month_and_a_young_one_when_asked():
    keys = [key("mx1", "signing"), OTHER]
    assert plan(*keys, now=9999)["make"] == {}
    for result in plan(*keys, now=10000), plan(*keys, now=1, start=True):
        made = result["make"]["mx1.example.org"]
        assert [new["selector"] for new in made] == ["mx1-202612", "mx1-202612-ed"]


def test_no_selector_is_used_twice_not_even_after_its_key_is_gone():
    keys = [key("mx1", "removed"), key("mx1-202612", "removed"), key("mx1-202612-2", "signing"), OTHER]
    made = plan(*keys, now=1, start=True)["make"]["mx1.example.org"]
    assert made[0]["selector"] == "mx1-202612-3"


def test_a_key_whose_gateway_has_left_retires_and_goes():
    gone = key("mx3", "signing", host="mx3.example.org")
    first = plan(key("mx1", "signing"), OTHER, gone, now=5)
    assert stages(first)["mx3"] == "retired"
    name, why = (
        "mx3._domainkey.example.org (rsa, mx3.example.org)",
        "its gateway, domain or sender has left the inventory",
    )
    assert first["left"] == [f"{name}: retire now; {why}; run rotate_dkim.yml now"]
    waits = plan(*first["keys"], now=6)["left"]
    assert waits == [
        f"{name}: remove from {since(1005)} on: mail that it signed may still be under way; {why}; "
        f"run rotate_dkim.yml from {since(1005)} on"
    ]
    last = plan(*first["keys"], now=1005)
    assert stages(last)["mx3"] == "removed"
    assert plan(*last["keys"], now=1006)["left"] == []


def test_of_keys_that_are_needed_nothing_is_said_to_have_left():
    keys = [key("mx1", "signing", -20000), key("mx1-ed-1", "retired", -20000, "ed25519"), OTHER]
    result = plan(*keys, now=5)
    assert {step["do"] for step in result["steps"] if step["due"]} == {"make", "remove"}
    assert result["left"] == []


LOST = [
    key("mx1", "signing", -20000), key("mx1-202612", "published"), OTHER,
    key("mx1-0", "retired", -500), key("mx1-00", "removed"), key("mx2", "signing", host="mx2.example.org"),
]  # fmt: skip
BOTH = ("mx1.example.org", "mx2.example.org")


def test_lost_keys_retire_at_once_and_those_of_other_gateways_do_not():
    result = plan(*LOST, now=200, lost="mx1.example.org", shown=[("example.org", "mx1-202612")], gateways=BOTH)
    assert stages(result) == {
        "mx1": "retired", "mx1-202612": "retired", "mx1-0": "retired", "mx1-00": "removed", "mx1-ed": "retired",
        "mx2": "signing",
    }  # fmt: skip
    assert result["make"] == {}  # role opendkim makes the first keys of a lane that has none
    assert result["left"] == []
    # Neither key is lost: the one that waited takes over.
    well = plan(*LOST, now=200, shown=[("example.org", "mx1-202612")], gateways=BOTH)
    assert (stages(well)["mx1-202612"], stages(well)["mx1-ed"]) == ("signing", "signing")


def test_after_lost_keys_were_marked_opendkim_has_others_to_make_and_a_rotation_nothing():
    marked = plan(*LOST, now=200, lost="mx1.example.org", gateways=BOTH)["keys"]
    made = _dkim.keys(model(*marked, gateways=BOTH), "mx1.example.org")
    assert [(new["selector"], new["stage"]) for new in made if not new["public"]] == [
        ("mx1-2", "signing"), ("mx1-ed-2", "signing")]  # fmt: skip
    assert [step for step in plan(*marked, now=201, gateways=BOTH)["steps"] if step["due"]] == []


@pytest.mark.parametrize("word", ["mx2", "MX2.example.org", "second"])
def test_a_gateway_is_called_by_any_of_its_names(word):
    site = {"gateways": [{"name": "mx1.example.org", "host": "a"}, {"name": "mx2.example.org", "host": "second"}]}
    assert _dkim_rotation.gateway(site, word) == "mx2.example.org"


def test_who_is_no_gateway_is_refused_with_those_that_are():
    site = {"gateways": [{"name": "mx1.example.org", "host": "mx1.example.org"}]}
    with pytest.raises(ValueError, match="'mx9' is no gateway; write one of mx1"):
        _dkim_rotation.gateway(site, "mx9")


def test_lanes_do_not_wait_for_each_other():
    keys = [key("mx1", "published"), key("mx2", "published", host="mx2.example.org")]
    result = plan(*keys, now=100, shown=[("example.org", "mx2")], gateways=("mx1.example.org", "mx2.example.org"))
    assert (stages(result)["mx1"], stages(result)["mx2"]) == ("published", "signing")


def test_steps_that_are_due_come_first_and_say_what_others_wait_for():
    result = plan(key("mx1", "signing"), key("old", "retired", -2000), OTHER, now=1)
    assert steps(result)[0] == ("old", "remove", True)
    assert all(step["waits_for"] and not step["due"] for step in result["steps"][1:])
    assert result["text"][0] == "old._domainkey.example.org (rsa, mx1.example.org): remove now"
    name = "mx1-202612._domainkey.example.org (rsa, mx1.example.org)"
    assert result["text"][1] == f"{name}: make from 2026-12-01T08:46:40Z on: mx1 is young enough"


@pytest.mark.parametrize(
    "difference",
    [
        {"kind": "DKIM", "zone": "example.org", "name": "mx1._domainkey.example.org"},
        {"kind": "server", "zone": "example.org", "name": "example.org"},
        {"kind": "DNSSEC", "zone": "example.org", "name": "example.org"},
    ],
    ids=lambda difference: difference["kind"],
)
def test_what_dns_info_found_holds_a_key_back(difference):
    site = model(key("mx1", "published"))
    assert _dkim_rotation.shown(site, []) == {("example.org", "mx1")}
    assert _dkim_rotation.shown(site, [difference]) == set()
    assert _dkim_rotation.shown(site, [{"kind": "SPF", "zone": "example.org", "name": "example.org"}])


@given(st.lists(st.tuples(st.integers(1, 5000), st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_whenever_it_runs_and_whatever_fails_a_lane_never_loses_its_signature(runs):
    """Runs at odd times, with DNS shown or not and the keys made or not: once a lane signs, it signs for good."""
    keys, now, signed = [key("mx1", "signing"), OTHER], 0, {"rsa", "ed25519"}
    for seconds, shows, makes in runs:
        now += seconds
        live = [(entry["domain"], entry["selector"]) for entry in keys if entry["stage"] != "removed"]
        before = {entry["selector"]: entry["stage"] for entry in keys}
        result = plan(*keys, now=now, shown=live if shows else [])
        keys = result["keys"]
        if makes:
            made = result["make"].get("mx1.example.org", [])
            keys += [key(new["selector"], "published", now, new["type"]) for new in made]
        names = [entry["selector"] for entry in keys]
        assert len(names) == len(set(names))
        signing = [entry["type"] for entry in keys if entry["stage"] == "signing"]
        assert len(signing) == len(set(signing))
        assert signed <= set(signing)
        signed = set(signing)
        order = ("published", "signing", "retired", "removed")
        for entry in keys:
            earlier = before.get(entry["selector"], "published")
            assert (earlier, entry["stage"]) in {
                *zip(order, order),
                *zip(order, order[1:]),
                ("published", "retired"),
            }
        # Signed with, or just signed with: its record is published, whoever looks.
        published = {entry["selector"] for entry in keys if entry["stage"] != "removed"}
        assert {name for name, stage in before.items() if stage == "signing"} <= published
