# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model of any good inventory has the shape that the filter's documentation says, no more and no less."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import model as _model
from generated import GROUPS, SITES, example, mixed

PAGE = yaml.safe_load((Path(__file__).parents[4] / "plugins/filter/model.yml").read_text())
DOCUMENTED = PAGE["RETURN"]["_value"]["contains"]
SITE = DOCUMENTED["site"]["contains"]
HOST = DOCUMENTED["hosts"]["contains"]["HOST"]["contains"]
KEYS_ARE_DATA = {
    "aliases",
    "dkim_senders",
    "first_aliases",
    "logins",
    "mailbox_quotas",
    "senders",
    "stored_senders",
    "keyed_zones",
}
MODELLED = {**SITES, "example": example(), **{f"seed {seed}": mixed(seed) for seed in range(10)}}


def kind(value):
    return type(value).__name__


def shape(value, documented):
    """What of this part is not as documented: names that are there or lacking, and types."""
    found = [f"{name} is not documented" for name in value if name not in documented]
    for name, option in documented.items():
        if name not in value:
            found.append(f"{name} is not there")
        elif kind(value[name]) != option["type"]:
            found.append(f"{name} is {kind(value[name])}, not {option['type']}")
        elif option["type"] == "list":
            found += [f"{name} holds {item!r}" for item in value[name] if kind(item) != option["elements"]]
    return found


def unnamed(value, documented):
    """The keys of dictionaries within that their part's description does not name."""
    found = set()
    for name, option in documented.items():
        named = set(re.findall(r"C\((\w+)\)", json.dumps(option["description"])))
        inner = value[name] if isinstance(value[name], list) else [value[name]]
        for item in inner if name not in KEYS_ARE_DATA else ():
            found |= {(name, key) for key in item if key not in named} if isinstance(item, dict) else set()
    return found


@pytest.mark.parametrize("name", MODELLED)
def test_a_model_is_as_documented(name):
    site, hosts = _model.site_and_hosts(copy.deepcopy(MODELLED[name]), GROUPS)
    assert shape(site, SITE) == []
    assert unnamed(site, SITE) == set()
    for view in hosts.values():
        assert shape(view, HOST) == []
        assert unnamed(view, HOST) == set()


def test_the_sites_differ():
    models = {json.dumps(_model.site_and_hosts(copy.deepcopy(hosts), GROUPS)) for hosts in MODELLED.values()}
    assert len(models) == len(MODELLED)


def test_a_key_too_many_one_too_few_and_a_wrong_type_are_seen():
    site, _hosts = _model.site_and_hosts(copy.deepcopy(SITES["lab"]), GROUPS)
    del site["postmaster"]
    site |= {"more": 1, "statistics": 1, "own_names": [1]}
    assert [line.partition(" ")[0] for line in shape(site, SITE)] == ["more", "own_names", "postmaster", "statistics"]
    site["bans"]["more"] = True
    assert unnamed({**site, "postmaster": ""}, SITE) == {("bans", "more")}
