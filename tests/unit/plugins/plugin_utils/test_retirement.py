# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a gateway leaves, step by step, by what the inventory and the name servers say."""

from __future__ import annotations

import pytest
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _retirement

NOON, LATER, OVER = "2026-12-01T12:00:00Z", "2026-12-01T12:59:59Z", "2026-12-01T13:00:00Z"


def model(**states):
    """Three gateways, mx1 to mx3; states: {mx3: mail_retiring}. The inventory calls mx3 otherwise."""
    states = {"mx1": False, "mx2": False, "mx3": True, **states}
    return {
        "gateways": [
            {"host": "third" if name == "mx3" else f"{name}.example.org", "name": f"{name}.example.org",
             "retiring": bool(state), "shut": state == "shut"}
            for name, state in states.items()
        ],
        "domains": [{"name": "example.org"}, {"name": "mail.example.net"}],
        "dns": {
            "ttl": 3600,
            "zones": [{"name": "example.org", "server": "192.0.2.53"}, {"name": "example.net", "server": None}],
        },
    }  # fmt: skip


def record(name="example.org", found=("5 MX3.example.org.",), kind="MX", zone="example.org", problem="unexpected"):
    words = {"words": f"{name}: the {kind} record is {problem}", "todo": "mend it"}
    return {"zone": zone, "name": name, "kind": kind, "found": list(found), "problem": problem, **words}


def silent(zone):
    return {"zone": zone, "name": zone, "kind": "server", "found": []}


