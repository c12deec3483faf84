# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a host's SELinux store differs from what is wanted of it, and the lines of ``semanage import`` that mend it.

No I/O and no Ansible. What is wanted comes as dictionaries of the module's options, checked and completed by Ansible:
ports with ``port``, ``proto``, ``setype``, ``state``; fcontexts with ``target``, ``ftype``, ``setype``, ``state``;
booleans with ``name``, ``value``, ``state``; modules as `Module`.

Sources: semanage(8) and its pages for each kind of record, semodule(8), and semanage's own reader of import lines
(``mkargv()``), which knows quotes and no escapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.gatehouse.mail.plugins.module_utils._refusal import Refusal

#: Kinds of files: the letter of ``semanage fcontext -f``, and what the store calls them.
FILE_KINDS = {
    "a": "all files",
    "b": "block device",
    "c": "character device",
    "d": "directory",
    "f": "regular file",
    "l": "symbolic link",
    "p": "named pipe",
    "s": "socket",
}

#: The context of files that restorecon leaves alone.
NO_CONTEXT = "<<none>>"

#: Where semanage puts a module, above the policy's own at 100.
PRIORITY = 400

_PORT = re.compile(r"(\d+)(?:-(\d+))?")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_RELABELLED = re.compile(r"^(?:Relabeled|Would relabel) (.*) from (\S+) to (\S+)$", re.MULTILINE)


class PolicyError(Refusal):
    """An item that the store cannot hold, or a host whose store cannot be changed."""


