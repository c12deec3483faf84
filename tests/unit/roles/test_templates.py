# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the first play lets through can be written: all templates, and our modules' arguments, on the controller."""

from __future__ import annotations

import copy
import re

import known
import pytest
from generated import SITES, changed, judged
from hypothesis import HealthCheck, event, given, settings
from rendered import PLATFORMS, ROLES, Renderer, read, templates, trusted

# On the platforms that the lab has them on.
HOSTS = [("mx1.example.org", "el9"), ("mx2.example.org", "debian12"), ("store.example.org", "el9")]


@pytest.fixture(scope="module")
def renderer(tmp_path_factory):
    return Renderer(tmp_path_factory.mktemp("inventory"))


def renders(renderer, hosts, models):
    for host, platform in HOSTS:
        renderer.host(host, platform, hosts[host], models[host])


def test_every_template_is_rendered(renderer):
    """For gateways and mail hosts of every platform."""
    for hosts in SITES.values():
        problems, models = judged(copy.deepcopy(hosts))
        assert problems == []
        for host, platform in [(host, platform) for host in models for platform in PLATFORMS]:
            renderer.host(host, platform, hosts[host], models[host])
    assert templates() - renderer.sources == set()


# What no site of SITES has, since it goes with none of them.
CHOSEN = {
    "a relay host": {
        "mail_relayhost": {"host": "smtp.example.com", "port": 465, "login": "site@example.com"},
        "vault_mail_relayhost_password": "given by them",
    },
    "users of the operator's own": {
        "mail_users": "external",
        "vault_mail_password_hashes": {},
        "mail_mailbox_quotas": {},
    },
    "people on the internet": {"mail_submission_zones": ["internet", "vpn"]},
}


@pytest.mark.parametrize("name", CHOSEN)
def test_what_a_site_may_choose_is_rendered(renderer, name):
    hosts = {host: {**own, **CHOSEN[name]} for host, own in copy.deepcopy(SITES["lab"]).items()}
    hosts["store.example.org"]["mail_ipv4"] = "198.51.100.31"
    problems, models = judged(hosts)
    assert problems == []
    renders(renderer, hosts, models)


ALONE = sorted(path.name for path in ROLES.iterdir() if path.name != "mail")
SECRETS = {"vault_hash_of_alice": "{SSHA256}x", "vault_store_password": "a password of the store"}


@pytest.mark.parametrize("role", ALONE)
def test_without_a_model_the_documented_defaults_hold(renderer, role):
    options = read(ROLES / role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    documented = {name: option["default"] for name, option in options.items() if "default" in option}
    documented = {name: value for name, value in documented.items() if "{{" not in str(value)}
    assert {name: renderer.default(role, name) for name in documented} == documented


def test_who_moves_the_mail_log_moves_it_for_all(renderer):
    """Who reads it, besides rsyslog and logrotate."""
    moved = {"platform_mail_log": "/var/log/mail/all.log"}
    for role, name in (("awstats", "awstats_log"), ("fail2ban", "fail2ban_mail_log")):
        assert renderer.default(role, name, moved) == "/var/log/mail/all.log"


def test_what_defaults_read_of_the_model_is_in_it():
    """A default for the case without a model would hide a name that the model does not have."""
    _problems, models = judged(copy.deepcopy(SITES["lab"]))
    text = "".join((ROLES / role / "defaults/main.yml").read_text() for role in ALONE)
    for path in set(re.findall(r"mail_model((?:\.\w+\b(?!\())+)", text)):
        found = [at(model, path.split(".")[1:]) for model in models.values()]
        assert None not in found, path


def at(value, keys):
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def example(role):
    """The host, and for each role its variables, of the play in a role's README."""
    play = known.example(role)
    of_play = {**SECRETS, **play.get("vars", {})}
    entries = [entry if isinstance(entry, dict) else {"role": entry} for entry in play["roles"]]
    return play["hosts"], {entry.pop("role").rpartition(".")[2]: trusted({**of_play, **entry}) for entry in entries}


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("role", ALONE)
def test_the_example_of_each_role_needs_no_model(renderer, role, platform):
    host, roles = example(role)
    assert role in roles
    for name, variables in roles.items():
        renderer.alone(name, host, platform, variables)


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
