# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The mail log with its rotated files, read from where it was left. Only the standard library.

A rotated file has another name, and later it is packed; so a file is known by what it begins with. Lines of the last
seconds are left for the next time: what was read ends between two seconds, and rsyslog has let go of a file that was
rotated before.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import gzip
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Optional

import maillog

HEAD = 4096  # octets by which a file is known
LONGEST = 65536  # octets of a line; rsyslog cuts at 8 KiB


@dataclasses.dataclass(frozen=True)
class Position:
    """How far a file was read, and by what it is known: the digest of its first octets, as many as ``head``."""

    head: int
    digest: str
    offset: int


def open_all(log: Path) -> list[BinaryIO]:
    """The log's files, the oldest first; the log itself may be missing for a moment."""
    for _attempt in range(100):
        try:
            return _open_all(log)
        except FileNotFoundError:  # renamed or packed since it was listed
            continue
    raise FileNotFoundError(f"{log}: its rotated files do not stay where they are")


def _open_all(log: Path) -> list[BinaryIO]:
    current = [log.open("rb")] if log.exists() else []
    here = [os.fstat(file.fileno()) for file in current]
    rotated = re.compile(rf"({re.escape(log.name)}-[0-9]+)(?:\.gz)?")
    names = {match[1] for path in log.parent.iterdir() if (match := rotated.fullmatch(path.name))}
    files: list[Any] = []
    for name in sorted(names):
        plain = log.with_name(name)
        # While gzip writes, both are there, and only the plain one is whole.
        file = plain.open("rb") if plain.exists() else gzip.GzipFile(log.with_name(f"{name}.gz"))
        if os.fstat(file.fileno()).st_ino not in [stat.st_ino for stat in here]:  # rotated since it was opened
            files.append(file)
    return files + current


class Reader:
    """Lines of some files, the oldest first, from a position on."""

    def __init__(self, files: Sequence[BinaryIO], position: Optional[Position]) -> None:
        self.files = list(files)
        self.position = position
        self.lost = False  # the file that was read last is not here any more

    def lines(
        self, now: datetime.datetime, until: datetime.datetime, since: datetime.datetime = datetime.datetime.min
    ) -> Iterator[str]:
        """Every line that is older than ``until``. Where the position is lost, those from ``since`` on."""
        offset, today = self._find(), now.date()
        for number, file in enumerate(self.files):
            file.seek(offset)
            end = offset
            for raw in iter(functools.partial(file.readline, LONGEST), b""):
                if not raw.endswith(b"\n") and len(raw) < LONGEST and file is self.files[-1]:
                    break  # it is being written
                line = raw.decode("utf-8", "replace")
                time = maillog.when(line[: maillog.STAMP], today)
                if time is not None and time >= until:
                    self._left(number, end)
                    return
                end += len(raw)
                if not (self.lost and time is not None and time < since):
                    yield line
            self._left(number, end)
            offset = 0

    def _find(self) -> int:
        """Begin with the file of the position; the offset in it."""
        if self.position is None:
            return 0
        for number in reversed(range(len(self.files))):
            self.files[number].seek(0)
            if hashlib.sha256(self.files[number].read(self.position.head)).hexdigest() == self.position.digest:
                self.files = self.files[number:]
                return self.position.offset
        self.lost = True
        return 0

    def _left(self, number: int, offset: int) -> None:
        """Take this for the position, unless nothing of the file was read: then the file before it stays."""
        if offset == 0:
            return
        file = self.files[number]
        file.seek(0)
        head = file.read(min(offset, HEAD))
        self.position = Position(len(head), hashlib.sha256(head).hexdigest(), offset)
