# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A place beside a file where its successor is made before it takes over by one rename."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator


def aside_prefix(path: str) -> str:
    return f".{os.path.basename(path)}.aside-"


def leftovers(path: str) -> list[str]:
    """Private folders beside ``path`` that a killed run left behind, or that a living one works in."""
    parent = os.path.dirname(path)
    names = os.listdir(parent) if os.path.isdir(parent) else []
    return [os.path.join(parent, name) for name in names if name.startswith(aside_prefix(path))]


@contextlib.contextmanager
def folder_aside(path: str) -> Iterator[str]:
    """A private folder beside ``path``, so that renaming out of it stays within one file system.

    The lock on the parent tells the leftover of a killed run from the work of a living one. A name is never used twice,
    because a program that a killed run started may still write there; what cannot be removed for that reason the next
    run will.
    """
    parent = os.path.dirname(path)
    lock = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in leftovers(path):
            shutil.rmtree(leftover, ignore_errors=True)
        aside = tempfile.mkdtemp(prefix=aside_prefix(path), dir=parent)
        try:
            yield aside
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    finally:
        os.close(lock)


def flush(path: str) -> None:
    """Have a file or folder on disk before going on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def go_live(new: str, path: str) -> None:
    """Let ``new`` take the place of ``path``; whoever has power cut sees the one or the other, whole."""
    flush(new)
    os.replace(new, path)
    flush(os.path.dirname(path))


def write(path: str, text: str) -> None:
    """Write a file as a whole, with the mode that the umask leaves."""
    with folder_aside(path) as aside:
        new = os.path.join(aside, "new")
        with open(new, "w", encoding="utf-8") as file:
            file.write(text)
        go_live(new, path)
