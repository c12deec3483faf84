# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is not greylisted, from inventories alone."""

from __future__ import annotations

import pytest
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import greylist
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import Place

OURS = {"example.org"}


def exceptions(written):
    problems = []
    at = Place(problems, "host mx1")["mail_greylist_exceptions"]
    return greylist.exceptions(at, written, OURS), problems


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
