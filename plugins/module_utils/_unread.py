# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files a running unit has not read, judged by when they came into place and when it last changed its state.

No I/O and no Ansible. Times are seconds since the epoch. Sources: systemctl(1) for ``--timestamp=us+utc``,
org.freedesktop.systemd1(5) for StateChangeTimestamp, which a start, a restart and a reload set alike (a reload is a
change from active to reloading and back), for ActiveEnterTimestamp, which a reload leaves alone, and for ReloadResult.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

#: What ``systemctl show`` is asked for.
PROPERTIES = ("ActiveState", "ReloadResult", "StateChangeTimestamp", "ActiveEnterTimestamp")


def read_at(shown: str, by_reload: bool = True) -> float | None:
    """When the unit last read its files; None while it does not run, for then it will read them when it starts.

    ``shown`` is what ``systemctl show --timestamp=us+utc`` says of PROPERTIES, a line ``Name=value`` each. A unit whose
    last reload failed has read nothing, hence 0. Without ``by_reload`` only its start counts.
    """
    unit = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if unit.get("ActiveState") != "active":
        return None
    if by_reload and unit.get("ReloadResult", "success") != "success":
        return 0.0
    shown_time = unit["StateChangeTimestamp" if by_reload else "ActiveEnterTimestamp"]
    stamp = datetime.strptime(shown_time, "%a %Y-%m-%d %H:%M:%S.%f UTC")
    return stamp.replace(tzinfo=timezone.utc).timestamp()


def unread(since: float | None, placed: Mapping[str, float]) -> list[str]:
    """The files that came into place after ``since``, sorted; none where ``since`` is None.

    ``placed`` gives each file's ctime: unlike the mtime, which a copy may keep, it says when the file was renamed.
    """
    return [] if since is None else sorted(path for path, ctime in placed.items() if ctime > since)
