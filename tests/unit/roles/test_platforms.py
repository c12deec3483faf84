# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A platform is a row of role platform's table, and what it does otherwise an overlay of a role's names."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest
from rendered import PLATFORMS, ROLES, ROOT, facts, layers
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


def loaders(role):
    for path in role.glob("tasks/*.yml"):
        for task in read(path):
            if "ansible.builtin.include_vars" in task:
                yield task["ansible.builtin.include_vars"]


LOADER = next(loaders(ROLES / "unbound"))


def test_every_role_loads_its_names_as_unbound_does():
    assert all(list(loaders(role)) for role in WITH_NAMES)
    assert [role.name for role in WITH_NAMES for loader in loaders(role) if loader != LOADER] == []


@pytest.mark.parametrize("role", WITH_NAMES, ids=lambda role: role.name)
def test_a_role_says_whether_its_packages_are_from_epel(role):
    asks = any("from_epel: true" in path.read_text() for path in role.glob("tasks/*.yml"))
    assert ("its packages are from EPEL" in " ".join((role / "README.md").read_text().split())) == asks


WANTED = ["__given_main", "__given_redhat", "__given_redhat_9"]
PLAY = [
    {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": [
            {"ansible.builtin.set_fact": {**facts("el9"), "cacheable": True}},
            {"ansible.builtin.import_role": {"name": "given"}},
            {
                "ansible.builtin.assert": {
                    "that": [
                        "__given_last == 'redhat_9'",
                        f"query('ansible.builtin.varnames', '^__given_(?!last)') | sort == {WANTED}",
                    ]
                }
            },
        ],
    }
]


def test_the_overlay_of_the_major_version_comes_last_and_no_other_one(tmp_path):
    role = tmp_path / "roles/given"
    (role / "vars").mkdir(parents=True)
    for file in ("main", "redhat", "redhat_9", "redhat_90", "redhat_8", "centos", "debian", "debian_9"):
        (role / f"vars/{file}.yml").write_text(json.dumps({f"__given_{file}": True, "__given_last": file}))
    (role / "tasks").mkdir()
    (role / "tasks/main.yml").write_text(json.dumps([{"ansible.builtin.include_vars": LOADER}]))
    (tmp_path / "play.yml").write_text(json.dumps(PLAY))
    done = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", "play.yml"],
        env={name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


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


def test_each_platform_has_an_image_a_host_for_modules_and_a_mail_host():
    images = re.findall(r"^image (\w+) ", (ROOT / "molecule/images/build").read_text(), re.MULTILINE)
    assert sorted(images) == sorted([*PLATFORMS, "machine", "world"])
    modules = read(ROOT / "molecule/modules/hosts.yml")["all"]["children"]["modules"]["hosts"]
    assert sorted(modules) == sorted(PLATFORMS)
    labs = re.findall(r"scenario site ght (\w+) (\w+) (\w+)", (ROOT / "tests/stage").read_text())
    first, second, stores = (set(place) for place in zip(*labs, strict=True))
    assert first | second == set(PLATFORMS)
    assert stores == set(PLATFORMS) - {"el10"}  # which has no postgrey, and the lab's mail host keeps the greylist
