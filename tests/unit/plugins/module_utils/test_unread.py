# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a unit read its files, without a systemd."""

from __future__ import annotations

import pytest
from ansible_collections.gatehouse.mail.plugins.module_utils import _unread as core

STAMP = "StateChangeTimestamp=Sun 2026-11-22 01:57:30.494814 UTC\n"
SECONDS = 1795312650.494814
SHOWN = {
    "active": ("ActiveState=active\nReloadResult=success\n" + STAMP, SECONDS),
    "active, without ReloadResult as of a oneshot": ("ActiveState=active\n" + STAMP, SECONDS),
    "a reload that failed": ("ActiveState=active\nReloadResult=exit-code\n" + STAMP, 0.0),
    "stopped": ("ActiveState=inactive\nReloadResult=success\n" + STAMP, None),
    "failed": ("ActiveState=failed\nReloadResult=success\n" + STAMP, None),
    "about to start": ("ActiveState=activating\nReloadResult=success\n" + STAMP, None),
    "not there": ("ActiveState=inactive\nReloadResult=success\nStateChangeTimestamp=\n", None),
}


@pytest.mark.parametrize("state", SHOWN)
def test_read_at(state):
    shown, seconds = SHOWN[state]
    assert core.read_at(shown) == pytest.approx(seconds, abs=1e-6)


def test_a_reload_does_not_count_where_only_a_start_does():
    started = "ActiveEnterTimestamp=Sun 2026-11-22 01:57:20.494814 UTC\n"
    for result in ("success", "exit-code"):
        shown = f"ActiveState=active\nReloadResult={result}\n{STAMP}{started}"
        assert core.read_at(shown, by_reload=False) == pytest.approx(SECONDS - 10, abs=1e-6)
    assert core.read_at(f"ActiveState=active\n{STAMP}{started}") == pytest.approx(SECONDS, abs=1e-6)


def test_only_newer_files_are_unread():
    placed = {"/etc/z": 11.0, "/etc/a": 10.1, "/etc/same": 10.0, "/etc/old": 9.9}
    assert core.unread(10.0, placed) == ["/etc/a", "/etc/z"]


def test_what_does_not_run_has_nothing_unread():
    assert core.unread(None, {"/etc/a": 10.0}) == []


def test_a_failed_reload_read_nothing():
    assert core.unread(0.0, {"/etc/a": 10.0}) == ["/etc/a"]
