# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a Postfix lookup table says: its rules, its text, and how it differs from what is there.

No I/O and no Ansible. An *entry* is a pair (key, value) of text. A *line* is an entry as the source file has it, in
octets and with its newline. A *table type* is a name as ``postconf -m`` lists it.

Sources: postmap(1), postalias(1), access(5), aliases(5), transport(5), pcre_table(5), cidr_table(5), lmdb_table(5), and
Postfix' own readers (``readlline.c`` for logical lines, ``postmap.c`` for keys, ``smtpd_check.c`` for replies).
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

from ansible_collections.gatehouse.mail.plugins.module_utils import _visible

Entry = tuple[str, str]

#: Types that Postfix reads from an index beside the source file, and the suffix of that index.
INDEX_SUFFIX = {"lmdb": ".lmdb", "cdb": ".cdb", "hash": ".db", "btree": ".db"}

#: Types where the first match wins, so that the order of the entries is part of their meaning.
ORDERED = ("cidr", "pcre", "regexp")

TYPES = (*INDEX_SUFFIX, "texthash", *ORDERED)

#: Best first. lmdb and cdb survive a killed writer; EL10 has no Berkeley DB, hence no hash.
PREFERRED = ("lmdb", "cdb", "hash")

#: How many keys of each kind a difference names, and how many lines of each side it shows.
NAMED_KEYS = 50

#: How many entries of a new index are asked for: all of a table up to this size, and as many evenly spaced of a larger.
ASKED_ENTRIES = 2_000

# What C's isspace() calls white space. Python's own idea is wider (U+00A0, U+2028, ...), and Postfix does not share it.
_SPACE = " \t\n\v\f\r"
_AS_BLANK = dict.fromkeys(map(ord, _SPACE), " ")
_LMDB_LONGEST_KEY = 510  # octets: MDB_MAXKEYSIZE is 511, and Postfix ends its keys in a NUL (measured)
_PATTERN_FLAGS = re.compile(r"[A-Za-z]*")


_BLOCK = 1 << 18  # octets that are compared at a time

# Lines that hold nothing to think about: printable ASCII, a key without any of "#:\\, one word that is no reply.
_PLAIN_LINE = re.compile(rb"[!$-9;-\[\]-~][!#-9;-\[\]-~]{0,500}[ \t]+(?!(?i:error|retry):)[A-Za-z@][!-~]*\n?")

# What local(8) takes for a name without quotes: RFC 5321's atext and dots, without what postalias calls "not local".
_ALIAS_NAME = re.compile(r"[A-Za-z0-9$&'*+/=?^_`{|}~.-][A-Za-z0-9#$&'*+/=?^_`{|}~.-]*")

