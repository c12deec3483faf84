# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's inventory, changed in one place: it goes through, or is refused in the model's words, and nothing else."""

from __future__ import annotations

import copy
import datetime
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.gatehouse.mail.plugins.module_utils import _arguments, _model
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[4]
GROUPS = {"mail_gateways": ["mx1.example.org", "mx2.example.org"], "mail_stores": ["store.example.org"]}
LAB = {"lab_vpn4": "10.99.0", "lab_internet4": "198.51.100", "lab_internet6": "2001:db8:51"}
LAB |= {"lab_reverse_zones[0]": "100.51.198.in-addr.arpa", "lab_reverse_zones[2]": "1.5.0.0.8.b.d.0.1.0.0.2.ip6.arpa"}


def read(path):
    return yaml.safe_load(re.sub(r"\{\{ (.*?) \}\}", lambda match: LAB.get(match[1], ""), (ROOT / path).read_text()))


def of_roles():
    """The options of all roles' variables, and the defaults that are constants."""
    options, constants = {}, {}
    for folder in (ROOT / "roles").iterdir():
        if folder.name != "mail":
            specification = yaml.safe_load((folder / "meta/argument_specs.yml").read_text())
            options.update(specification["argument_specs"]["main"]["options"])
            defaults = yaml.safe_load((folder / "defaults/main.yml").read_text())
            constants.update({name: value for name, value in defaults.items() if "{{" not in str(value)})
    return options, constants


def lab():
    """{host: variables}: every mail_* that the lab has, and the others by their documented defaults."""
    specification = yaml.safe_load((ROOT / "roles/mail/meta/argument_specs.yml").read_text())
    documented = specification["argument_specs"]["main"]["options"]
    site = {name: option["default"] for name, option in documented.items() if "default" in option}
    for name in ("mail_preference", "mail_certificate_files", "mail_retiring"):  # of gateways alone
        del site[name]
    for file in ("mail", "vault"):
        site |= read(f"inventories/lab/group_vars/all/{file}.yml")
    site |= CONSTANTS
    del site["lab_passwords"]
    children = read("inventories/lab/hosts.yml")["all"]["children"]
    hosts = {host: own for group in GROUPS for host, own in children[group]["hosts"].items()}
    return {
        host: {**site, **{name: value for name, value in own.items() if name.startswith("mail_")}}
        for host, own in hosts.items()
    }


LINE = r"(?:host|group) [^ :]+: [^\n]+; [^\n]+"
SHARED = (*_model.SITE_VARIABLES, *_model.SECRETS)
OPTIONS, CONSTANTS = of_roles()
HOSTS = lab()
ODD = [
    *(None, True, False, 0, -1, 2**70, 1.5, float("nan"), datetime.date(2026, 11, 26)),
    *("", " ", "\t", "x\n", "\0", "é", "\ud800", "20 Tage", "-1", "wpn", "@", "a@b", "#", "{{", "x" * 300, "0.0.0.0/0"),
    *("192.168.1.12", "::1", "example.org", "alice@example.org", "{BLF-CRYPT}x", "127.0.0.[2..11]", "1" * 5000),
    *([], {}, [[]], [None], {None: None}, {1: 2}, {"x": []}, {"name": None}, ["a", "a"], (), {(1, 2): 3}),
]
VALUES = st.one_of(
    st.sampled_from(ODD),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=5,
    ),
)


@st.composite
def changed(draw):
    """The lab with one value replaced, removed or doubled, at all hosts or at one; and the name of the variable."""
    hosts = copy.deepcopy(HOSTS)
    host = draw(st.sampled_from(sorted(hosts)))
    name = draw(st.sampled_from(sorted(hosts[host])))
    holder = hosts[host]
    key = name
    while isinstance(holder[key], (dict, list)) and holder[key] and draw(st.booleans()):
        holder = holder[key]
        key = draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
    how = draw(st.sampled_from(["replace", "replace", "replace", "remove", "double"]))
    if how == "replace":
        holder[key] = draw(VALUES)
    elif how == "remove":
        del holder[key]
    elif isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    else:
        holder[f"{key}x"] = holder[key]
    if name in _model.SITE_VARIABLES or draw(st.booleans()):
        for other in hosts:
            if name in hosts[host]:
                hosts[other][name] = hosts[host][name]
            else:
                hosts[other].pop(name, None)
    return name, hosts


def problems_of(hosts):
    options = {name: option for name, option in OPTIONS.items() if name not in _model.FOREIGN}
    found = _arguments.problems(hosts, options)
    try:
        _model.parts(hosts, GROUPS)
    except _model.InventoryError as error:
        found = [*found, *error.problems]
    return found


def holds(name, hosts):
    before = copy.deepcopy(hosts)
    found = problems_of(hosts)
    assert repr(hosts) == repr(before)
    event("refused" if found else "goes through")
    for line in found:
        assert re.fullmatch(LINE, line), line
    assert not found or any(name in line or "mail_" in line for line in found)
    secret = [value for key, value in HOSTS["mx1.example.org"]["vault_mail_login_passwords"].items()]
    assert not any(value in line for line in found for value in secret)


def test_the_lab_itself_goes_through():
    assert problems_of(copy.deepcopy(HOSTS)) == []


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
            for line in problems_of(hosts):
                assert re.fullmatch(LINE, line), line
