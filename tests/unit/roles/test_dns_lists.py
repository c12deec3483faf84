# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role dns_lists' program: when a DNS list works, and what is said when that changes."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from yaml import safe_load

ROLES = Path(__file__).parents[3] / "roles"
PROGRAM = runpy.run_path(str(ROLES / "dns_lists/files/usr/local/sbin/gatehouse-dns-lists.py"))

ENTRY = {
    "zone": "bl.example",
    "listed": "2.0.0.127",
    "unlisted": "1.0.0.127",
    "uses": [{"name": "dns_list_bl_refuse"}, {"name": "dns_list_bl_score"}],
}
NAMES = {use["name"] for use in ENTRY["uses"]}
ANSWERS = {
    "works": (["127.0.0.2"], [], ""),
    "works, with several answers": (["127.0.0.2", "127.0.0.4"], [], ""),
    "is empty": ([], [], "does not list 2.0.0.127"),
    "lists all": (["127.0.0.2"], ["127.0.0.2"], "lists 1.0.0.127, so perhaps the world"),
    "refuses who asks": (["127.255.255.254"], [], "answers with 127.255.255.254"),
    "refuses who asks, in the older way": (["127.0.0.255"], [], "answers with 127.0.0.255"),
    "is a domain for sale": (["192.0.2.80"], ["192.0.2.80"], "answers with 192.0.2.80"),
}


@pytest.mark.parametrize("listed, unlisted, why", ANSWERS.values(), ids=ANSWERS)
def test_a_list_works_that_has_one_test_point_and_not_the_other(listed, unlisted, why):
    assert PROGRAM["wrong"](ENTRY, listed, unlisted) == why


NEWS = {
    "works as before": ("", NAMES, ""),
    "works again": ("", set(), "bl.example works and is asked from now on"),
    "has a use more": ("", {"dns_list_bl_score"}, "bl.example works and is asked from now on"),
    "works no more": ("no answer", NAMES, "bl.example is not asked any more: no answer"),
    "has never worked": ("no answer", set(), "bl.example is not asked: no answer"),
}


@pytest.mark.parametrize("why, asked, said", NEWS.values(), ids=NEWS)
def test_what_changes_is_said(why, asked, said):
    assert PROGRAM["news"](ENTRY, why, asked) == said


def test_the_table_has_the_type_that_role_postfix_asks_for():
    names = safe_load((ROLES / "postfix/vars/main.yml").read_text())
    assert PROGRAM["KIND"] == names["__postfix_written_type"]
