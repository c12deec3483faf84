# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what a run writes on the controller can be written, and is read by the next run. On the controller only."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

SUFFIXES = ("", ".yml", ".yaml", ".json")  # what Ansible reads in group_vars, and in this order one of them alone


def why_not(path: Path, folders: Collection[Path] | None = None) -> tuple[str, str] | None:
    """Why a run could not write the file, or the next run not read it, and what to do; None where it can.

    folders: those in which Ansible reads group_vars; None for a file that is read in another way. A folder that is not
    there yet is made by the run.
    """
    if folders is not None:
        base, beside = path.parents[2], _passed_over(path.parent)
        if base not in folders:
            return "is in no folder in which Ansible reads group_vars", f"name the inventory by `-i {base}`"
        if beside is not None:
            return (
                f"would make Ansible pass over {beside}",
                f"run `cd {beside.parent} && mv {beside.name} all.moved && mkdir all && mv all.moved all/main.yml`",
            )
    there = next(each for each in (path, *path.parents) if os.path.lexists(each))
    if (there != path and not there.is_dir()) or not os.access(there, os.W_OK):
        return f"cannot be written ({there})", "let who runs Ansible write there, or write another path"
    return None


def _passed_over(folder: Path) -> Path | None:
    """The file of group variables that Ansible would not read any more if there were this folder."""
    if folder.is_dir():
        return None
    beside = (folder.with_name(folder.name + suffix) for suffix in SUFFIXES)
    return next((path for path in beside if path.is_file()), None)
