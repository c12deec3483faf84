# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""firewalld's settings, and the script that puts back what was there, with a systemctl that only takes notes."""

from __future__ import annotations

import subprocess

import pytest
from ansible_collections.gatehouse.mail.plugins.module_utils import _firewalld_zones as core

SETTINGS = {
    "as the package has it": (
        "# zone\nDefaultZone=public\nLogDenied=off\n",
        "# zone\nDefaultZone=internet\nLogDenied=off\n",
    ),
    "as it should be": ("DefaultZone=internet\n", "DefaultZone=internet\n"),
    "without the line": ("LogDenied=off\n", "LogDenied=off\nDefaultZone=internet\n"),
    "without an end of line": ("LogDenied=off", "LogDenied=off\nDefaultZone=internet\n"),
    "commented out": ("#DefaultZone=public\n", "#DefaultZone=public\nDefaultZone=internet\n"),
    "no file": ("", "DefaultZone=internet\n"),
}


@pytest.mark.parametrize("before, after", SETTINGS.values(), ids=SETTINGS)
def test_only_the_default_zone_is_changed(before, after):
    assert core.settings(before, "internet") == after


@pytest.fixture
def host(tmp_path, monkeypatch):
    """put_back(active, enabled) runs the script in a folder, and gives what systemctl was told."""
    monkeypatch.setattr(core, "TRIAL", str(tmp_path / "trial"))
    monkeypatch.setattr(core, "ENDED", str(tmp_path / "ended"))
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial/old.xml").write_text("old")
    (tmp_path / "zones").mkdir()
    for name in ("old", "new"):
        (tmp_path / f"zones/{name}.xml").write_text("new")
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/told\n')
    systemctl.chmod(0o755)

    def put_back(active, enabled):
        kept = {f"{tmp_path}/zones/old.xml": "old.xml", f"{tmp_path}/zones/new.xml": None}
        script = core.put_back(kept, active, enabled)
        subprocess.run(
            ["sh"], input=script, text=True, check=True, timeout=60, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}
        )
        told = tmp_path / "told"
        return told.read_text().splitlines() if told.exists() else []

    put_back.folder = tmp_path
    return put_back


@pytest.mark.parametrize(
    "active, enabled, told",
    [
        (True, True, ["reload firewalld"]),
        (False, True, ["stop firewalld"]),
        (False, False, ["stop firewalld", "disable firewalld"]),
    ],
)
def test_all_is_as_it_was_before(host, active, enabled, told):
    assert host(active, enabled) == told
    assert {path.name: path.read_text() for path in (host.folder / "zones").iterdir()} == {"old.xml": "old"}
    assert not (host.folder / "trial").exists() and not (host.folder / "ended").exists()


def test_what_was_confirmed_is_not_put_back(host):
    """Who confirms renames the folder away."""
    (host.folder / "trial").rename(host.folder / "elsewhere")
    assert host(True, True) == []
    assert {path.read_text() for path in (host.folder / "zones").iterdir()} == {"new"}
