# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role public_suffix_list's program: which list takes the place of the one that is there."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

PROGRAM = runpy.run_path(
    str(Path(__file__).parents[3] / "roles/public_suffix_list/files/usr/local/sbin/gatehouse-public-suffix-list.py")
)

BEGIN, END = PROGRAM["MARKS"]


def a_list(rules, note=""):
    return "\n".join([f"// {note}", BEGIN, "", *(f"x{number}.example" for number in range(rules)), END, ""])


@pytest.fixture
def refresh(tmp_path):
    """refresh(content): what is there after a list of 100 rules was to be replaced by this one, and what is said."""

    def run(content):
        fetched, kept = tmp_path / "fetched", tmp_path / "kept"
        file = kept / "public_suffix_list.dat"
        kept.mkdir()
        file.write_text(a_list(100))
        fetched.write_bytes(content)
        said = ""
        try:
            PROGRAM["refresh"](fetched.as_uri(), str(file), [])
        except (SystemExit, UnicodeDecodeError) as error:
            said = str(error)
        assert [path.name for path in kept.iterdir()] == [file.name]
        return file.read_text(), said, file.stat().st_mode & 0o777

    return run


def test_comments_and_empty_lines_are_no_rules():
    assert PROGRAM["rules"]("// com\n\n  \ncom\n*.ck\n!www.ck\n") == 3


@pytest.mark.parametrize("rules", [90, 100, 110])
def test_a_list_of_about_the_same_length_is_taken(refresh, capsys, rules):
    new = a_list(rules, "newer")
    assert refresh(new.encode()) == (new, "", 0o644)
    assert capsys.readouterr().out == f"{rules} rules in place of 100\n"


def test_the_same_list_is_no_news(refresh, capsys):
    assert refresh(a_list(100).encode())[:2] == (a_list(100), "")
    assert capsys.readouterr().out == ""


POOR = {
    "empty": (b"", "is not a public suffix list; the old one stays"),
    "no list": (b"<html>not found</html>\n", "is not a public suffix list; the old one stays"),
    "its first half": (a_list(100).partition(END)[0].encode(), "is not a public suffix list; the old one stays"),
    "too short": (a_list(89).encode(), "has 89 rules, and the list that is there 100; the old list stays"),
    "too long": (b"x" * (PROGRAM["LARGEST"] + 1), "is longer than 10000000 bytes; the old list stays"),
    "no UTF-8": (a_list(100).encode("utf-16"), "can't decode"),
}


@pytest.mark.parametrize("content, why", POOR.values(), ids=POOR)
def test_a_poor_list_leaves_the_old_one(refresh, content, why):
    kept, said, _mode = refresh(content)
    assert kept == a_list(100)
    assert why in said
