# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module files makes of its arguments; molecule/modules has it write."""

from __future__ import annotations

import pytest
from ansible_collections.gatehouse.mail.plugins.module_utils import _files as core
from hypothesis import given
from hypothesis import strategies as st

PATH = "/etc/daemon/daemon.conf"


def wanted(*files):
    return core.wanted(files, {file["path"]: file.pop("octets") for file in files if "octets" in file})


def file(path=PATH, octets=b"a\n", **more):
    return {"path": path, "octets": octets, **more}


@given(st.dictionaries(st.text(), st.binary()))
def test_what_is_packed_comes_out_as_it_was(contents):
    packed = core.pack(contents)
    assert packed.isascii()
    assert core.unpack(packed) == contents


def test_a_file_is_root_s_and_everybody_s_to_read_unless_that_is_said():
    folder, one, other, gone = wanted(
        file(secret=True), {"path": "/x", "state": "absent"},
        file("/etc/other", mode="0640", owner="a", group="b"), {"path": "/etc/daemon", "state": "directory"},
    )  # fmt: skip
    assert [(each.path, each.owner, each.group, each.mode) for each in (folder, one, other, gone)] == [
        ("/etc/daemon", "root", "root", "0755"),
        (PATH, "root", "root", "0644"),
        ("/etc/other", "a", "b", "0640"),
        ("/x", "root", "root", ""),
    ]
    assert (one.secret, other.secret, one.octets, one.folder, one.name) == (
        True, False, b"a\n", "/etc/daemon", "daemon.conf")  # fmt: skip


REFUSED = {
    "a relative path": ([file("a/b")], "is not an absolute path"),
    "a path with a slash at its end": ([file("/a/")], "is not an absolute path"),
    "a path with dots": ([file("/a/../b")], "is not an absolute path"),
    "a path twice": ([file(), {"path": PATH, "state": "absent"}], "is there twice"),
    "a number for permissions": ([file(mode=420)], "its mode 420"),
    "letters for permissions": ([file(mode="u=rw")], "its mode u=rw"),
    "no content": ([{"path": PATH}], "has no content"),
}


@pytest.mark.parametrize(("files", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_written_is_refused(files, words):
    with pytest.raises(core.FilesError, match=words):
        wanted(*files)


def test_files_are_checked_together_by_their_last_names():
    files = wanted(file(), file("/x/y"), {"path": "/x", "state": "directory"}, {"path": "/z/y", "state": "absent"})
    assert {name: each.path for name, each in core.together(files).items()} == {"daemon.conf": PATH, "y": "/x/y"}
    with pytest.raises(core.FilesError, match=f"has the last name of {PATH}"):
        core.together(wanted(file(), file("/x/daemon.conf")))


DIFFERENCES = {
    # case: (file, what is there, its octets, header, before, after)
    "a new file": (file(), "", b"", PATH, "", "a\n"),
    "another text": (file(), "a file", b"b\n", PATH, "b\n", "a\n"),
    "a secret": (file(secret=True), "a file", b"b\n", f"{PATH} (not shown)", "", ""),
    "octets that are no text": (file(octets=b"\0"), "a file", b"b\n", f"{PATH} (not shown)", "", ""),
    "a large file before": (file(), "a file", b"b" * 200_000, f"{PATH} (not shown)", "", ""),
    "a file that goes": ({"path": PATH, "state": "absent"}, "a file", b"b\n", PATH, "b\n", ""),
    "a link that goes": ({"path": PATH, "state": "absent"}, "a symbolic link", b"", PATH, "a symbolic link\n", ""),
    "a new folder": ({"path": PATH, "state": "directory"}, "", b"", PATH, "", "a folder\n"),
}


@pytest.mark.parametrize(("wish", "kind", "octets", "header", "before", "after"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_a_diff_shows_texts_and_no_secret(wish, kind, octets, header, before, after):
    (one,) = wanted(dict(wish))
    found = core.difference(one, kind, octets)
    assert found == {"before_header": header, "after_header": header, "before": before, "after": after}


def test_a_command_has_words_as_in_a_shell_and_the_place_is_one_of_them():
    assert core.command("check -f '%s/a b' --to=%s", "/x y") == ["check", "-f", "/x y/a b", "--to=/x y"]
    with pytest.raises(ValueError, match="has no %s"):
        core.command("check", "/x")
