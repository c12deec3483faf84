# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What firewalld's files should be, and the script that puts back what they were. No I/O and no Ansible."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

FOLDER = "/etc/firewalld"
SETTINGS = f"{FOLDER}/firewalld.conf"
UNIT = "gatehouse-firewall-trial"
# The trial is this folder. Who renames it away ends the trial: the script that puts back, or who confirms, never both.
TRIAL = f"/run/{UNIT}"
ENDED = f"/run/{UNIT}.ended"
SCRIPT = "put-back"


def zone_path(zone: str) -> str:
    return f"{FOLDER}/zones/{zone}.xml"


def settings(text: str, zone: str) -> str:
    """firewalld.conf with this default zone, and all else as it was (firewalld.conf(5))."""
    line = f"DefaultZone={zone}"
    changed, count = re.subn(r"^DefaultZone=.*$", line, text, flags=re.MULTILINE)
    return changed if count else f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{line}\n"


def put_back(kept: Mapping[str, str | None], active: bool, enabled: bool) -> str:
    """The script, for sh, that ends the trial by putting back what was there.

    kept: {path: the name of its copy in the folder of the trial, or None where there was no such file}; active and
    enabled: what systemd said of firewalld.
    """
    files = [
        f"rm -f {shlex.quote(path)}" if copy is None else f"cp -p {ENDED}/{shlex.quote(copy)} {shlex.quote(path)}"
        for path, copy in kept.items()
    ]
    daemon = "systemctl reload firewalld || systemctl restart firewalld" if active else "systemctl stop firewalld"
    return "\n".join([
        "# Written by gatehouse.mail, run by a timer.",
        f"rm -rf {ENDED}",
        f"mv -T {TRIAL} {ENDED} || exit 0",
        "echo 'No new ssh connection came through the new zones. The old ones are put back.'",
        *files,
        daemon,
        *([] if enabled else ["systemctl disable firewalld"]),
        f"rm -rf {ENDED}",
        "",
    ])  # fmt: skip