class PortKey(NamedTuple):
    low: int
    high: int
    proto: str

    def __str__(self) -> str:
        return f"{self.numbers}/{self.proto}"

    @property
    def numbers(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"

    def overlaps(self, other: PortKey) -> bool:
        return self.proto == other.proto and self.low <= other.high and other.low <= self.high

    def covers(self, other: PortKey) -> bool:
        return self.proto == other.proto and self.low <= other.low and other.high <= self.high


def canonical(target: str, equivalences: Mapping[str, str]) -> str:
    """A file context's target as the store has it: below a folder that the policy declares the same as another one,
    with the other's name (file_contexts.subs_dist). EL 9 has /run as /var/run, EL 10 the other way round."""
    for folder, other in equivalences.items():
        if target.startswith(f"{folder}/"):
            return other + target[len(folder) :]
    return target


class Store(NamedTuple):
    """What a host's store says: types of ports, of (target, file kind), values of booleans, checksums of modules.

    ``local_*`` are the keys of records that the policy does not bring along. A boolean is None while what is stored and
    what the kernel has are not the same. ``modules`` are those at semanage's priority, with ``sha256:`` and the sum of
    their CIL text, and ``disabled`` before it where somebody did that. ``equivalences`` are folders that the policy
    declares the same as another one.
    """

    ports: Mapping[PortKey, str]
    local_ports: frozenset[PortKey]
    fcontexts: Mapping[tuple[str, str], str]
    local_fcontexts: frozenset[tuple[str, str]]
    booleans: Mapping[str, bool | None]
    modules: Mapping[str, str]
    equivalences: Mapping[str, str]
    port_types: frozenset[str]
    file_types: frozenset[str]


class Module(NamedTuple):
    """A policy module as the store keeps it, in CIL, with the name of its file; None for one that is to go."""

    name: str
    file: str
    checksum: str | None


class Change(NamedTuple):
    """One difference: what it is about, what was found, what will be, and ``semanage import``'s line or lines for it.

    The subject is the word by which semanage would complain of it, the detail what else tells it from others.
    """

    kind: str
    subject: str
    before: str
    after: str
    line: str
    detail: str = ""

    @property
    def item(self) -> str:
        return f"{self.kind} {self.subject}{self.detail}"


def port_key(port: str, proto: str) -> PortKey:
    """``8894`` or ``8890-8899``."""
    match = _PORT.fullmatch(port)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= low <= high <= 65535:
        raise PolicyError(f"port {port!r}", "no port or range of ports", "such as 8894 or 8890-8899, up to 65535")
    return PortKey(low, high, proto)


def port_changes(wanted: Sequence[Mapping[str, Any]], store: Store) -> list[Change]:
    """What goes comes first, so that a range may be replaced by its parts."""
    items = [(port_key(item["port"], item["proto"]), item["setype"], item["state"]) for item in wanted]
    gone = [(key, setype) for key, setype, state in items if state == "absent"]
    present = [(key, setype) for key, setype, state in items if state == "present"]
    for at, (key, _setype) in enumerate(present):
        other = next((before for before, _setype in present[:at] if before.overlaps(key)), None)
        if other or key in dict(gone):
            raise PolicyError(f"port {key}", f"port {other or key} in the same task", "items that do not overlap")
    ours = [key for key, setype in gone if key in store.local_ports and setype in (None, store.ports[key])]
    removed = list(dict.fromkeys(ours))
    left = store._replace(
        ports={key: found for key, found in store.ports.items() if key not in removed},
        local_ports=store.local_ports.difference(removed),
    )
    removals = [_port_removal(key, store) for key in removed]
    return removals + [change for key, setype in present if (change := _port_change(key, setype, left))]


def _port_removal(key: PortKey, store: Store) -> Change:
    return Change("port", key.numbers, store.ports[key], "", f"port -d -p {key.proto} {key.numbers}", f"/{key.proto}")


def _port_change(key: PortKey, setype: str, store: Store) -> Change | None:
    _check_type(f"port {key}", setype, store.port_types, "a port type")
    if port_type(key, store) == setype:
        return None
    _check_overlap(key, store)
    verb = "-m" if key in store.ports else "-a"
    line = f"port {verb} -t {setype} -p {key.proto} {key.numbers}"
    return Change("port", key.numbers, store.ports.get(key, ""), setype, line, f"/{key.proto}")


def port_type(key: PortKey, store: Store) -> str | None:
    """The type that all of a range has: what was added comes before the policy, and the narrow before the wide.

    None when its ports differ.
    """
    covering = [record for record in store.ports if record.covers(key)]
    best = min(covering, key=lambda record: (record not in store.local_ports, record.high - record.low), default=None)
    if best is None:
        return None
    within = () if best in store.local_ports else overlapped(key, store)
    return store.ports[best] if all(store.ports[record] == store.ports[best] for record in within) else None


def overlapped(key: PortKey, store: Store) -> list[PortKey]:
    """Records that lie partly or wholly within a range, and do not cover it."""
    return sorted(record for record in store.ports if record.overlaps(key) and not record.covers(key))


def _check_overlap(key: PortKey, store: Store) -> None:
    """libsemanage refuses two local records that overlap, and says so only at the end of the transaction."""
    other = next((record for record in sorted(store.local_ports) if record != key and record.overlaps(key)), None)
    if other:
        raise PolicyError(
            f"port {key}",
            f"port {other} as {store.ports[other]}, which was added to the policy before and overlaps",
            f"that one gone (port: {other.numbers}, proto: {other.proto}, state: absent)",
        )


def port_warnings(changes: Iterable[Change], store: Store) -> list[str]:
    """What changes take from others: a port that somebody labelled, ports of the policy within a range."""
    labelled = [
        f"{change.item} as {change.after} was {change.before}, which was added to the policy before"
        for change in changes
        if change.kind == "port" and change.after and port_key(change.subject, change.detail[1:]) in store.local_ports
    ]
    return labelled + [
        f"{change.item} as {change.after} takes in port {record}, which the policy has as {store.ports[record]}"
        for change in changes
        if change.kind == "port" and change.after
        for record in overlapped(port_key(change.subject, change.detail[1:]), store)
        if store.ports[record] != change.after
    ]


def fcontext_changes(wanted: Sequence[Mapping[str, Any]], store: Store) -> list[Change]:
    _check_once("fcontext", [f"{item['target']} ({FILE_KINDS[item['ftype']]})" for item in wanted])
    return [change for item in wanted if (change := _fcontext_change(item, store))]


def _fcontext_change(item: Mapping[str, Any], store: Store) -> Change | None:
    target, setype, kind = item["target"], item["setype"], FILE_KINDS[item["ftype"]]
    name = f"fcontext {target} ({kind})"
    if not target.startswith("/") or any(letter in "'\"" or letter.isspace() for letter in target):
        raise PolicyError(name, "another target", "a regular expression from the root on, without quotes and spaces")
    found = store.fcontexts.get((target, kind), "")
    if item["state"] == "absent":
        if (target, kind) in store.local_fcontexts and setype in (None, found):
            return Change("fcontext", target, found, "", f"fcontext -d -f {item['ftype']} '{target}'", f" ({kind})")
        return None
    if setype != NO_CONTEXT:
        _check_type(name, setype, store.file_types, f"a file or device type, or {NO_CONTEXT}")
    if found == setype:
        return None
    verb = "-m" if found else "-a"
    return Change(
        "fcontext", target, found, setype, f"fcontext {verb} -f {item['ftype']} -t {setype} '{target}'", f" ({kind})"
    )


def boolean_changes(wanted: Sequence[Mapping[str, Any]], store: Store) -> list[Change]:
    _check_once("boolean", [item["name"] for item in wanted])
    return [change for item in wanted if (change := _boolean_change(item, store))]


def _boolean_change(item: Mapping[str, Any], store: Store) -> Change | None:
    words = {True: "on", False: "off", None: "not the same in the kernel and in the store"}
    name, value = item["name"], item["state"] == "present" and item["value"]
    if name not in store.booleans:
        if item["state"] == "absent":
            return None
        raise PolicyError(f"boolean {name}", "none of that name", "one that `semanage boolean -l` lists")
    found = store.booleans[name]
    if found == value:
        return None
    return Change("boolean", name, words[found], words[value], f"boolean -m --{words[value]} {name}")


def module_changes(wanted: Sequence[Module], store: Store) -> list[Change]:
    return [change for module in wanted if (change := _module_change(module, store))]


def _module_change(module: Module, store: Store) -> Change | None:
    found = store.modules.get(module.name, "")
    if module.checksum is None:
        return Change("module", module.name, found, "", f"module -r {module.name}") if found else None
    if found == module.checksum:
        return None
    disabled, _space, text = found.rpartition(" ")
    lines = [] if text == module.checksum else [f"module -a {module.file}"]
    lines += [f"module -e {module.name}"] if disabled else []
    return Change("module", module.name, found, module.checksum, "\n".join(lines))


def takes_back_only(params: Mapping[str, Any]) -> bool:
    """Whether no item of the task adds anything to the policy."""
    items = [item for kind in ("ports", "fcontexts", "booleans", "modules") for item in params[kind]]
    return all(item["state"] == "absent" for item in items)


def check_modules(wanted: Sequence[Mapping[str, Any]]) -> None:
    """Names that are also names of files, each once, and one text for each module that is to be there."""
    _check_once("module", [item["name"] for item in wanted])
    for item in wanted:
        name = f"module {item['name']}"
        if not _NAME.fullmatch(item["name"]):
            raise PolicyError(name, "another name", "letters, digits, '_', '.' and '-', a letter first")
        texts = [key for key in ("cil", "te") if item[key] is not None]
        if item["state"] == "present" and len(texts) != 1:
            raise PolicyError(name, " and ".join(texts) or "neither cil nor te", "one of cil and te")


def _check_once(what: str, names: Sequence[str]) -> None:
    for at, name in enumerate(names):
        if name in names[:at]:
            raise PolicyError(f"{what} {name}", "it twice", "each once")


def _check_type(name: str, setype: str, known: frozenset[str], expected: str) -> None:
    if setype not in known:
        raise PolicyError(name, f"setype {setype}", f"{expected} of the host's policy")


def checksums(listing: str) -> dict[str, str]:
    """From ``semodule -lfull -m``, a line ``priority name language [disabled] checksum``: those at our priority,
    with what follows the language."""
    lines = (line.split() for line in listing.splitlines())
    return {words[1]: " ".join(words[3:]) for words in lines if len(words) >= 4 and words[0] == str(PRIORITY)}


def script(changes: Iterable[Change]) -> str:
    """The standard input of ``semanage import``: one transaction."""
    return "".join(f"{change.line}\n" for change in changes)


def shown(changes: Iterable[Change], side: str) -> str:
    """One side of a diff, ``before`` or ``after``."""
    return "".join(f"{change.item}: {getattr(change, side) or 'not there'}\n" for change in changes)


def relabelled(said: str) -> list[tuple[str, str, str]]:
    """(path, context before, context after) from ``restorecon -v``, or ``-nv``, which says what it would do."""
    return [match.groups() for match in _RELABELLED.finditer(said)]  # type: ignore[misc]


def blamed(changes: Sequence[Change], complaint: str) -> str:
    """The item that semanage's complaint is about; all of them where it names none or several."""
    named = [change.item for change in changes if change.subject in complaint]
    return ", ".join(named if len(named) == 1 else [change.item for change in changes])


def fixed_part(target: str) -> str:
    """The path below which all lies that a target can match: ``/srv/mail(/.*)?`` gives ``/srv/mail``."""
    head = re.match(r"(?:\\\W|[^.^$?*+|\[({\\])*", target)[0]  # type: ignore[index]
    path = re.sub(r"\\(.)", r"\1", head)
    return path if target[len(head) :] in ("", "(/.*)?") else path[: path.rfind("/")] or "/"
