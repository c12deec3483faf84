# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the first play lets through can be written: all templates, and our modules' arguments, on the controller."""

from __future__ import annotations

import copy

import pytest
from generated import SITES, changed, judged
from hypothesis import HealthCheck, event, given, settings
from rendered import Renderer, templates

# The lab's families, and the store on the other one.
HOSTS = [("mx1.example.org", "RedHat"), ("mx2.example.org", "Debian"), ("store.example.org", "RedHat")]


@pytest.fixture(scope="module")
def renderer(tmp_path_factory):
    return Renderer(tmp_path_factory.mktemp("inventory"))


def renders(renderer, hosts, models):
    for host, family in HOSTS:
        renderer.host(host, family, hosts[host], models[host])


def test_every_template_is_rendered(renderer):
    """For gateways and mail hosts of both families."""
    for hosts in SITES.values():
        problems, models = judged(copy.deepcopy(hosts))
        assert problems == []
        for host, family in [(host, family) for host in models for family in ("RedHat", "Debian")]:
            renderer.host(host, family, hosts[host], models[host])
    assert templates() - renderer.sources == set()


def goes_through(renderer, name, hosts):
    problems, models = judged(hosts)
    event("refused" if problems else "goes through")
    if not problems:
        renders(renderer, hosts, models)


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(change=changed(sites=tuple(SITES)))
def test_what_goes_through_can_be_written(renderer, change):
    goes_through(renderer, *change)


@pytest.mark.stress
@settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
@given(change=changed(sites=tuple(SITES)))
def test_thousands_that_go_through_can_be_written(renderer, change):
    goes_through(renderer, *change)
