# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postmap
short_description: Write a Postfix lookup table and its index without a moment in which keys are missing
description:
  - Writes the source file of a lookup table or of an alias file and, for types that have one, its index. Both hold
    exactly what O(entries) or O(src) say.
  - The index is built aside in the same folder, asked for its entries (all of them up to 2000, otherwise about 2000
    evenly spaced ones), flushed to disk and only then renamed into place. A run that is killed at any point leaves the
    old index whole, and the next run finishes the work. A plain C(postmap hash:file) that is killed can leave a table
    that silently lacks known recipients.
  - C(changed) is true when the source or the index is not, octet for octet, what this module built from the
    same input. It knows by a record beside the table, C(.NAME.built), readable by root alone. An index that is missing,
    older than its source, or of other hands is rebuilt.
  - Entries that Postfix would misread (a comment or a continuation instead of a key, an empty value, a key twice
    after folding, ...) are refused, with the entry named. So are keys with a character that nobody can see, such as a
    byte order mark. So are replies with an enhanced status code and no words
    (C(554 5.7.1), C(REJECT 5.7.1)), which crash a Postfix without the fix for CVE-2026-43964. A number alone (C(554))
    is taken. No table makes a reply of it, for access(5) reads it as C(OK) and others as the id of a user or a group,
    so do not expect it to refuse anybody.
  - Tables of type V(texthash), V(cidr), V(pcre) and V(regexp) have no index. Postfix reads the new file aside before it
    goes live, and any complaint refuses it.
version_added: 0.1.0
author:
  - gatehouse.mail contributors (@gatehouse)