SHOWN = {
    "its record": ([record()], {}),
    "that of a second domain": ([record("mail.example.net", zone="example.net")], {}),
    "no record": ([], {"mx3.example.org": NOON}),
    "a missing one of another": ([record(found=[], problem="missing")], {"mx3.example.org": NOON}),
    "none, where an alias leads": ([record(found=[], problem="alias")], {}),
    "that of another one": ([record(found=["5 mx33.example.org.", "5 mx2.example.org."])], {"mx3.example.org": NOON}),
    "another kind of record": ([record(kind="SPF", found=["v=spf1 mx3.example.org."])], {"mx3.example.org": NOON}),
    "a silent server": ([silent("example.org")], {}),
    "a silent server of the zone above": ([silent("example.net")], {}),
    "a silent server of another zone": ([silent("2.0.192.in-addr.arpa"), silent("e.org")], {"mx3.example.org": NOON}),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_records_are_gone_when_every_server_of_a_mail_domain_answers_without_them(name):
    found, since = SHOWN[name]
    assert _retirement.gone(model(), found, {}, NOON) == since


def test_what_was_gone_first_counts_until_it_comes_back():
    before = {"mx3.example.org": NOON}
    assert _retirement.gone(model(), [], before, LATER) == before
    assert _retirement.gone(model(), [silent("example.org")], before, LATER) == before
    assert _retirement.gone(model(), [record()], before, LATER) == {}


def test_a_time_to_come_counts_as_now():
    assert _retirement.gone(model(), [], {"mx3.example.org": "2027-12-01T12:00:00Z"}, NOON) == {"mx3.example.org": NOON}


@pytest.mark.parametrize("state", [True, "shut"])
def test_who_does_not_leave_or_has_left_is_forgotten(state):
    before = {"mx1.example.org": NOON, "mx2.example.org": NOON, "mx9.example.org": NOON}
    assert _retirement.gone(model(mx2=state), [], before, LATER) == {"mx2.example.org": NOON, "mx3.example.org": LATER}


REFUSED = {
    "one that is unknown": (
        "mx9.example.org",
        {},
        'gateway: "mx9.example.org" is no gateway of the inventory; run with -e gateway= and one of mx1.example.org, '
        "mx2.example.org, third; where its line was removed already, run site.yml and rotate_dkim.yml",
    ),
    "one that stays": (
        "mx2.example.org",
        {},
        "host mx2.example.org: mail_retiring: false says that the gateway stays; write mail_retiring: true at the host "
        "in the inventory, and run again",
    ),
    "the last one": (
        "mx1.example.org",
        {"mx2": "shut"},
        "host mx1.example.org: mail_retiring: false must stay, since no other gateway takes mail from the internet; "
        "set up another one first, and publish its records",
    ),
    "the short name of one": ("mx3", {}, 'gateway: "mx3" is no gateway'),
}
LEAVE = {
    "one that retires": ("mx3.example.org", {}),
    "by the inventory's name": ("third", {}),
    "in capitals": ("MX3.example.org", {}),
    "the last but one": ("mx2.example.org", {"mx2": True}),
    "one that is shut": ("third", {"mx3": "shut"}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_who_cannot_leave(name):
    gateway, states, said = REFUSED[name]
    assert _retirement.refusal(model(**states), gateway).startswith(said)


@pytest.mark.parametrize("name", LEAVE)
def test_who_can_leave(name):
    gateway, states = LEAVE[name]
    assert _retirement.refusal(model(**states), gateway) == ""
    assert _retirement.named(model(**states), gateway)["retiring"]


GONE = {"mx3.example.org": NOON}
STEPS = {
    "in DNS": (True, [record()], {}, NOON, "unpublish", "the MX records of example.org still name it; remove it there"),
    "in DNS, as nobody knows": (
        True,
        [silent("example.org")],
        {},
        NOON,
        "unpublish",
        "not known, since not all servers of example.org have answered",
    ),
    "just out of it": (
        True,
        [],
        GONE,
        NOON,
        "wait",
        "gone since 2026-12-01 12:00 UTC; senders may know them until 2026-12-01 13:00 UTC, for 60 min more; let "
        "programs that submit mail there use another gateway; write mail_retiring: shut at the host in the inventory ",
    ),
    "out of it within a minute": (
        True,
        [],
        {"mx3.example.org": "2026-12-01T12:00:01Z"},
        LATER,
        "wait",
        "gone since 2026-12-01 12:00 UTC; senders may know them until 2026-12-01 13:01 UTC, for 1 min more; ",
    ),
    "shut too early": (
        "shut",
        [],
        GONE,
        LATER,
        "wait",
        "for 1 min more; let programs that submit mail there use another gateway; run again then",
    ),
    "forgotten by all": (True, [], GONE, OVER, "write", "write mail_retiring: shut at the host in the inventory, and"),
    "shut": ("shut", [], GONE, OVER, "empty", "no sender knows them any more; now its ports are shut"),
    **{
        f"shut, and a domain has {problem} MX records": (
            "shut",
            [record(found=found, problem=problem)],
            GONE,
            OVER,
            "unpublish",
            f"host third: other gateways need their MX records first: example.org: the MX record is {problem}; mend it",
        )
        for problem, found in {"missing": [], "wrong": ["10 www.example.org."], "alias": []}.items()
    },
    "shut, and a domain has one more": ("shut", [record(found=["9 mx.example.com."])], GONE, OVER, "empty", "now its"),
    "shut, and another kind is missing": (
        "shut",
        [record(found=[], kind="A", problem="missing")],
        GONE,
        OVER,
        "empty",
        "",
    ),
    "shut, and in DNS again": ("shut", [record()], {}, OVER, "unpublish", "still name it"),
}


@pytest.mark.parametrize("name", STEPS)
def test_what_is_next(name):
    state, found, since, now, do, said = STEPS[name]
    site = model(mx3=state)
    step = _retirement.step(site, site["gateways"][2], found, since, now)
    assert step["do"] == do
    assert step["text"].startswith("host third: ")
    assert said in step["text"]


MISSING = record(found=[], problem="missing")
BY_HAND = record("mail.example.net", zone="example.net")
CHECKED = {
    "an update would remove it": ([record()], {}, "this run without --check would remove its"),
    "an update would add another": ([MISSING], GONE, "this run without --check would remove its"),
    "a hand must remove it": (
        [BY_HAND],
        {},
        "the MX records of mail.example.net still name it; remove it there, and run",
    ),
    "both": ([record(), BY_HAND], {}, "host third: the MX records of mail.example.net still name it; remove it"),
    "an alias, which an update leaves": ([record(found=[], problem="alias")], {}, "the MX record is alias; mend it"),
    "a server is silent": ([silent("example.org")], {}, "not known, since not all servers of example.org have"),
}


@pytest.mark.parametrize("name", CHECKED)
def test_check_mode_calls_nothing_hand_work_that_the_run_would_do(name):
    found, since, said = CHECKED[name]
    site = model()
    step = _retirement.step(site, site["gateways"][2], found, since, OVER, check=True)
    assert step["do"] == "unpublish"
    assert said in step["text"]
    assert "without --check" not in _retirement.step(site, site["gateways"][2], found, since, OVER)["text"]


def test_the_ttl_that_is_served_counts_where_it_is_longer():
    site = model()
    steps = [_retirement.step(site, site["gateways"][2], [], GONE, OVER, ttl=ttl)["do"] for ttl in (60, 3600, 3601)]
    assert steps == ["write", "write", "wait"]
