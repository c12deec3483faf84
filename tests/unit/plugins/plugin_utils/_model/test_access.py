# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom the operator knows, and which checks are only tried, from inventories alone."""

from __future__ import annotations

import pytest
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import access as core
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import Place

OURS = {"example.org"}


def read(tried=(), access=None):
    """(tried, rules, problems) of these values."""
    problems = []
    at = Place(problems, "host mx1")
    tried = core.tried_checks(at["mail_tried_checks"], list(tried))
    return tried, core.access(at["mail_access"], access or {}, OURS), problems


def test_checks_that_can_be_tried():
    tried, _rules, problems = read(tried=["reject_non_fqdn_sender", "reject_unlisted_recipient"])
    assert tried == ["reject_non_fqdn_sender"]
    assert '"reject_unlisted_recipient" is not a known check that can be tried' in problems[0]


def test_rules_keep_their_order():
    clients = [
        {"match": "203.0.113.9", "then": "accept"},
        {"match": "203.0.113.0/24", "then": "refuse", "reason": "no"},
    ]
    _tried, rules, problems = read(access={"clients": clients, "senders": [{"match": "@Example.net", "then": "warn"}]})
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
    _tried, rules, problems = read(access=written)
    assert not problems
    client = f"{'n' * 255}[2001:1db8:1111:2222:3333:4444:5555:6666]"
    assert len(f"554 5.7.1 <{client}>: Client host rejected: {rules['clients'][0]['reason']}\r\n") == 512


@pytest.mark.parametrize("what", ["clients", "senders", "recipients"])
def test_rules_that_are_none_are_each_named(what):
    *_others, problems = read(access={what: ["a", "a"]})
    for index in (0, 1):
        assert any(line.startswith(f"host mx1: mail_access.{what}[{index}]") for line in problems)
    assert not any("twice" in line for line in problems)