# Where Postfix takes a reply from: smtpd's and cleanup's actions, and the nexthop of error(8) and retry(8).
_REPLY = re.compile(
    r"""(?: (?:reject|defer|defer_if_permit|defer_if_reject)\s+(?=[245]\.) | (?:error|retry):\s*(?=[245]\.) )?
        (?: [45]\d\d \s+ (?:[245]\.\d{1,3}\.\d{1,3}(?:\s+|$))? | [245]\.\d{1,3}\.\d{1,3}(?:\s+|$) )
        (?P<words>.*)""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


class TableError(ValueError):
    """An entry that Postfix would misread, or a table that cannot be what was asked for.

    The message never quotes a value: it may be a password.
    """

    def __init__(self, what: str, found: str, expected: str) -> None:
        super().__init__(f"{what}: found {found}, expected {expected}")
        self.what = what
        self.found = found
        self.expected = expected


class Form(NamedTuple):
    """How a table is written: its type, and the tool that reads it, ``postmap`` or ``postalias``.

    The type is None while it cannot be known (check mode before Postfix is installed); the rules are then those of
    indexed tables.
    """

    kind: str | None
    tool: str = "postmap"

    @property
    def suffix(self) -> str | None:
        """Of the index; None for a type without one, or while the type is unknown."""
        return INDEX_SUFFIX.get(self.kind or "")

    @property
    def ordered(self) -> bool:
        return self.kind in ORDERED

    @property
    def aliases(self) -> bool:
        return self.tool == "postalias"


def best_type(supported: Iterable[str]) -> str | None:
    """The best indexed type among those of ``postconf -m`` (one name a line), or None when there is none."""
    known = set(supported)
    return next((name for name in PREFERRED if name in known), None)


def entries_of(given: Any) -> list[Entry]:
    """Entries in the order given, from a mapping, or from a list of pairs or of mappings with ``key`` and ``value``.

    An integer stands for its digits. YAML's other scalars are refused, because their text is not what was typed
    (``yes`` is True, ``1.10`` is 1.1).
    """
    if isinstance(given, Mapping):
        return [(_text(key, key), _text(key, value)) for key, value in given.items()]
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)):
        raise TableError("entries", type(given).__name__, "a dictionary, or a list of keys and values")
    return [_listed_entry(number, item) for number, item in enumerate(given, start=1)]


def _listed_entry(number: int, item: Any) -> Entry:
    if isinstance(item, (list, tuple)) and len(item) == 2:
        key, value = item
    elif isinstance(item, Mapping) and "key" in item and set(item) <= {"key", "value"}:
        key, value = item["key"], item.get("value", "")
    else:
        raise TableError(f"entry {number}", "something else", "a pair, or a dictionary of key and value alone")
    return _text(key, key), _text(key, value)


def _text(key: Any, scalar: Any) -> str:
    if isinstance(scalar, str):
        return scalar
    if isinstance(scalar, int) and not isinstance(scalar, bool):
        return str(scalar)
    raise TableError(f"entry {key!r}", type(scalar).__name__, "text (put it in quotes)")


def check(entries: Sequence[Entry], form: Form) -> None:
    """Raise TableError for the first entry that a table of this form would misread or lose."""
    for key, value in entries:
        _check_entry(key, value, form)
    if not form.ordered:
        _check_unique(entries)


def check_lines(lines: Iterable[bytes], form: Form) -> None:
    """Raise TableError for the first line that is not one good entry.

    For files of any size: nothing is kept, and only unusual lines cost more than a match. Lines are not compared with
    each other, since postmap complains of duplicates by itself.
    """
    for line in lines if form.aliases else itertools.filterfalse(_PLAIN_LINE.fullmatch, lines):
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise TableError(_name(repr(line)[2:-1]), "octets that are not UTF-8", "text in UTF-8") from None
        text = text[:-1] if text.endswith("\n") else text
        if not text.strip(_SPACE):
            raise TableError("src", "a blank line", "one entry a line")
        if text[0] == "#" or text[0] in _SPACE:
            _check_octets(text, "")
        _check_entry(*_split(text, form), form)


def _check_entry(key: str, value: str, form: Form) -> None:
    _check_octets(key, value)
    (_check_pattern if form.ordered else _check_alias if form.aliases else _check_key)(key, value)
    if not form.aliases:
        _check_reply(key, value)
    if form.kind == "lmdb" and len(key.encode()) > _LMDB_LONGEST_KEY:
        raise TableError(_name(key), "a longer key", f"at most {_LMDB_LONGEST_KEY} octets, which is lmdb's limit")
    if parse(_line(key, value, form), form) != [(key, value)]:
        raise TableError(_name(key), "a key that Postfix would split elsewhere", "one key, then white space")


def _name(key: str) -> str:
    return f"entry {key[:80]!r}"


def _check_octets(key: str, value: str) -> None:
    for part, text in (("key", key), ("value", value)):
        for octet, name in (("\n", "a newline"), ("\r", "a carriage return"), ("\0", "a NUL")):
            if octet in text:
                raise TableError(_name(key), f"{name} in the {part}", "a single line of text")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise TableError(_name(key), f"a lone surrogate in the {part}", "text that UTF-8 can say") from None
    # Not white space: a pattern may hold it, and elsewhere it is refused for what Postfix makes of it.
    unseen = _visible.unseen(key.translate(_AS_BLANK))
    if unseen:
        raise TableError(_name(key), f"{unseen} of the key", "a key without what nobody can see")
    if not key:
        raise TableError(_name(key), "an empty key", "a key")
    if key[0] in _SPACE:
        raise TableError(_name(key), "white space at the start of the key, which continues the line before", "a key")
    if key[0] == "#":
        raise TableError(_name(key), "'#' at the start of the key, which is a comment", "a key")
    if value != value.strip(_SPACE):
        raise TableError(_name(key), "white space around the value, which Postfix strips", "a value without it")


def _check_key(key: str, value: str) -> None:
    if any(octet in _SPACE for octet in key):
        raise TableError(_name(key), "white space in the key", "a key without white space")
    if not value:
        raise TableError(_name(key), "an empty value", "a value")
    if key.endswith(":"):
        raise TableError(_name(key), "a ':' at the end of the key, as in an alias file", "a key without it")
    bare = re.sub(r"\\.", "", key, flags=re.DOTALL)
    if bare.endswith("\\") or bare.count('"') % 2:
        raise TableError(_name(key), "an open quote or a trailing backslash in the key", "balanced quotes")


def _check_alias(key: str, value: str) -> None:
    if not _ALIAS_NAME.fullmatch(key):
        raise TableError(_name(key), "a key that is no local name", "letters, digits, dots and $&'*+/=?^_`{|}~-")
    if not value:
        raise TableError(_name(key), "an empty value", "a value")
    if re.sub(r"\\.", "", value).endswith("\\") or re.sub(r"\\.", "", value).count('"') % 2:
        raise TableError(_name(key), "an open quote or a trailing backslash in the value", "balanced quotes")


def _check_pattern(key: str, value: str) -> None:
    if key.lower() == "endif":
        if value:
            raise TableError(_name(key), "a value", "none, for endif ends a block")
    elif not value:
        raise TableError(_name(key), "an empty value", "a value")


def _check_reply(key: str, value: str) -> None:
    """A reply needs words: a bare enhanced code crashes a Postfix before 3.8.16, 3.9.10, 3.10.9 (CVE-2026-43964).

    A number alone is let through. No table makes a reply of it: access(5) takes it for OK, others for a user's or a
    group's id. What it means depends on where the table is used, which nobody says here.
    """
    reply = _REPLY.match(value)
    if reply and not any(letter.isalpha() for letter in reply.group("words")):
        raise TableError(_name(key), "a reply code and no words after it", "words after the code (CVE-2026-43964)")


def _check_unique(entries: Sequence[Entry]) -> None:
    seen: dict[str, str] = {}
    for key, _value in entries:
        folded = fold(key)
        if folded in seen:
            raise TableError(
                _name(key), f"the same key as {seen[folded]!r} once postmap has folded it", "each key once"
            )
        seen[folded] = key


def fold(key: str) -> str:
    """The key as Postfix looks it up: lower case, or folded by Unicode's rules where SMTPUTF8 is on.

    Both come out equal here, so that an index compares the same whichever of the two wrote it.
    """
    return key.casefold()


def render(entries: Sequence[Entry], form: Form) -> str:
    """Text of the source file: same entries, same bytes, whatever their order where order means nothing.

    Sorted by octets (as by ``LC_ALL=C sort``), in which order lmdb and btree are several times quicker to build.
    """
    lines = [f"{_line(key, value, form)}\n" for key, value in entries]
    return "".join(lines if form.ordered else sorted(lines))  # code points sort as their octets in UTF-8 do


def _line(key: str, value: str, form: Form) -> str:
    return f"{key}{':' if form.aliases else ''} {value}" if value else key


def parse(text: str, form: Form) -> list[Entry]:
    """Entries of an existing source text, in its order; lines that Postfix would skip are skipped."""
    return [_split(line, form) for line in _logical_lines(text)]


def _split(line: str, form: Form) -> Entry:
    if form.aliases:
        name, _colon, value = line.partition(":")
        return name.rstrip(_SPACE), value.strip(_SPACE)
    if form.kind in ("pcre", "regexp"):
        return _split_pattern(line)
    return _split_plain(line) if form.ordered else _split_key(line)


def _logical_lines(text: str) -> list[str]:
    """Lines as ``readlline()`` sees them: no comments, no blank lines, continuations appended as they are."""
    lines: list[str] = []
    for line in text.split("\n"):
        content = line.strip(_SPACE)
        if not content or content.startswith("#"):
            continue
        if line[0] not in _SPACE:
            lines.append(line)
        elif lines:
            lines[-1] += line
    return lines


def _cut(line: str, end: int) -> Entry:
    return line[:end], line[end:].strip(_SPACE)


def _split_plain(line: str) -> Entry:
    return _cut(line, next((at for at, octet in enumerate(line) if octet in _SPACE), len(line)))


def _split_key(line: str) -> Entry:
    """postmap(1): the key ends at the first white space outside double quotes; a backslash hides what follows it."""
    if '"' not in line and "\\" not in line:
        return _split_plain(line)
    at, quoted = 0, False
    while at < len(line) and (quoted or line[at] not in _SPACE):
        quoted ^= line[at] == '"'
        at += 2 if line[at] == "\\" else 1
    return _cut(line, min(at, len(line)))


def _split_pattern(line: str) -> Entry:
    """pcre_table(5), regexp_table(5): ``[!]/pattern/flags value``, any delimiter; ``if`` and ``endif`` are words."""
    start = len(line) - len(line.lstrip("!" + _SPACE))
    if start == len(line) or line[start].isalnum():
        return _split_plain(line)
    at = start + 1
    while at < len(line) and line[at] != line[start]:
        at += 2 if line[at] == "\\" else 1
    if at >= len(line):
        return _split_plain(line)
    return _cut(line, _PATTERN_FLAGS.match(line, at + 1).end())  # type: ignore[union-attr]


class Difference(NamedTuple):
    """What happens to a table, for a reader: how many keys, the first of them, and the first lines of either side."""

    counts: dict[str, int]
    keys: dict[str, list[str]]
    before: str
    after: str


def difference(gone: Sequence[bytes], come: Sequence[bytes], form: Form) -> Difference:
    """What it means that these lines go and those come: keys that are ``added``, ``removed`` and ``changed``.

    Keys are compared folded, and shown as they are written.
    """
    # Where nothing goes or nothing comes no key can have changed, and a million of them need not be read.
    changed = {fold(key) for key in _keys(gone, form)} if come else set()
    changed &= {fold(key) for key in _keys(come, form)} if gone else set()
    return Difference(
        {"added": len(come) - len(changed), "removed": len(gone) - len(changed), "changed": len(changed)},
        {
            "added": _first(key for key in _keys(come, form) if fold(key) not in changed),
            "removed": _first(key for key in _keys(gone, form) if fold(key) not in changed),
            "changed": _first(key for key in _keys(come, form) if fold(key) in changed) if changed else [],
        },
        _shown(gone),
        _shown(come),
    )


def only_in(before: BinaryIO, after: BinaryIO) -> tuple[list[bytes], list[bytes]]:
    """The lines that only the first text has, and those that only the second has, sorted.

    Nothing but differences is kept. It is quick where the texts are in the same order and most lines are in both.
    """
    gone: set[bytes] = set()
    come: set[bytes] = set()
    for olds, news in itertools.zip_longest(_blocks(before), _blocks(after), fillvalue=[]):
        if olds != news:
            old, new = set(olds).difference(news), set(news).difference(olds)
            back, met = new & gone, old & come  # lines that have their match in another block
            gone -= back
            come -= met
            gone |= old - met
            come |= new - back
    return sorted(gone), sorted(come)


def _blocks(text: BinaryIO) -> Iterator[list[bytes]]:
    return iter(lambda: text.readlines(_BLOCK), [])


def _keys(lines: Iterable[bytes], form: Form) -> Iterator[str]:
    return (_split(line.decode("utf-8", "surrogateescape").rstrip("\n"), form)[0] for line in lines)


def _first(keys: Iterable[str]) -> list[str]:
    return list(itertools.islice(keys, NAMED_KEYS))


def _shown(lines: Sequence[bytes]) -> str:
    shown = b"".join(lines[:NAMED_KEYS]).decode("utf-8", "replace")
    return f"{shown}... and {len(lines) - NAMED_KEYS} more\n" if len(lines) > NAMED_KEYS else shown


def count(text: BinaryIO) -> int:
    """The number of lines; the last one may lack its end."""
    found, last = 0, b"\n"
    for octets in iter(lambda: text.read(_BLOCK), b""):
        found += octets.count(b"\n")
        last = octets[-1:]
    return found + (last != b"\n")


def sample(lines: Iterable[bytes], count: int, form: Form) -> list[Entry]:
    """Entries to ask a new index of ``count`` entries for, the first one among them."""
    step = max(1, -(-count // ASKED_ENTRIES))
    return [_split(line.decode().rstrip("\n"), form) for line in itertools.islice(lines, 0, None, step)]


def answers(entries: Sequence[Entry], output: str, form: Form) -> bool:
    """Whether the output of ``postmap -q -`` (a line ``key<TAB>value`` for each key it finds) has all these entries.

    postalias ends keys in ":" and writes values in its own way (``a,b`` becomes ``a, b``), so there only keys count.
    """
    if form.aliases:
        return [line.partition("\t")[0] for line in output.split("\n")[:-1]] == [f"{key}:" for key, _value in entries]
    return output == "".join(f"{key}\t{value}\n" for key, value in entries)


class Built(NamedTuple):
    """What the module writes down of a table that it built, to know it again.

    ``given`` is the digest of what the table was made from, ``files`` has the identity and the digest of each of its
    files by suffix. An identity is what changes whenever a file is written or replaced: inode, size, and the times of
    the last change of content and of inode, in nanoseconds.
    """

    kind: str
    tool: str
    given: str
    count: int
    files: dict[str, tuple[list[int], str]]

    def to_json(self) -> str:
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> Built | None:
        """None for anything that is not such a record; nothing is known of the table then."""
        try:
            found = cls(**json.loads(text))
            return found._replace(files={suffix: (list(who), what) for suffix, (who, what) in found.files.items()})
        except (ValueError, TypeError, AttributeError):
            return None


def index_state(built: bool, source_mtime: float | None, index_mtime: float | None) -> str:
    """``missing``, ``older``, ``foreign`` or ``current``.

    ``built`` says that source and index are octet for octet those that this module built together; an mtime is in
    seconds since the epoch, or None when there is no such file. Whole seconds count, as for Postfix, which warns of a
    source newer than its index.
    """
    if index_mtime is None:
        return "missing"
    if source_mtime is not None and int(index_mtime) < int(source_mtime):
        return "older"
    return "current" if built else "foreign"


def complaints(stderr: str, path: str, shown_as: str) -> list[str]:
    """Lines of a Postfix tool's standard error that speak of the table at ``path``, or that are fatal.

    Other warnings (a doubled line in main.cf, say) are none of this table's business. ``path`` becomes ``shown_as``.
    """
    mine = (line for line in stderr.splitlines() if path in line or re.search(r": (fatal|panic|error): ", line))
    return [line.replace(path, shown_as) for line in mine]
