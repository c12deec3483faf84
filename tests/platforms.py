"""Write the table of docs/platforms.md: what ran on which platforms, by the results that are in .lab/results.

A result is pytest's, as JUnit's XML, in SUITE.PLATFORM-….xml (tests/stage). What has no result here keeps its row.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from known import PLATFORMS, ROOT

PAGE = ROOT / "docs/platforms.md"
HEAD = "| suite | platforms | date | passed | failed |\n|---|---|---|---|---|\n"


def row(results: Path) -> tuple[str, str]:
    """The beginning by which a row is known, and the row."""
    suite, platforms, _ = results.name.split(".")
    found = next(ElementTree.parse(results).getroot().iter("testsuite")).attrib  # noqa: S314  # our own pytest's
    failed = int(found["failures"]) + int(found["errors"])
    passed = int(found["tests"]) - failed - int(found["skipped"])
    begin = f"| {suite} | {', '.join(PLATFORMS[platform]['name'] for platform in platforms.split('-'))} | "
    return begin, f"{begin}{found['timestamp'][:10]} | {passed} | {failed} |\n"


def main() -> None:
    before, head, rest = PAGE.read_text().partition(HEAD)
    rows, after = re.match(r"((?:\|.*\n)*)(.*)", rest, re.DOTALL).groups()
    new = dict(map(row, (ROOT / ".lab/results").glob("*.xml")))
    kept = [old for old in rows.splitlines(keepends=True) if not old.startswith(tuple(new))]
    PAGE.write_text("".join([before, head, *sorted([*kept, *new.values()]), after]))


main()
