# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory keeps of DKIM keys."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _dkim_inventory as core
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

HOST, SINCE, BEFORE = "mx1.example.org", "2026-11-27T07:00:00Z", "2026-01-01T00:00:00Z"
KEY = {"domain": "example.org", "selector": "mx1", "type": "rsa", "stage": "signing", "public": None}
RECORD = {**KEY, "host": HOST, "since": SINCE}


def pem(private):
    return (
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def test_the_public_part_is_what_stands_in_a_record():
    curve = ed25519.Ed25519PrivateKey.generate()
    raw = curve.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    assert core.public_part(pem(curve), "ed25519") == base64.b64encode(raw).decode()
    other = rsa.generate_private_key(65537, 2048)
    whole = other.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert core.public_part(pem(other), "rsa") == base64.b64encode(whole).decode()


def test_a_key_is_added_to_those_of_others():
    others = {**RECORD, "selector": "mx2", "host": "mx2.example.org", "public": "b", "since": BEFORE}
    assert core.written([others], [(KEY, "a")], HOST, SINCE) == [{**RECORD, "public": "a"}, others]


def test_a_key_that_is_there_stays_as_it_is():
    there = {**RECORD, "public": "a", "since": BEFORE, "stage": "published"}
    assert core.written([there], [(KEY, "a")], HOST, SINCE) == [there]


def test_two_hosts_have_no_key_of_one_name():
    there = {**RECORD, "host": "mx2.example.org", "public": "b"}
    with pytest.raises(ValueError, match=r"example\.org/mx1 is a key of mx2\.example\.org; give mx1"):
        core.written([there], [(KEY, "a")], HOST, SINCE)


def test_a_key_that_was_lost_is_replaced():
    there = {**RECORD, "public": "lost", "since": BEFORE}
    assert core.written([there], [(KEY, "a")], HOST, SINCE) == [{**RECORD, "public": "a"}]