extends_documentation_fragment:
  - ansible.builtin.files
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    platforms: posix
options:
  path:
    description:
      - The source file that this module writes, as main.cf names it. The index is beside it, as C(path.lmdb),
        C(path.cdb) or C(path.db).
      - Its folder must exist. Anything but a regular file at this place is refused.
      - Either this or O(tables) is required.
    type: path
  entries:
    description:
      - The whole table, as a dictionary of key and value, or as a list, each item of which is a pair or a dictionary
        with C(key) and C(value).
      - V(cidr), V(pcre) and V(regexp) need the list, for there the first match wins. Their C(key) is the pattern, or
        C(if) with the condition as C(value), or C(endif) without one.
      - Values are text. A number stands for its digits; other YAML scalars (C(yes), C(1.10)) need quotes.
      - Either this or O(src) is required for O(path) when O(state=present). An empty table is written as asked.
    type: raw
  tables:
    description:
      - Several tables in one go, in place of O(path), O(entries) and O(type), since a task takes longer than a table.
        All other options hold for all of them.
      - All entries are checked before the first table is written.
    type: list
    elements: dict
    suboptions:
      path:
        description: As O(path).
        type: path
        required: true
      entries:
        description: As O(entries).
        type: raw
        required: true
      type:
        description: As O(type).
        type: str
        choices: [lmdb, cdb, hash, btree, texthash, cidr, pcre, regexp]
  src:
    description:
      - A file on the host with the whole table, for tables too large to send, of a million entries, say. It is read in
        constant memory, and never changed.
      - It has one entry a line, the key and white space before the value, with a colon after the key for
        O(tool=postalias). Blank lines, comments and continuations are refused, since a program that writes such a file
        may write a key that begins with C(#).
      - The table is built from the sorted lines, since Postfix builds an index several times quicker from those. A file
        whose first megabyte is in the order of C(LC_ALL=C sort) is not sorted again.
      - For V(cidr), V(pcre) and V(regexp) it is taken as it stands, comments and continuations included.
    type: path
  type:
    description:
      - The type of the table.
      - By default the first of V(lmdb), V(cdb), V(hash) that C(postconf -m) of the host lists.
      - An alias file has one of the types with an index.
    type: str
    choices: [lmdb, cdb, hash, btree, texthash, cidr, pcre, regexp]
  tool:
    description:
      - What builds the index, V(postalias) for an alias file (aliases(5)), where a colon follows the name.
      - Names of an alias file are local parts of letters, digits, dots and C($&'*+/=?^_`{|}~-).
    type: str
    choices: [postmap, postalias]
    default: postmap
  state:
    description:
      - V(absent) removes the source file, every index beside it, of whatever type, and the record.
    type: str
    choices: [present, absent]
    default: present
  sensitive:
    description:
      - The values are secrets. Nothing of the table is shown but counts (and the key of a refused entry), and its files
        are readable by their owner alone from their creation on, unless O(mode) says otherwise.
      - Ansible itself shows a task's arguments in a few places before a module runs (the items of a loop, a misspelt
        option). Say C(no_log) too where that matters.
    type: bool
    default: false
  mode:
    description:
      - The permissions of the source file and of the index, as for M(ansible.builtin.file).
      - By default V(0644), and V(0600) with O(sensitive).
  owner:
    description:
      - The owner of the source file and of the index. By default the owner of the source file that is there.
  group:
    description:
      - The group of the source file and of the index. By default the group of the source file that is there.
  unsafe_writes:
    description:
      - Has no effect. Nothing is ever written in place, because a reader would see half of it.
notes:
  - Postfix notices a renamed index by itself; no reload is needed. It reads V(texthash), V(cidr), V(pcre) and V(regexp)
    only when a process starts, so a change of those wants a reload.
  - Do not keep a hard link to an index. Postfix sees that a table was replaced by its link count of zero.
  - In check mode Postfix need not be installed yet.
seealso:
  - name: Postfix lookup table management
    description: The manual page postmap(1).
    link: https://www.postfix.org/postmap.1.html
"""

EXAMPLES = r"""
- name: Write the recipients of a relay domain
  gatehouse.mail.postmap:
    path: /etc/postfix/relay_recipients
    entries:
      alice@example.org: OK
      bob@example.org: OK

- name: Refuse a client by name, with words after the code
  gatehouse.mail.postmap:
    path: /etc/postfix/client_access
    type: lmdb
    entries:
      - key: spammer.example
        value: 554 5.7.1 Mail from spammer.example is not accepted here

- name: Remove our own results from incoming mail; the first match wins, hence a list
  gatehouse.mail.postmap:
    path: /etc/postfix/header_checks
    type: pcre
    entries:
      - key: /^Authentication-Results:\s*mx1\.example\.org/
        value: IGNORE

- name: Write the passwords for the smarthost
  gatehouse.mail.postmap:
    path: /etc/postfix/sasl_passwd
    sensitive: true
    entries:
      "[smtp.example.net]:587": "{{ smarthost_user }}:{{ smarthost_password }}"
  no_log: true

- name: Write a million recipients that the mail host has pushed
  gatehouse.mail.postmap:
    path: /etc/postfix/relay_recipients
    src: /var/lib/gatehouse/recipients

- name: Write two tables in one go
  gatehouse.mail.postmap:
    tables:
      - {path: /etc/postfix/relay_domains, entries: {example.org: OK}}
      - {path: /etc/postfix/relay_recipients, entries: {alice@example.org: OK}}

- name: Write the aliases of local accounts
  gatehouse.mail.postmap:
    path: /etc/aliases
    tool: postalias
    entries:
      postmaster: root
      root: postmaster@example.org

- name: Remove a table and its index
  gatehouse.mail.postmap:
    path: /etc/postfix/old_access
    state: absent
"""

RETURN = r"""
tables:
  description: What this page says of the result for one table, for each of O(tables) in their order.
  returned: with O(tables)
  type: list
  elements: dict
path:
  description: The source file.
  returned: with O(path)
  type: str
  sample: /etc/postfix/relay_recipients
type:
  description: The type of the table; null when it is not known yet (check mode before Postfix is installed).
  returned: with O(path), when O(state=present)
  type: str
  sample: lmdb
index:
  description: The index, or null for a type that has none.
  returned: with O(path), when O(state=present)
  type: str
  sample: /etc/postfix/relay_recipients.lmdb
index_state:
  description:
    - What was found before anything was done; null for a type that has no index.
    - One of V(current), V(missing), V(older) (than the source) and V(foreign) (source or index are not what this module
      built together for this type and tool).
  returned: with O(path), when O(state=present)
  type: str
  sample: current
count:
  description: How many entries the table has.
  returned: with O(path), when O(state=present)
  type: int
  sample: 2
counts:
  description: How many keys of the source file were added, removed and changed.
  returned: with O(path), when O(state=present)
  type: dict
  sample: {added: 1, removed: 0, changed: 0}
diff:
  description:
    - The first 50 lines that go and that come, and the first 50 keys of each kind in C(added), C(removed), C(changed).
    - With O(state=absent) the files that go.
    - With O(tables) a list, with the tables that differ.
  returned: in diff mode, unless O(sensitive)
  type: dict
  sample:
    before_header: "/etc/postfix/relay_recipients (index: current)"
    before: ""
    after_header: /etc/postfix/relay_recipients
    after: "bob@example.org OK\n"
    added: [bob@example.org]
    removed: []
    changed: []
"""

import concurrent.futures
import contextlib
import hashlib
import io
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gatehouse.mail.plugins.module_utils import _postmap as core
from ansible_collections.gatehouse.mail.plugins.module_utils._aside import flush, folder_aside, leftovers
from ansible_collections.gatehouse.mail.plugins.module_utils._postmap import TableError

Dress = Callable[[str], bool]
COMPLAINTS_SHOWN = 10
BEGINNING = 1 << 20  # octets
LMDB_MAP_SIZE = 16 << 20  # octets, the default of postconf(5)


class Tools(NamedTuple):
    """What of Postfix is on the host; a path is None where it is not installed. ``run`` is a module's run_command."""

    run: Callable[..., tuple[int, str, str]]
    reader: str | None  # postmap or postalias
    postconf: str | None

    def types(self) -> list[str]:
        """Types that this Postfix knows; none without Postfix."""
        return self.run([self.postconf, "-m"])[1].split() if self.postconf else []


class Table(NamedTuple):
    """The table that is wanted: its text, or else ``src``, a file whose sorted lines are its text."""

    path: str
    form: core.Form
    given: str  # digest of the text or of src
    text: bytes | None
    src: str | None

    @property
    def suffixes(self) -> list[str]:
        """Of all its files, the source first."""
        return [""] if self.form.suffix is None else ["", self.form.suffix]

    def write(self, file: str, tools: Tools) -> None:
        """Write the text to a new file; in constant memory where it comes from ``src``.

        Order is for speed alone, so a file whose beginning is in order is taken as it is.
        """
        write_new(file, self.text or b"")
        if self.src is None or self.text is not None:
            return
        with open(self.src, "rb") as given:
            beginning = given.readlines(BEGINNING)
        if beginning == sorted(beginning):
            shutil.copyfile(self.src, file)
            return
        code, _stdout, stderr = tools.run(["sort", "-o", file, self.src], environ_update={"LC_ALL": "C"})
        if code:
            raise TableError(self.src, f"that sort says: {stderr.strip()}", "a file that can be sorted")

    def lines(self, file: str) -> BinaryIO:
        """The lines of the text, which is in ``file`` where it is not at hand."""
        return open(file, "rb") if self.text is None else io.BytesIO(self.text)


class Present(NamedTuple):
    """What is there. ``built`` is None unless source and index are those that this module built."""

    has_source: bool
    built: core.Built | None
    index: str | None  # its state, or None where none belongs
    leftover: bool


class Examined(NamedTuple):
    """What is to be known of a text: the number of its entries, some to ask for, and how it differs."""

    count: int
    sample: list[core.Entry]
    difference: core.Difference


def wanted_table(params: dict[str, Any], tools: Tools) -> Table:
    """The table as the options say it; TableError when Postfix would misread it."""
    path, src = params["path"], params["src"]
    form = core.Form(params["type"] or core.best_type(tools.types()), params["tool"])
    if form.aliases and form.kind and not form.suffix:
        raise TableError("type", form.kind, f"one of {', '.join(core.INDEX_SUFFIX)}, which postalias can write")
    for name in (path, src):
        if name is not None and not os.path.isabs(name):
            raise TableError("path", name, "an absolute path, as in main.cf")
    if src is None:
        return Table(path, form, *with_digest(text_of_entries(params["entries"], form)), None)
    if os.path.realpath(src) == os.path.realpath(path):
        raise TableError("src", src, "another file than the table itself")
    if form.suffix or not form.kind:
        return Table(path, form, digest_of(src), None, src)
    return Table(path, form, *with_digest(text_of_src(src, form)), src)


def text_of_entries(given: Any, form: core.Form) -> bytes:
    if form.ordered and isinstance(given, dict):
        raise TableError("entries", "a dictionary", f"a list, for in a {form.kind} table the first match wins")
    entries = core.entries_of(given)
    core.check(entries, form)
    return core.render(entries, form).encode()


def text_of_src(src: str, form: core.Form) -> bytes:
    """For types without an index, whose files are not large: as it stands where its order matters, else sorted."""
    text = read(src)
    if form.ordered:
        core.check(core.parse(text.decode("utf-8", "surrogateescape"), form), form)
        return text
    core.check_lines(io.BytesIO(text), form)
    return b"".join(sorted(line.rstrip(b"\n") + b"\n" for line in io.BytesIO(text)))


def look(table: Table) -> Present:
    """Look at what is there, changing nothing."""
    source = file_status(table.path)
    leftover = bool(leftovers(table.path))
    if table.form.kind and not table.form.suffix:
        return Present(source is not None, None, None, leftover)
    index = file_status(table.path + table.form.suffix) if table.form.suffix else None
    built = built_here(table) if source and index else None
    state = core.index_state(built is not None, source and source.st_mtime, index and index.st_mtime)
    return Present(source is not None, built, state, leftover)


def is_as_wanted(table: Table, there: Present) -> bool:
    if there.leftover or not there.has_source:
        return False
    if there.index is None:
        return digest_of(table.path) == table.given
    return there.index == "current" and there.built is not None and there.built.given == table.given


def built_here(table: Table) -> core.Built | None:
    """The record of the last run, if source and index are still what it built for this form of table.

    A file whose inode, size and times are those of the record was not touched since; one that was is read.
    """
    if not file_status(record_of(table.path)):
        return None
    built = core.Built.from_json(decoded(read(record_of(table.path))))
    if built is None or (built.kind, built.tool) != table.form or set(built.files) != set(table.suffixes):
        return None
    for suffix, (identity, digest) in built.files.items():
        file = table.path + suffix
        if identity_of(file) != identity and digest_of(file) != digest:
            return None
    return built


def record_of(path: str) -> str:
    return os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.built")


def identity_of(file: str) -> list[int]:
    status = os.stat(file)
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def file_status(path: str) -> os.stat_result | None:
    """Status of a regular file, or None when there is nothing; TableError when there is something else."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise TableError(path, "something that is not a regular file", "a regular file, or nothing")
    return status


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def decoded(octets: bytes | None) -> str:
    return (octets or b"").decode("utf-8", "surrogateescape")


def digest_of(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for octets in iter(lambda: file.read(1 << 20), b""):
            digest.update(octets)
    return digest.hexdigest()


def with_digest(text: bytes) -> tuple[str, bytes]:
    return hashlib.sha256(text).hexdigest(), text


def replace(table: Table, there: Present, tools: Tools, dress: Dress, sensitive: bool) -> Examined:
    """Build source and index aside, have Postfix read them, and rename them into place.

    The index goes last: until then Postfix answers from the old one, and whatever stops us before leaves files that
    the record does not know, which the next run sees. No rename before all is on disk.
    """
    must_know(table, tools)
    # postmap gives up root for the owner of the source file: in here that is us, whoever owns the table later.
    with folder_aside(table.path) as folder:
        source = os.path.join(folder, os.path.basename(table.path))
        table.write(source, tools)
        with concurrent.futures.ThreadPoolExecutor() as others:
            reading = others.submit(read_by_postfix, table, source, tools)
            digests = [others.submit(digest_of, source)]
            flush(source)
            examined = examine(table, source, there)
            if table.text is None and digest_of(str(table.src)) != table.given:
                raise TableError(
                    str(table.src), "that it changed while it was read", "a file that is renamed into place"
                )
            complain(table, source, *reading.result(), sensitive)
            if table.form.suffix:
                digests.append(others.submit(digest_of, source + table.form.suffix))
                ask(table, source, examined.sample, tools)
        owner = file_status(table.path)
        for suffix in table.suffixes:
            if owner:
                os.chown(source + suffix, owner.st_uid, owner.st_gid)
            dress(source + suffix)
            flush(source + suffix)
        for suffix in table.suffixes:
            os.replace(source + suffix, table.path + suffix)
        flush(os.path.dirname(table.path))
        if table.form.suffix:
            files = {
                suffix: (identity_of(table.path + suffix), digest.result())
                for suffix, digest in zip(table.suffixes, digests)
            }
            built = core.Built(str(table.form.kind), table.form.tool, table.given, examined.count, files)
            write_new(source, built.to_json().encode())
            os.replace(source, record_of(table.path))
    return examined


def must_know(table: Table, tools: Tools) -> None:
    """TableError unless there is a Postfix that knows tables of this type."""
    if tools.reader is None:
        raise TableError(table.path, f"no {table.form.tool} on this host", "an installed Postfix")
    if table.form.kind not in tools.types():
        raise TableError(
            table.path,
            f"a Postfix without tables of type {table.form.kind or ' or '.join(core.PREFERRED)}",
            "a type of postconf -m (many distributions have packages postfix-lmdb, postfix-cdb, postfix-pcre)",
        )


def examine(table: Table, source: str, there: Present) -> Examined:
    """Look through the text; TableError for a bad line of ``src``.

    Of a table that this module built, the lines were good when they came.
    """
    with contextlib.ExitStack() as stack:
        if there.built:
            before: BinaryIO = stack.enter_context(open(table.path, "rb"))
        else:
            before = canonical(read(table.path) if there.has_source else b"", table.form)
        after = canonical(table.text, table.form) if table.form.ordered else stack.enter_context(table.lines(source))
        gone, come = core.only_in(before, after)
        after.seek(0)
        if table.text is None:
            core.check_lines(come if there.built else after, table.form)
        after.seek(0)
        count = core.count(after)
        after.seek(0)
        return Examined(count, core.sample(after, count, table.form), core.difference(gone, come, table.form))


def canonical(text: bytes | None, form: core.Form) -> BinaryIO:
    """A text of anybody's with one line an entry, sorted where the order does not matter."""
    return io.BytesIO(core.render(core.parse(decoded(text), form), form).encode("utf-8", "surrogateescape"))


def files_of(path: str) -> list[str]:
    """The source file, every index beside it and the record, as far as they exist."""
    files = [path, *(path + suffix for suffix in sorted(set(core.INDEX_SUFFIX.values()))), record_of(path)]
    return [file for file in files if file_status(file)]


def remove(path: str) -> None:
    with folder_aside(path):
        for file in files_of(path):
            os.unlink(file)
        flush(os.path.dirname(path))


def write_new(path: str, octets: bytes) -> None:
    """Create a file that only we can read, whatever the umask; postmap gives the index the same permissions."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(octets)


def read_by_postfix(table: Table, source: str, tools: Tools) -> tuple[bool, str]:
    """Have Postfix build the index, or at least parse the source: whether it failed, and what it said."""
    name = f"{table.form.kind}:{source}"
    if table.form.suffix:
        with enough_room(table, source) as options:
            code, _stdout, stderr = tools.run([tools.reader, *options, name])
        return code != 0, stderr
    # Postfix waits about two seconds for a texthash file to cool down, unless it is old.
    os.utime(source, (0, 0))
    _code, _stdout, stderr = tools.run([tools.reader, "-q", "gatehouse.invalid", name])
    os.utime(source)
    return False, stderr


@contextlib.contextmanager
def enough_room(table: Table, source: str) -> Iterator[list[str]]:
    """Options for postmap to build a large lmdb index in one go.

    It begins with room for ``lmdb_map_size`` octets, and each time that this is not enough it begins again with twice
    as much: half of the time for a million entries. There is no option for it, so postmap gets a main.cf of its own.
    """
    room = 4 * os.path.getsize(source)
    main_cf = os.path.join(os.environ.get("MAIL_CONFIG", "/etc/postfix"), "main.cf")
    if table.form.kind != "lmdb" or room < LMDB_MAP_SIZE or not os.path.isfile(main_cf):
        yield []
        return
    with tempfile.TemporaryDirectory() as folder:
        own = os.path.join(folder, "main.cf")
        write_new(own, read(main_cf) + f"\nlmdb_map_size = {room}\n".encode())
        os.utime(own, (0, 0))  # Postfix waits two seconds before it trusts a main.cf that is new
        yield ["-c", folder]


def complain(table: Table, source: str, failed: bool, stderr: str, sensitive: bool) -> None:
    """TableError when Postfix failed, or when it said anything about this table."""
    complaints = core.complaints(stderr, source, table.path)
    if failed or complaints:
        words = "; ".join(complaints[:COMPLAINTS_SHOWN]) or stderr.strip()
        if sensitive:
            words = f"{len(complaints)} complaints, not shown"
        elif len(complaints) > COMPLAINTS_SHOWN:
            words += f"; and {len(complaints) - COMPLAINTS_SHOWN} more"
        raise TableError(
            table.path, f"that {table.form.tool} says: {words}", "a table that Postfix reads without a complaint"
        )


def ask(table: Table, source: str, entries: list[core.Entry], tools: Tools) -> None:
    """Ask the new index for these entries; TableError when it lacks or alters one."""
    keys = "".join(f"{key}\n" for key, _value in entries).encode()
    # run_command would write all keys before it reads the first answer, and both sides would wait for ever.
    command = [str(tools.reader), "-q", "-", f"{table.form.kind}:{source}"]
    asked = subprocess.run(command, input=keys, capture_output=True, check=False)
    if not core.answers(entries, decoded(asked.stdout), table.form):
        raise TableError(f"{table.path}{table.form.suffix}", "an index that lacks or alters entries", "all of them")


def present(table: Table, tools: Tools, dress: Dress, sensitive: bool, check_mode: bool) -> dict[str, Any]:
    """Make it so, unless in check mode; the module's result, with a diff that ``main`` shows or not."""
    there = look(table)
    changed = not is_as_wanted(table, there)
    if changed and not check_mode:
        examined = replace(table, there, tools, dress, sensitive)
    elif changed:
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "source")
            if table.text is None:
                table.write(source, tools)
            examined = examine(table, source, there)
    elif there.built:
        examined = Examined(there.built.count, [], core.difference([], [], table.form))
    else:
        examined = examine(table, table.path, there)
    reordered = changed and there.has_source and table.form.ordered and not any(examined.difference.counts.values())
    if not changed:
        undressed = [dress(table.path + suffix) for suffix in table.suffixes]
        changed = any(undressed)
    return {
        "changed": changed,
        "path": table.path,
        "type": table.form.kind,
        "index": table.form.suffix and table.path + table.form.suffix,
        "index_state": there.index,
        "count": examined.count,
        "counts": examined.difference.counts,
        "diff": shown_diff(table.path, there, examined.difference, reordered),
    }


