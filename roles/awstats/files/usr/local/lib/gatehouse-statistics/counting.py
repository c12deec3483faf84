# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Counts of the mail log, by awstats: its history brought up to date, and its pages. Only the standard library.

Each update makes a new generation: awstats' history, and beside it how far the log was read and which messages are on
their way. It takes the place of the old one by a rename, so whoever is killed has counted nothing.

awstats drops what is not later than its last record, and, where it remembers a place in its last log, takes the first
line of a pipe for that place. So no record of an update is older than the end of the update before, and the first line
that awstats gets is a comment.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import fcntl
import html
import itertools
import json
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Optional

import logfiles
import maillog

MARGIN = datetime.timedelta(seconds=10)  # before now; what is newer waits for the next update
BEHIND = datetime.timedelta(hours=3)  # by which a clock may be before the last update: the end of summer time, and more
READ = "read.json"
HISTORY = re.compile(r"awstats(?P<month>\d\d)(?P<year>\d{4})\..*\.txt")
PERL = "/usr/bin/perl"
CONFIGURATION = "gatehouse"  # awstats has it in the names of all files; the gateway may get another name
MAIN_PAGE = f"awstats.{CONFIGURATION}.html"
USED_ICONS = ("clock", "other")


class Failure(Exception):
    """What the operator is told in one line."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """As the file of settings has them; see argument_specs.yml of the role."""

    name: str  # of the gateway
    user: str  # who does all but opening the log; empty: who runs this
    log: str
    state: str  # a folder of the user's own, in one that root alone may lock
    pages: str
    configuration: str  # the folder with awstats.gatehouse.conf
    awstats: str
    build: str
    icons: str

    @classmethod
    def read(cls, path: str) -> Settings:
        return cls(**json.loads(Path(path).read_text()))


@dataclasses.dataclass
class Read:
    """How far the log was read."""

    until: datetime.datetime = datetime.datetime.min
    position: Optional[logfiles.Position] = None
    messages: maillog.Messages = dataclasses.field(default_factory=collections.OrderedDict)

    @classmethod
    def load(cls, path: Path) -> Read:
        if not path.exists():
            return cls()
        known = json.loads(path.read_text())
        messages = [(number, maillog.Message(*rest, set(waiting))) for number, *rest, waiting in known["messages"]]
        position = known["position"]
        return cls(
            datetime.datetime.fromisoformat(known["until"]),
            logfiles.Position(**position) if position else None,
            collections.OrderedDict(messages),
        )

    def dump(self) -> str:
        messages = [
            [number, message.client, message.sender, message.size, sorted(message.waiting)]
            for number, message in self.messages.items()
        ]
        position = dataclasses.asdict(self.position) if self.position else None
        return json.dumps({"until": self.until.isoformat(), "position": position, "messages": messages})


def in_order(records: Iterable[maillog.Record], since: datetime.datetime) -> Iterator[maillog.Record]:
    """The records, none older than the one before: what was logged late is of the second in which it was read."""
    latest = since
    for record in records:
        latest = max(latest, record.when)
        yield record if record.when == latest else record._replace(when=latest)


class Statistics:
    """One gateway's. ``lock`` is held, and children inherit it, so that none outlives it."""

    def __init__(self, settings: Settings, lock: int) -> None:
        self.settings = settings
        self.lock = lock
        self.current = Path(settings.state) / "current"

    def update(self, files: Sequence[BinaryIO], now: datetime.datetime) -> str:
        """Count what is new in the log; what was done, in one line or more."""
        read = Read.load(self.current / READ)
        since, until = read.until, (now - MARGIN).replace(microsecond=0)
        if until <= since:
            if since - until > BEHIND:
                raise Failure(
                    f"now it is {now:%F %T}, and the last update was at {since}: nothing is counted until then"
                )
            return "nothing is new"
        self._clear()
        generation = Path(tempfile.mkdtemp(prefix="generation-", dir=self.settings.state))
        for file in self._history():
            os.link(file, generation / file.name)  # awstats writes anew, and renames

        unread, reader = maillog.Unread(), logfiles.Reader(files, read.position)
        lines = reader.lines(now, until, since)
        found = in_order(maillog.records(lines, now.date(), unread, read.messages), since)
        count, taken = self._feed(generation, found)
        read.until, read.position = until, reader.position
        (generation / READ).write_text(read.dump())
        os.sync()
        self._take(generation)
        self._clear()
        said = [f"{count} records up to {until}"]
        if taken != count:
            said.append(f"awstats took {taken} of them")
        if reader.lost:
            said.append("the log file that was read last is gone; took what is newer from those that are here")
        if unread.count:
            said += [f"{unread.count} lines could not be read, among them:", *map(repr, unread.lines)]
        return "\n".join(said)

    def build_pages(self) -> str:
        """Write the pages of each year and month whose history is newer than they are, and an index of all."""
        pages = Path(self.settings.pages)
        built = [folder for folder, files in self._periods().items() if self._build(pages / folder, folder, files)]
        for kind in USED_ICONS:
            shutil.copytree(Path(self.settings.icons) / kind, pages / "icon" / kind, dirs_exist_ok=True)
        _write(pages / "index.html", self._index(sorted(self._periods(), reverse=True)))
        return f"pages of {', '.join(built) or 'no year or month'} written"

    # Generations

    def _history(self) -> list[Path]:
        here = self.current.iterdir() if self.current.exists() else ()
        return [path for path in here if HISTORY.fullmatch(path.name)]

    def _take(self, generation: Path) -> None:
        link = self.current.with_name("next")
        link.unlink(missing_ok=True)
        link.symlink_to(generation.name)
        link.replace(self.current)

    def _clear(self) -> None:
        """Remove what is not current."""
        kept = os.readlink(self.current) if self.current.is_symlink() else ""
        for path in self.current.parent.glob("generation-*"):
            if path.name != kept:
                shutil.rmtree(path)

    # awstats

    def _run(self, program: str, data: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        command = [PERL, program, f"-config={CONFIGURATION}", f"-configdir={self.settings.configuration}"]
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "GATEHOUSE_DATA": str(data)}
        options.update(env=environment, text=True, pass_fds=[self.lock], stderr=subprocess.STDOUT)
        return subprocess.Popen([*command, *arguments], **options)

    def _feed(self, generation: Path, found: Iterator[maillog.Record]) -> tuple[int, int]:
        """Let awstats count the records; how many there were, and how many it took."""
        first = next(found, None)
        if first is None:
            return 0, 0
        count = 0
        with tempfile.TemporaryFile("w+") as said:
            process = self._run(self.settings.awstats, generation, "-update", stdin=subprocess.PIPE, stdout=said)
            with contextlib.suppress(BrokenPipeError), process.stdin as feed:
                feed.write("#\n")
                for record in itertools.chain([first], found):
                    feed.write(f"{record}\n")
                    count += 1
            status = process.wait()
            said.seek(0)
            text = said.read()
        taken = re.search(r"Found (\d+) new qualified records", text)
        if status or taken is None:
            raise Failure(f"awstats failed, and nothing was counted: {text[-1000:]}")
        return count, int(taken[1])

    # Pages

    def _periods(self) -> Mapping[str, list[Path]]:
        """{folder: the history files of which its pages are made}, for years and months."""
        found: dict[str, list[Path]] = {}
        for file in sorted(self._history()):
            month, year = HISTORY.fullmatch(file.name).groups()
            for folder in (year, f"{year}-{month}"):
                found.setdefault(folder, []).append(file)
        return found

    def _build(self, target: Path, period: str, files: Sequence[Path]) -> bool:
        """Whether the pages of a period had to be written."""
        main = target / MAIN_PAGE
        if main.exists() and main.stat().st_mtime_ns > max(file.stat().st_mtime_ns for file in files):
            return False
        year, _dash, month = period.partition("-")
        with tempfile.TemporaryDirectory(dir=self.settings.state) as folder:
            arguments = [f"-month={month or 'all'}", f"-year={year}", f"-dir={folder}"]
            arguments.append(f"-awstatsprog={self.settings.awstats}")
            process = self._run(self.settings.build, self.current, *arguments, stdout=subprocess.PIPE)
            said = process.communicate()[0]
            made = sorted(Path(folder).iterdir(), key=lambda path: path.name == MAIN_PAGE)
            if process.returncode or not made or made[-1].name != MAIN_PAGE:
                raise Failure(f"awstats made no pages of {period}: {said[-1000:]}")
            target.mkdir(exist_ok=True)
            for page in made:  # the main page comes last: who is killed before it begins anew
                _write(target / page.name, page.read_text(errors="replace"))
        return True

    def _index(self, periods: Sequence[str]) -> str:
        name = html.escape(self.settings.name)
        links = "\n".join(f'<li><a href="{period}/{MAIN_PAGE}">{period}</a></li>' for period in periods)
        return (
            f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Mail of {name}</title></head>\n'
            f"<body>\n<h1>Mail of {name}</h1>\n<ul>\n{links}\n</ul>\n</body>\n</html>\n"
        )


def _write(path: Path, text: str) -> None:
    """Write a file aside and rename it."""
    aside = path.with_name(f".{path.name}")
    aside.write_text(text)
    aside.replace(path)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Wait until nobody else is at work in the folder; its descriptor."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def become(user: str) -> None:
    """Give up root for good. Files that are open stay so."""
    if user and os.geteuid() == 0:
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)


def main(path: str, command: str) -> Optional[str]:
    """``update`` or ``pages``, which updates first; for SystemExit: what went wrong."""
    settings = Settings.read(path)
    with locked(Path(settings.state).parent) as lock:
        files = logfiles.open_all(Path(settings.log))
        become(settings.user)
        os.umask(0o027)
        statistics = Statistics(settings, lock)
        try:
            print(statistics.update(files, datetime.datetime.now()))
            if command == "pages":
                print(statistics.build_pages())
        except Failure as failure:
            return str(failure)
    return None
