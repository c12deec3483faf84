# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a daemon as a role wants them, how they travel to a host, and what a diff shows: no I/O, no Ansible."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
import shlex
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

STATES = ("file", "directory", "absent")
MODES = {"file": "0644", "directory": "0755", "absent": ""}
#: What one of ``files`` may say.
OF_CONTENT = ("src", "content", "verbatim", "interpreter")  # what the action makes the content of
FIELDS = ("path", "paths", *OF_CONTENT, "state", "owner", "group", "mode", "validate", "secret")
SHOWN = 104448  # octets of a file that a diff shows at most, as Ansible's max_diff_size

_MODE = re.compile(r"[0-7]{4}")


class FilesError(Exception):
    """What is wrong with the arguments or on the host, in words, with the file that it is about."""

    def __init__(self, path: str, found: str, instead: str) -> None:
        super().__init__(f"{path}: {found}; {instead}")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One file, folder, or place where there is to be nothing. ``octets`` of a file alone."""

    path: str
    state: str
    owner: str
    group: str
    mode: str
    validate: str
    secret: bool
    octets: bytes

    @property
    def folder(self) -> str:
        """Where it is to be."""
        return os.path.dirname(self.path)

    @property
    def name(self) -> str:
        """Its last name."""
        return os.path.basename(self.path)


def one_by_one(files: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The files with a path each: those that are alike, and have one item with ``paths``, taken apart."""
    return [
        {**{key: value for key, value in file.items() if key != "paths"}, "path": path}
        for file in files
        for path in file.get("paths", [file.get("path")])
    ]


def source(file: Mapping[str, Any]) -> Any:
    """The name, in the role, of the template of a file with a path, or of the file that is copied as it is."""
    return file.get("src", file["path"].lstrip("/") + ("" if file.get("verbatim") else ".j2"))


def first_line(file: Mapping[str, Any]) -> bytes:
    """What stands before the content: the line that names a program's interpreter, or nothing."""
    return f"#!{file['interpreter']}\n".encode() if file.get("interpreter") else b""


def pack(contents: Mapping[str, bytes]) -> str:
    """The contents by path, as one word that nothing on the way can be found in."""
    plain = json.dumps({path: base64.b64encode(octets).decode() for path, octets in contents.items()})
    return base64.b64encode(zlib.compress(plain.encode())).decode()


def unpack(packed: str) -> dict[str, bytes]:
    """What ``pack`` packed."""
    plain = json.loads(zlib.decompress(base64.b64decode(packed)))
    return {path: base64.b64decode(text) for path, text in plain.items()}


def wanted(files: Iterable[Mapping[str, Any]], contents: Mapping[str, bytes]) -> list[Wanted]:
    """The files as the options say them, those that are to go at the end, and each folder before what is in it.

    FilesError for a path that is there twice or is not absolute, for a file without content, and for permissions that
    are not four octal digits: C(0644) without quotes is the number 420 to YAML.
    """
    found: dict[str, Wanted] = {}
    for file in files:
        path = str(file["path"])
        if not os.path.isabs(path) or os.path.normpath(path) != path:
            raise FilesError(path, "is not an absolute path", "write one without . and .. and a slash at its end")
        if path in found:
            raise FilesError(path, "is there twice", "write it once")
        state = file.get("state") or "file"
        mode = str(file.get("mode") or MODES[state])
        if mode and not _MODE.fullmatch(mode):
            raise FilesError(path, f"its mode {mode} is no four octal digits", 'write such as "0640", in quotes')
        if state == "file" and path not in contents:
            raise FilesError(path, "has no content", "write src or content, or another state")
        found[path] = Wanted(
            path=path,
            state=state,
            owner=file.get("owner") or "root",
            group=file.get("group") or "root",
            mode=mode,
            validate=file.get("validate") or "",
            secret=bool(file.get("secret")),
            octets=contents.get(path, b""),
        )
    folders = sorted((file for file in found.values() if file.state == "directory"), key=lambda file: file.path)
    return [*folders, *(file for state in ("file", "absent") for file in found.values() if file.state == state)]


def together(files: Iterable[Wanted]) -> dict[str, Wanted]:
    """The files by their last names; FilesError where two have the same one."""
    found: dict[str, Wanted] = {}
    for file in files:
        if file.state == "file":
            other = found.setdefault(file.name, file)
            if other is not file:
                raise FilesError(file.path, f"has the last name of {other.path}", "check them in two tasks")
    return found


def difference(file: Wanted, kind: str, before: bytes) -> dict[str, str]:
    """For Ansible's diff mode. kind: what is there, in words, "" where nothing is; before: the octets of a file."""
    after = {"file": file.octets, "directory": b"a folder\n", "absent": b""}[file.state]
    if kind != "a file":
        before = f"{kind}\n".encode() if kind else b""
    hidden = file.secret or any(b"\0" in octets or len(octets) > SHOWN for octets in (before, after))
    header = f"{file.path} (not shown)" if hidden else file.path
    texts = ["" if hidden else octets.decode("utf-8", "replace") for octets in (before, after)]
    return {"before_header": header, "after_header": header, "before": texts[0], "after": texts[1]}


def command(template: str, place: str) -> list[str]:
    """The words of a validating command, with the place of the candidate; ValueError without a ``%s``."""
    if "%s" not in template:
        raise ValueError(f"{template}: has no %s")
    return [word.replace("%s", place) for word in shlex.split(template)]
