# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's inventory, changed in one place: it goes through, or is refused in the model's words, and nothing else."""

from __future__ import annotations

import copy
import re

import pytest
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import model as _model
from generated import HOSTS, ODD, SITES, changed, judged
from hypothesis import HealthCheck, event, given, settings

LINE = r"(?:host|group) [^ :]+: [^\n]+; [^\n]+"
SHARED = (*_model.SITE_VARIABLES, *_model.SECRETS)


def holds(name, hosts):
    before = copy.deepcopy(hosts)
    found = judged(hosts)[0]
    assert repr(hosts) == repr(before)
    event("refused" if found else "goes through")
    for line in found:
        assert re.fullmatch(LINE, line), line
    assert not found or any(name in line or "mail_" in line for line in found)
    secret = [value for key, value in HOSTS["mx1.example.org"]["vault_mail_login_passwords"].items()]
    assert not any(value in line for line in found for value in secret)


@pytest.mark.parametrize("site", SITES)
def test_a_site_itself_goes_through(site):
    assert judged(copy.deepcopy(SITES[site]))[0] == []


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(changed())
def test_one_change_goes_through_or_is_refused_in_words(change):
    holds(*change)


@pytest.mark.stress
@settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
@given(changed())
def test_thousands_of_changes_go_through_or_are_refused_in_words(change):
    holds(*change)


def places(value, path=()):
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*path, key))


@pytest.mark.stress
@pytest.mark.parametrize("name", sorted(HOSTS["mx1.example.org"]))
def test_every_odd_value_at_every_place_goes_through_or_is_refused_in_words(name):
    for path in places({name: HOSTS["mx1.example.org"][name]}):
        for odd in ODD if path else ():
            hosts = copy.deepcopy(HOSTS)
            for own in (each for host, each in hosts.items() if host == "mx1.example.org" or name in SHARED):
                holder = own
                for key in path[:-1]:
                    holder = holder[key]
                holder[path[-1]] = copy.deepcopy(odd)
            for line in judged(hosts)[0]:
                assert re.fullmatch(LINE, line), line
