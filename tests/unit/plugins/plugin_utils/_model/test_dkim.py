# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which DKIM keys there are: one answer for opendkim, for the records, and for rotation."""

from __future__ import annotations

import datetime

from ansible_collections.gatehouse.mail.plugins.module_utils import _dns
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _dkim_rotation, _records
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import dkim as _dkim
from hypothesis import given
from hypothesis import strategies as st

PUBLIC = "ERijMbvo6AxCXHGccCqD/KD18LJ4b7iDQ+Jc/qrTdeQ="
NOW = datetime.datetime(2026, 12, 1, tzinfo=datetime.timezone.utc)


def entry(selector, kind="rsa", stage="signing", host="mx1.example.org"):
    public = PUBLIC if kind == "ed25519" else PUBLIC * 8
    return {"domain": "example.org", "selector": selector, "host": host, "type": kind, "stage": stage,
            "since": "2026-11-01T00:00:00Z", "public": public}  # fmt: skip


def keys_of(*written, senders=None):
    model = {
        "gateways": [{"name": "mx1.example.org"}, {"name": "mx2.example.org"}],
        "domains": [{"name": "example.org"}],
        "dkim_senders": senders or {},
        "dkim": list(written),
    }
    return [
        (key["selector"], key["type"], key["stage"], key["public"] is not None)
        for key in _dkim.keys(model, "mx1.example.org")
    ]


def test_keys_that_nobody_made_sign_as_soon_as_they_are_made():
    assert keys_of() == [("mx1", "rsa", "signing", False), ("mx1-ed", "ed25519", "signing", False)]


def test_a_sender_has_keys_beside_those_of_its_domain():
    found = keys_of(senders={"news@example.org": "news", "x@example.net": "other"})
    assert [key[0] for key in found] == ["mx1", "mx1-ed", "news-mx1", "news-mx1-ed"]


def test_keys_that_are_written_down_are_those():
    found = keys_of(entry("mx1", stage="retired"), entry("mx1-202612"), entry("mx2", host="mx2.example.org"))
    assert found == [
        ("mx1", "rsa", "retired", True),
        ("mx1-202612", "rsa", "signing", True),
        ("mx1-ed", "ed25519", "signing", False),
    ]


def test_beside_retired_keys_alone_others_are_made():
    found = keys_of(entry("mx1", stage="retired"), entry("mx1-ed", "ed25519", "published"))
    assert found == [
        ("mx1", "rsa", "retired", True), ("mx1-2", "rsa", "signing", False), ("mx1-ed", "ed25519", "published", True)
    ]  # fmt: skip


def test_no_selector_is_used_twice():
    gone = [entry("mx1", stage="removed"), entry("mx1-2", stage="removed"), entry("mx1-ed", "ed25519", "removed")]
    found = keys_of(*gone)
    assert [key for key in found if key[2] != "removed"] == [
        ("mx1-3", "rsa", "signing", False), ("mx1-ed-2", "ed25519", "signing", False)]  # fmt: skip
    assert [key[0] for key in found if key[2] == "removed"] == ["mx1", "mx1-2", "mx1-ed"]


def test_a_gateway_that_was_renamed_has_other_selectors_than_before():
    former = [entry("mx1", host="mx1.example.net"), entry("mx1-ed", "ed25519", "removed", "mx1.example.net")]
    assert keys_of(*former) == [("mx1-2", "rsa", "signing", False), ("mx1-ed-2", "ed25519", "signing", False)]


# Any memory of keys: each kind of key, of a gateway or of the one that had its first label before, of the domain and of
# a sender, in any stage, and none. The name of the third gateway is what the first one's second selector would be.
GATEWAYS = ("mx1.example.org", "mx2.example.org", "mx1-2.example.org")
SELECTORS = {
    (base + number + suffix, kind): host
    for host, short in zip(GATEWAYS, ("mx1", "mx2", "mx1-2"))
    for base in (short, f"news-{short}")
    for number in ("", "-2", "-202612")
    for kind, suffix in _dkim.KEY_TYPES.items()
}
FATES = st.one_of(st.none(), st.tuples(st.booleans(), st.sampled_from(_dkim.STAGES)))
MEMORIES = st.fixed_dictionaries(dict.fromkeys(SELECTORS, FATES))


