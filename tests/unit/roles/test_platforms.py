# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A platform is a row of role platform's table, and what it does otherwise an overlay of a role's names."""

from __future__ import annotations

import re

import pytest
from rendered import PLATFORMS, ROLES, ROOT, layers
from yaml import safe_load

FAMILIES = {row["family"].lower() for row in PLATFORMS.values()}
WITH_NAMES = sorted(path.parent for path in ROLES.glob("*/vars"))


def read(path):
    return safe_load(path.read_text()) or {}


@pytest.mark.parametrize("role", WITH_NAMES, ids=lambda role: role.name)
def test_families_define_the_same_names(role):
    names = {family: sorted(read(role / f"vars/{family}.yml")) for family in FAMILIES}
    assert len(set(map(str, names.values()))) == 1, names


@pytest.mark.parametrize("role", WITH_NAMES, ids=lambda role: role.name)
def test_an_overlay_is_a_platform_s_and_says_only_what_differs(role):
    known = {file for platform in PLATFORMS for file in layers(platform)}
    assert {path.name for path in (role / "vars").iterdir()} <= known
    for platform in PLATFORMS:
        _main, family, overlay = (role / "vars" / file for file in layers(platform))
        if overlay.exists():
            names = read(family)
            assert [name for name, value in read(overlay).items() if names.get(name, value) == value] == []


@pytest.mark.parametrize("role", sorted(ROLES.iterdir()), ids=lambda role: role.name)
def test_every_role_says_which_platforms_it_is_for(role):
    claimed = {
        (platform["name"], version)
        for platform in read(role / "meta/main.yml")["galaxy_info"]["platforms"]
        for version in platform["versions"]
    }
    assert claimed == {(row["galaxy"]["name"], row["galaxy"]["version"]) for row in PLATFORMS.values()}


def test_documents_claim_what_is_known():
    text = (ROOT / "docs/platforms.md").read_text()
    assert sorted(re.findall(r"^\| ([^|]+) \| yes \|", text, re.MULTILINE)) == sorted(
        row["name"] for row in PLATFORMS.values()
    )
