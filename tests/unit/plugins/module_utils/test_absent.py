# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What it takes to lay a unit to rest, without a systemd."""

from __future__ import annotations

import pytest
from ansible_collections.gatehouse.mail.plugins.module_utils import _absent as core

# (ActiveState, UnitFileState): the calls of systemctl
STATES = {
    "runs and is enabled": ("active", "enabled", ["stop", "disable"]),
    "runs, started by hand": ("active", "disabled", ["stop"]),
    "about to start again": ("activating", "enabled", ["stop", "disable"]),
    "runs, without a file any more": ("active", "", ["stop"]),
    "stopped by hand": ("inactive", "enabled", ["disable"]),
    "enabled until the next boot": ("inactive", "enabled-runtime", ["disable"]),
    "failed": ("failed", "enabled", ["disable", "reset-failed"]),
    "failed, and its file is gone": ("failed", "", ["reset-failed"]),
    "masked": ("inactive", "masked", ["unmask", "disable"]),
    "at rest": ("inactive", "disabled", []),
    "never there": ("inactive", "", []),
    "one that a timer starts": ("inactive", "static", []),
    "one of a script in init.d": ("inactive", "generated", []),
}


@pytest.mark.parametrize("name", STATES)
def test_remedies(name):
    active, state, verbs = STATES[name]
    calls = core.remedies("x.service", f"ActiveState={active}\nUnitFileState={state}\n")
    assert calls == [[verb, "x.service"] for verb in verbs]