def absent(path: str, check_mode: bool) -> dict[str, Any]:
    files = files_of(path)
    there = Present(path in files, None, None, bool(leftovers(path)))
    changed = bool(files) or there.leftover
    before = "".join(f"{file}\n" for file in files)
    if changed and not check_mode:
        remove(path)
    diff = shown_diff(path, there, core.Difference({}, {}, before, ""))
    return {"changed": changed, "path": path, "diff": diff}


def shown_diff(path: str, there: Present, difference: core.Difference, reordered: bool = False) -> dict[str, Any]:
    """For Ansible's diff mode. What else was wrong is in the header, for the text may be unchanged."""
    notes = [f"index: {there.index}"] if there.index else []
    notes += ["leftover of a killed run"] if there.leftover else []
    notes += ["other order"] if reordered else []
    return {
        "before_header": f"{path} ({', '.join(notes)})" if notes else path,
        "after_header": path,
        "before": difference.before,
        "after": difference.after,
        **difference.keys,
    }


def wanted(params: dict[str, Any], tools: Tools) -> list[Table]:
    """The tables as the options say them, all of them checked."""
    if params["tables"] is None:
        return [wanted_table(params, tools)]
    return [wanted_table({**params, **table}, tools) for table in params["tables"]]


def main() -> None:
    # Not for syslog, whatever the table: it may hold passwords, or a hundred thousand recipients.
    entries = {"type": "raw", "no_log": True}
    kind = {"type": "str", "choices": list(core.TYPES)}
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path"},
            "entries": entries,
            "src": {"type": "path"},
            "type": kind,
            "tables": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "path": {"type": "path", "required": True},
                    "entries": {**entries, "required": True},
                    "type": kind,
                },
            },
            "tool": {"type": "str", "choices": ["postmap", "postalias"], "default": "postmap"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "sensitive": {"type": "bool", "default": False},
        },
        required_one_of=[("path", "tables")],
        required_if=[("state", "present", ["entries", "src", "tables"], True), ("state", "absent", ["path"])],
        mutually_exclusive=[("entries", "src", "tables"), ("path", "tables"), ("type", "tables")],
        add_file_common_args=True,
        supports_check_mode=True,
    )
    params = dict(module.params)
    path, sensitive = params["path"], params["sensitive"]
    mode = params["mode"] or ("0600" if sensitive else "0644")
    module.params["entries"] = module.params["tables"] = "not shown"  # nor in "invocation" of the result
    if not sensitive:
        module.no_log_values.clear()  # else every "OK" of the result would be stars
    dressed = path or (params["tables"] or [{"path": "/"}])[0]["path"]
    attributes = module.load_file_common_arguments({**params, "mode": mode, "path": dressed})
    tools = Tools(module.run_command, module.get_bin_path(params["tool"]), module.get_bin_path("postconf"))

    def dress(file: str) -> bool:
        """Owner, group, mode and label; True when they differed."""
        return module.set_fs_attributes_if_different({**attributes, "path": file}, False)

    try:
        if params["state"] == "absent":
            results = [absent(path, module.check_mode)]
        else:
            results = [present(table, tools, dress, sensitive, module.check_mode) for table in wanted(params, tools)]
    except (TableError, OSError) as error:
        module.fail_json(msg=str(error), **({"path": path} if path else {}))
    diffs = [diff for result in results for diff in [result.pop("diff")] if path or result["changed"]]
    shown = {} if sensitive or not module._diff else {"diff": diffs[0] if path else diffs}
    if path:
        module.exit_json(**results[0], **shown)
    module.exit_json(changed=any(result["changed"] for result in results), tables=results, **shown)


if __name__ == "__main__":
    main()
