# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is left of a unit, and which commands take it away.

No I/O and no Ansible. Sources: systemctl(1), org.freedesktop.systemd1(5) for ActiveState and UnitFileState.
"""

from __future__ import annotations

#: What ``systemctl show`` is asked for.
PROPERTIES = ("ActiveState", "UnitFileState")
# Neither runs nor would be started: static and the like are of units that another one starts.
_AT_REST = ("", "disabled", "generated", "indirect", "static", "transient")


def remedies(unit: str, shown: str) -> list[list[str]]:
    """The arguments of systemctl, a list for each call, after which the unit neither runs nor is started again; none
    where that is so already.

    ``shown`` is what ``systemctl show`` says of PROPERTIES, a line ``Name=value`` each. A unit that does not exist is
    inactive, and its UnitFileState is empty.
    """
    found = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    active, state = found["ActiveState"], found["UnitFileState"]
    calls = []
    if state.startswith("masked"):
        calls.append(["unmask", unit])  # first: what is masked can neither be stopped by its name nor disabled
    if active not in ("inactive", "failed"):
        calls.append(["stop", unit])
    if state not in _AT_REST:
        calls.append(["disable", unit])
    if active == "failed":
        calls.append(["reset-failed", unit])
    return calls
