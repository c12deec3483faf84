# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which DKIM keys there are: one answer for opendkim, for the records, and for rotation."""

from __future__ import annotations

import datetime

from ansible_collections.gatehouse.mail.plugins.module_utils import _dkim, _dkim_rotation, _dns
from hypothesis import given
from hypothesis import strategies as st

PUBLIC = "ERijMbvo6AxCXHGccCqD/KD18LJ4b7iDQ+Jc/qrTdeQ="
NOW = datetime.datetime(2026, 12, 1, tzinfo=datetime.timezone.utc)
GATEWAYS = ("mx1.example.org", "mx2.example.org")


def entry(selector, kind="rsa", stage="signing", host="mx1.example.org"):
    public = PUBLIC if kind == "ed25519" else PUBLIC * 8
    return {"domain": "example.org", "selector": selector, "host": host, "type": kind, "stage": stage,
            "since": "2026-11-01T00:00:00Z", "public": public}  # fmt: skip


def keys_of(*written, senders=None):
    model = {
        "me": {"name": "mx1.example.org", "short": "mx1"},
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


# Any memory of keys: each kind of key, of either gateway, of the domain and of a sender, in any stage, and none.
SELECTORS = {
    host: [
        (base + number + suffix, kind)
        for base in (short, f"news-{short}")
        for number in ("", "-2", "-202612")
        for kind, suffix in _dkim.KEY_TYPES.items()
    ]
    for host, short in zip(GATEWAYS, ("mx1", "mx2"))
}
STAGES = st.sampled_from((None, *_dkim.STAGES))
MEMORIES = st.fixed_dictionaries(
    {(host, *selector): STAGES for host, selectors in SELECTORS.items() for selector in selectors}
)


@given(MEMORIES)
def test_records_opendkim_and_rotation_agree(stages):
    written = [entry(selector, kind, stage, host) for (host, selector, kind), stage in stages.items() if stage]
    model = {
        "gateways": [{"name": name} for name in GATEWAYS],
        "domains": [{"name": "example.org"}],
        "dns": {"domains": [{"name": "example.org"}], "zones": [], "ttl": 60},
        "dkim_senders": {"news@example.org": "news"},
        "dkim": written,
        "dkim_rotation": _dkim.ROTATION,
    }
    keys = [key for gateway in GATEWAYS for key in _dkim.keys(model, gateway)]
    there = {key["selector"] for key in keys if key["stage"] != "removed"}
    # A record for each key that is there or will be made, and for no other.
    assert {key["selector"] for key in _dns._keys(model)["example.org"]} == there
    # What is to be made has a selector that none had before, so no record hides a former one.
    made = [key["selector"] for key in keys if key["public"] is None]
    assert not set(made) & {entry["selector"] for entry in written}
    assert sorted(made) == sorted(key["selector"] for key in _dkim.unmade(model))
    # Every lane has a key that signs or waits to.
    assert {key["sender"] for key in keys if key["stage"] in ("signing", "published")} == {None, "news@example.org"}
    # Rotation knows the same lanes: it says of no key that it has left, and makes none where opendkim makes the first.
    plan = _dkim_rotation.plan(model, NOW, set(), True)
    assert plan["left"] == []
    successors = [key["selector"] for keys in plan["make"].values() for key in keys]
    assert not set(successors) & (there | set(made))
