"""tests/platforms.py SUITE "PLATFORM …" RESULTS: write a row of docs/platforms.md, of a suite that ran.

The platforms are those of mx1, mx2 and the mail host; results are pytest's, as JUnit's XML.
"""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

from known import PLATFORMS, ROOT

PAGE = ROOT / "docs/platforms.md"
HEAD = "| suite | mx1 | mx2 | mail host | date | passed | failed |\n|---|---|---|---|---|---|---|\n"


def row(suite: str, platforms: list[str], results: Path) -> tuple[str, str]:
    """The row, and the beginning by which it is known."""
    found = next(ElementTree.parse(results).getroot().iter("testsuite")).attrib  # noqa: S314  # our own pytest's
    failed = int(found["failures"]) + int(found["errors"])
    passed = int(found["tests"]) - failed - int(found["skipped"])
    begin = f"| {suite} | {' | '.join(PLATFORMS[platform]['name'] for platform in platforms)} | "
    return begin, f"{begin}{datetime.date.today()} | {passed} | {failed} |\n"


def main(suite: str, platforms: str, results: str) -> None:
    text = PAGE.read_text()
    before, head, rest = text.partition(HEAD)
    rows, after = re.match(r"((?:\|.*\n)*)(.*)", rest, re.DOTALL).groups()
    begin, new = row(suite, platforms.split(), Path(results))
    kept = [old for old in rows.splitlines(keepends=True) if not old.startswith(begin)]
    PAGE.write_text("".join([before, head, *sorted([*kept, new]), after]))


main(*sys.argv[1:])
