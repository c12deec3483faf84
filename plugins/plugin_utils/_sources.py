# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that an inventory consists of. On the controller only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SUFFIXES = ("", ".yml", ".yaml", ".json")  # what Ansible reads in group_vars and host_vars


def files(variables: Mapping[str, Any]) -> list[Path]:
    """Where an inventory's variables stand: the sources themselves, and group_vars and host_vars beside, sorted."""
    sources = [Path(source) for source in variables["ansible_inventory_sources"] if os.path.exists(source)]
    folders = {Path(variables["playbook_dir"])}
    found: set[Path] = set()
    for source in sources:
        folders.add(source if source.is_dir() else source.parent)
        found.update(source.iterdir() if source.is_dir() else [source])
    for folder in folders:
        for name in ("group_vars", "host_vars"):
            found.update((folder / name).rglob("*"))
    return sorted(path for path in found if path.is_file() and path.suffix in SUFFIXES)
