"""Write the table of docs/platforms.md: what ran on which platforms, by the results that are in .lab/results.

A result is pytest's, as JUnit's XML, in SUITE.PLATFORM-….xml (tests/stage). Where a test was run again, into a file
SUITE.PLATFORM-….more.xml, its last run counts. What has no result here keeps its row.
"""

from __future__ import annotations

import collections
import re
from pathlib import Path
from xml.etree import ElementTree

from known import PLATFORMS, ROOT

PAGE = ROOT / "docs/platforms.md"
HEAD = "| suite | platforms | date | passed | failed |\n|---|---|---|---|---|\n"


def run(path: Path) -> tuple[str, dict[tuple[str, str], bool]]:
    """The day of a run, and whether each of its tests passed."""
    suite = next(ElementTree.parse(path).getroot().iter("testsuite"))  # noqa: S314  # our own pytest's
    passed: dict[tuple[str, str], bool] = {}
    for case in suite.iter("testcase"):
        if case.find("skipped") is None:
            test = case.get("classname"), case.get("name")
            passed[test] = passed.get(test, True) and case.find("failure") is None and case.find("error") is None
    return suite.get("timestamp")[:10], passed


def rows() -> dict[str, str]:
    """The rows, each by the beginning by which it is known."""
    found: dict[str, str] = {}
    outcomes: dict[str, dict] = collections.defaultdict(dict)
    for path in sorted((ROOT / ".lab/results").glob("*.xml"), key=lambda path: path.stat().st_mtime):
        suite, platforms = path.name.split(".")[:2]
        begin = f"| {suite} | {', '.join(PLATFORMS[platform]['name'] for platform in platforms.split('-'))} | "
        day, passed = run(path)
        outcomes[begin].update(passed)
        good = sum(outcomes[begin].values())
        found[begin] = f"{begin}{day} | {good} | {len(outcomes[begin]) - good} |\n"
    return found


def main() -> None:
    before, head, rest = PAGE.read_text().partition(HEAD)
    old = re.match(r"(?:\|.*\n)*", rest).group()
    new = rows()
    kept = [row for row in old.splitlines(keepends=True) if not row.startswith(tuple(new))]
    PAGE.write_text("".join([before, head, *sorted([*kept, *new.values()]), rest[len(old) :]]))


main()
