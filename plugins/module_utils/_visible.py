# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reader of a text cannot see in it, though a program does. No Ansible."""

from __future__ import annotations

import unicodedata

_MARK = "\ufeff"  # what some editors write before the first line of a file


def unseen(text: str) -> str:
    """The first character of the text that leaves no mark on paper, in words and with its position from 1; empty where
    every character does, or is a plain space."""
    at = next((at for at, character in enumerate(text) if not character.isprintable()), None)
    if at is None:
        return ""
    kind = "control" if unicodedata.category(text[at]) == "Cc" else "invisible"
    what = "a byte order mark, " if text[at] == _MARK else f"{kind} character "
    return f"{what}U+{ord(text[at]):04X} at {at + 1}"