def written(memory):
    """The keys of a memory, and those of them whose gateway has another name now."""
    keys, former = [], []
    for (selector, kind), fate in memory.items():
        if fate:
            host = SELECTORS[selector, kind]
            renamed, stage = fate
            keys.append(entry(selector, kind, stage, host.replace(".org", ".net") if renamed else host))
            if renamed:
                former.append(selector)
    return keys, former


@given(MEMORIES)
def test_records_opendkim_and_rotation_agree(memory):
    entries, former = written(memory)
    model = {
        "gateways": [{"name": name} for name in GATEWAYS],
        "domains": [{"name": "example.org"}],
        "dns": {"domains": [{"name": "example.org"}], "zones": [], "ttl": 60},
        "dkim_senders": {"news@example.org": "news"},
        "dkim": entries,
        "dkim_rotation": _dkim.ROTATION,
    }
    keys = [key for gateway in GATEWAYS for key in _dkim.keys(model, gateway)]
    there = [key["selector"] for key in keys if key["stage"] != "removed"]
    there += [key["selector"] for key in entries if key["selector"] in former and key["stage"] != "removed"]
    # One record for each key that is there or will be made, and for no other.
    assert sorted(key["selector"] for key in _records._keys(model)["example.org"]) == sorted(there)
    assert len(set(there)) == len(there)
    # What is to be made has a selector that none had before, so no record hides a former one.
    made = [key["selector"] for key in keys if key["public"] is None]
    assert not set(made) & {key["selector"] for key in entries}
    assert sorted(made) == sorted(key["selector"] for key in _dkim.unmade(model))
    # Every lane has a key that signs or waits to.
    live = {(key["sender"], key["type"]) for key in keys if key["stage"] in ("signing", "published")}
    assert live == {(sender, kind) for sender in (None, "news@example.org") for kind in _dkim.KEY_TYPES}
    # To rotation the keys of former names alone have left, and it makes none where opendkim makes the first.
    plan = _dkim_rotation.plan(model, NOW, set(), True)
    left = {step["selector"] for step in plan["steps"] if step["host"].endswith(".net")}
    assert len(plan["left"]) == len(left)
    assert left == {key["selector"] for key in entries if key["selector"] in former and key["stage"] != "removed"}
    successors = [key["selector"] for keys in plan["make"].values() for key in keys]
    assert not set(successors) & (set(there) | set(made) | {key["selector"] for key in entries})
    assert len(set(successors)) == len(successors)


DOMAIN = {"name": "example.org", "spf": "", "dmarc": "", "caa": [], "reports": [], "dkim_test": False}


@given(MEMORIES)
def test_a_withdrawn_key_that_is_still_published_is_obsolete(memory):
    entries, _former = written(memory)
    model = {
        "gateways": [{"name": name, "ipv4": "", "ipv6": "", "retiring": True} for name in GATEWAYS],
        "domains": [{"name": "example.org"}],
        "dns": {"domains": [DOMAIN], "zones": [], "ttl": 60, "caa": []},
        "dkim_senders": {"news@example.org": "news"},
        "dkim": entries,
    }
    wanted = [record for record in _records.records(model) if record["kind"] == "DKIM"]
    published = {
        (f"{key['selector']}._domainkey.example.org", "TXT"): [(f"v=DKIM1; k={key['type']}; p={key['public']}",)]
        for key in entries
    }
    nothing = {(record["name"], "TXT"): [] for record in wanted}
    found = _dns.compare(wanted, _records.former_records(model), {**nothing, **published})
    problems = {difference["name"].partition(".")[0]: difference["problem"] for difference in found}
    withdrawn = {key["selector"]: "obsolete" for key in entries if key["stage"] == "removed"}
    assert problems == {**withdrawn, **{key["selector"]: "unmade" for key in _dkim.unmade(model)}}
