# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The concerns of the model: each has the same face, and none takes what is another's."""

from __future__ import annotations

import copy
import types
from collections import Counter
from pathlib import Path

import pytest
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import milters
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import model as _model
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given
from generated import GROUPS, SITES

FOLDER = Path(__file__).parents[5] / "plugins/plugin_utils/_model"
TOOLS = {"given", "inventory", "model"}
DECLARATIONS = ("VARIABLES", "HOST_VARIABLES", "SECRETS", "DOMAIN_KEYS", "FOREIGN", "GROUPS")
SHORT = {concern.__name__.rpartition(".")[2]: concern for concern in _model.CONCERNS}


def said(site):
    """{concern: what it says of this site}, and all that, as later concerns have it."""
    members = {host: group for group, hosts in GROUPS.items() for host in hosts}
    problems, parts, found = [], {}, {}
    given = Given(_model._DECLARED, GROUPS, members, copy.deepcopy(SITES[site]), problems)
    for name, concern in SHORT.items():
        parts[name] = concern.read(given, types.MappingProxyType(dict(found)))
        found.update(parts[name])
    assert problems == []
    return parts, found


def twice(names):
    return [name for name, count in Counter(names).items() if count > 1]


def test_every_file_is_a_concern_or_a_tool_of_them():
    assert {path.stem for path in FOLDER.glob("*.py")} == {*SHORT, *TOOLS}


def test_no_name_is_declared_twice():
    names = [name for concern in _model.CONCERNS for face in DECLARATIONS for name in getattr(concern, face, ())]
    assert twice(names) == []
    assert twice([*names, "mail_ports"]) == ["mail_ports"]


@pytest.mark.parametrize("site", SITES)
def test_no_part_is_said_twice(site):
    parts, found = said(site)
    assert twice(name for part in parts.values() for name in part) == []
    for me in found["_hosts"]:
        views = [concern.view(me, found) for concern in _model.CONCERNS if hasattr(concern, "view")]
        assert twice([*found, *(name for view in views for name in view)]) == []


def test_milters_share_no_name_no_socket_and_no_turn():
    rows = milters.MILTERS
    for of in (lambda row: row.name, lambda row: row.port, lambda row: (row.folder, row.name)):
        assert twice(map(of, rows)) == []
    assert twice(row.option for row in rows if row.option) == []
    for service in milters.SERVICES:
        assert twice(row.turns[service] for row in rows if service in row.turns) == [], service
    assert {service for row in rows for service in row.turns} == set(milters.SERVICES)


def test_a_milter_is_one_row(monkeypatch):
    """With a boolean in the inventory: its default, its turn, its port and its role follow."""
    row = milters.Milter("tagger", 8896, "tagger", "tag", {"smtp": 45}, role="tagger", option="mail_tagger")
    monkeypatch.setattr(milters, "MILTERS", (*milters.MILTERS, row))
    monkeypatch.setitem(_model.SITE_VARIABLES, "mail_tagger", False)
    hosts = copy.deepcopy(SITES["lab"])
    off = _model.build(hosts, GROUPS)["mx1.example.org"]
    assert off["tagger"] is False
    assert "tagger" in off["absent"]
    for own in hosts.values():
        own.update(mail_spamassassin=True, mail_milter_sockets="inet", mail_tagger=True)
    monkeypatch.setattr(_model, "VARIABLES", (*_model.VARIABLES, "mail_tagger"))
    on = _model.build(hosts, GROUPS)["mx1.example.org"]
    assert on["milter_chains"]["smtp"][-3:] == ["clamav-milter", "tagger", "spamass-milter"]
    assert on["milters"][-1]["connect"] == "inet:127.0.0.1:8896"
    assert "8896" in [port["port"] for port in on["selinux_ports"]]
    assert "tagger" not in on["absent"]
