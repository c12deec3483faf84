# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recipients that a mail host pushes: what an address is, the stream that carries them, and what is refused.

No I/O and no Ansible. The model reads addresses by the rules here; mail hosts and gateways have this file as it stands
beside their programs. So it needs nothing but Python's standard library.

A stream is one line, the header, and then one recipient or alias a line, sorted and each of them once. An alias is
followed by its final targets:

    gatehouse-recipients 1 store.example.org 17 3 89 SHA-256 keep
    alice@example.org
    bob@example.org
    sales@example.org alice@example.org bob@example.org

The header has the version of the format, the mail host's name, the serial, the number of lines, the number of octets
after the header, their digest, and a word: "shrink" where the list may lose most of what it had, "compare" where the
gateway is only asked what would change, or else "keep".
"""

from __future__ import annotations

import hashlib
import operator
import re
from collections.abc import Collection, Iterable, Mapping
from typing import BinaryIO, NamedTuple, Optional

VERSION = 1
LONGEST_HEADER = 512  # octets
LONGEST = 64 << 20  # octets after the header: two million addresses of ordinary length
AHEAD = 1000  # how far a serial may be ahead of the last one
NAMED = 20  # addresses that an answer names
MOST_TARGETS = 50  # of an alias
FEW_ALIASES = 10  # may go at once: one of two that is removed is no accident, and would stop every push
LATER = "450 4.1.1 not known here yet or any more; try again later"
_BLOCK = 1 << 16

# RFC 1123 2.1, RFC 1035 2.3.4: two or more LDH labels of 1 to 63, 253 in all. RFC 3696 2: the last one is no number.
_NAME = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?![0-9]+\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
# RFC 5322 3.2.3 dot-atom, RFC 5321 4.5.3.1.1: 64 octets. A leading "#" starts a comment in a table of Postfix.
_ATEXT = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]"
_LOCAL_PART = re.compile(r"(?=.{1,64}\Z)(?!#)" + _ATEXT + r"+(?:\." + _ATEXT + r"+)*")
# A mailbox names a folder and a login of Dovecot: the characters of its auth_username_chars.
_MAILBOX = re.compile(r"[a-z0-9._-]+")
LONGEST_ADDRESS = 254  # RFC 5321 4.5.3.1.3: a path of 256 octets, two of which are the angle brackets
LONGEST_LINE = (LONGEST_ADDRESS + 1) * (MOST_TARGETS + 1)

_HEADER = re.compile(
    rb"gatehouse-recipients ([0-9]{1,9}) ([a-z0-9.-]{1,253}) ([0-9]{1,18}) ([0-9]{1,9}) ([0-9]{1,12})"
    rb" ([0-9a-f]{64}) (keep|shrink|compare)\n"
)


def is_name(text: str) -> bool:
    return text.isascii() and _NAME.fullmatch(text.lower()) is not None


def is_local(text: str) -> bool:
    return text.isascii() and _LOCAL_PART.fullmatch(text.lower()) is not None


def is_address(text: str) -> bool:
    local, at_sign, domain = text.rpartition("@")
    return bool(at_sign) and len(text) <= LONGEST_ADDRESS and is_local(local) and is_name(domain)


def is_mailbox(local: str, delimiter: str) -> bool:
    """Whether Dovecot could have a mailbox of this local part. One with the recipient delimiter is split there."""
    return _MAILBOX.fullmatch(local) is not None and not (delimiter and delimiter in local)


def fold(text: str) -> str:
    return text.strip().lower()


def domain_of(address: str) -> str:
    return address.rpartition("@")[2]


class Refused(ValueError):
    """A push that is not taken. `code` is one word for programs, and the text says what was found."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code


class Header(NamedTuple):
    host: str
    serial: int
    count: int
    length: int
    digest: str
    word: str = "keep"

    def line(self) -> bytes:
        words = (VERSION, self.host, self.serial, self.count, self.length, self.digest, self.word)
        return f"gatehouse-recipients {' '.join(map(str, words))}\n".encode()


class Lists(NamedTuple):
    """What a mail host has: its recipients, sorted, and its aliases, {alias: final targets}."""

    recipients: list[str]
    aliases: dict[str, list[str]]

    def lines(self) -> list[str]:
        return sorted([*self.recipients, *(" ".join((alias, *self.aliases[alias])) for alias in self.aliases)])


class Known(NamedTuple):
    """What a gateway knows of the mail host that pushes: its domains, the last serial that was taken, 0 before the
    first, the table's addresses, how many percent of them a push may lose, those that may not go at all, and the
    aliases that it pushed."""

    host: str
    domains: Collection[str]
    serial: int
    addresses: Collection[str]
    percent: int
    needed: Collection[str] = ()
    delimiter: str = ""
    aliases: Collection[str] = ()


def stream(host: str, serial: int, lines: Iterable[str], word: str = "keep") -> tuple[Header, bytes]:
    """The header and what follows it; the lines are folded."""
    lines = sorted(set(lines))
    body = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    return Header(host, serial, len(lines), len(body), hashlib.sha256(body).hexdigest(), word), body


def collected(addresses: Iterable[str], domains: Collection[str], delimiter: str = "") -> list[str]:
    """What a mail host's sources say, folded as the model does, sorted, and each of them once; Refused for what cannot
    be pushed, as the gateway would refuse it."""
    found = sorted({fold(address) for address in addresses})
    if not (_are_addresses(found) and _are_mailboxes(found, domains, delimiter)):
        for address in found:
            _check(address, "the sources")
            if domain_of(address) not in domains:
                raise Refused("domain", f"the sources: {_show(address)} is in none of this mail host's domains")
            _check_mailbox(address, delimiter, "the sources: ")
    return found


def resolved(
    pairs: Iterable[tuple[str, list[str]]], recipients: Collection[str], domains: Collection[str]
) -> dict[str, list[str]]:
    """The aliases of a mail host's sources, each with its final targets; Refused for what cannot be pushed."""
    written: dict[str, set[str]] = {}
    for name, targets in pairs:
        written.setdefault(fold(name), set()).update(map(fold, targets))
    for alias, targets in written.items():
        for address in (alias, *sorted(targets)):
            _check(address, "the sources")
            if domain_of(address) not in domains:
                raise Refused(
                    "domain",
                    f"the sources: alias {_show(alias)}: {_show(address)} is in none of this mail host's domains",
                )
        if alias in recipients:
            raise Refused("alias", f"the sources: {_show(alias)} is an alias and a mailbox")
    ends_by_alias: dict[str, set[str]] = {}
    final = {alias: sorted(_final(alias, written, (), ends_by_alias)) for alias in sorted(written)}
    for alias, ends_of in final.items():
        if len(ends_of) > MOST_TARGETS:
            raise Refused("alias", f"the sources: alias {_show(alias)} has more than {MOST_TARGETS} targets")
    return final


def _final(
    alias: str, written: Mapping[str, Collection[str]], way: tuple[str, ...], known: dict[str, set[str]]
) -> set[str]:
    """The ends of an alias, which `known` keeps: aliases that name the same others are not followed twice."""
    if alias in known:
        return known[alias]
    if alias in way or len(way) > MOST_TARGETS:
        raise Refused("alias", f"the sources: alias {_show(alias)} leads to itself, or through too many others")
    found: set[str] = set()
    for target in written[alias]:
        found |= _final(target, written, (*way, alias), known) if target in written else {target}
    known[alias] = found
    return found


def deliverable(addresses: Iterable[str], users: Iterable[str]) -> None:
    """Refused for an address that is no user of Dovecot's: its mail would be taken and then returned."""
    unknown = sorted(set(addresses) - {fold(user) for user in users})
    if unknown:
        raise Refused("source", f"Dovecot has no user {_show(unknown[0])}; make the mailbox, or remove the address")


def read_header(stream: BinaryIO) -> Header:
    """The header, of which no more is read than it may have."""
    line = stream.readline(LONGEST_HEADER)
    match = _HEADER.fullmatch(line)
    if match is None:
        raise Refused("header", f"the header is {_show(line.decode('utf-8', 'backslashreplace'))}")
    version, host, serial, count, length, digest, word = match.groups()
    if int(version) != VERSION:
        raise Refused("version", f"the stream is of version {int(version)}, and this gateway knows {VERSION}")
    if int(length) > LONGEST:
        raise Refused("length", f"the list has {int(length)} octets, and {LONGEST} are the most that a push may have")
    return Header(host.decode(), int(serial), int(count), int(length), digest.decode(), word.decode())


def read_body(stream: BinaryIO, header: Header) -> bytes:
    """What follows the header: exactly as many octets as it says, and of its digest. Never holds more than those, and
    ends early where a line is longer than any address."""
    blocks: list[bytes] = []
    missing, line = header.length, 0  # line: octets since the last newline
    while missing:
        block = stream.read(min(missing, _BLOCK))
        if not block:
            raise Refused("length", f"the list ends {missing} octets before the {header.length} that its header says")
        first, newline, _rest = block.partition(b"\n")
        longest = max(line + len(first), max((len(one) for one in block.split(b"\n")[1:]), default=0))
        line = len(block) - block.rfind(b"\n") - 1 if newline else line + len(block)
        if longest > LONGEST_LINE:
            raise Refused("line", f"a line is longer than {LONGEST_LINE} octets")
        blocks.append(block)
        missing -= len(block)
    if stream.read(1):
        raise Refused("length", f"the list goes on after the {header.length} octets that its header says")
    body = b"".join(blocks)
    if hashlib.sha256(body).hexdigest() != header.digest:
        raise Refused("digest", "the list is not that of the header's digest")
    return body


def read(stream: BinaryIO) -> tuple[Header, Lists]:
    """A whole stream, checked by itself."""
    header = read_header(stream)
    return header, lists_of(read_body(stream, header), header)


def lists_of(body: bytes, header: Header) -> Lists:
    """The recipients and aliases; Refused for the first line that is none in its folded form, or is not after the one
    before."""
    if body and not body.endswith(b"\n"):
        raise Refused("line", "the last line has no end")
    lines = body.decode("utf-8", "backslashreplace").split("\n")[:-1]
    found = Lists([], {})
    before = ""
    if len(lines) == header.count and _are_addresses(lines) and all(map(operator.lt, lines, lines[1:])):
        return Lists(lines, {})
    for number, line in enumerate(lines, 1):
        words = line.split(" ")
        for address in words:
            _check(address, f"line {number}")
        if line != line.lower():
            raise Refused("line", f"line {number}: {_show(line)} is not in lower case")
        if words[0] == before:
            raise Refused("line", f"line {number}: {_show(before)} is there twice")
        if words[0] < before:
            raise Refused("line", f"line {number}: {_show(line)} is out of order")
        before = words[0]
        if len(words) == 1:
            found.recipients.append(line)
        elif words[1:] == sorted(set(words[1:])) and len(words) <= MOST_TARGETS + 1:
            found.aliases[before] = words[1:]
        else:
            raise Refused("line", f"line {number}: the targets of {_show(before)} are out of order, or too many")
    if len(lines) != header.count:
        raise Refused("count", f"the list has {len(lines)} lines, and its header says {header.count}")
    return found


def _are_addresses(folded: list[str]) -> bool:
    """Whether all are addresses as the model has them: many at once, since a domain is looked at once. What is none,
    the slower way names."""
    parts = [address.rpartition("@") for address in folded]
    return (
        all(map(_NAME.fullmatch, {domain for _local, _at_sign, domain in parts}))
        and all(_LOCAL_PART.fullmatch(local) for local, _at_sign, _domain in parts)
        and max(map(len, folded), default=0) <= LONGEST_ADDRESS
    )


def _are_mailboxes(addresses: Iterable[str], domains: Collection[str], delimiter: str) -> bool:
    parts = [address.rpartition("@") for address in addresses]
    return (
        {domain for _local, _at_sign, domain in parts}.issubset(domains)
        and all(_MAILBOX.fullmatch(local) for local, _at_sign, _domain in parts)
        and not (delimiter and any(delimiter in local for local, _at_sign, _domain in parts))
    )


def _check(address: str, where: str) -> None:
    if address.startswith("@"):
        raise Refused("catch-all", f"{where}: {_show(address)} is a catch-all")
    if not is_address(address):
        raise Refused("line", f"{where}: {_show(address)} is not an address")


def _check_mailbox(address: str, delimiter: str, where: str = "") -> None:
    if not is_mailbox(address.rpartition("@")[0], delimiter):
        raise Refused("mailbox", f"{where}{_show(address)} is no name for a mailbox of Dovecot")


def _show(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:79] + "…")


def judge_header(header: Header, host: str, serial: int) -> None:
    """Refused for a list of another host than it came from, or that is not the next one."""
    if header.host != host:
        raise Refused("host", f"the list is that of {header.host}, and came from {host}")
    if header.serial <= serial:
        raise Refused("serial", f"serial {header.serial} is not newer than {serial}, the last that was taken")
    if header.serial > serial + AHEAD:
        raise Refused("serial", f"serial {header.serial} is more than {AHEAD} ahead of {serial}")


def judge(header: Header, lists: Lists, known: Known) -> None:
    """Refused for a push that must not take the place of what is there."""
    judge_header(header, known.host, known.serial)
    if not lists.recipients:
        raise Refused("empty", "the list is empty")
    if not _are_mailboxes(lists.recipients, known.domains, known.delimiter):
        for address in lists.recipients:
            if domain_of(address) not in known.domains:
                raise Refused("domain", f"{_show(address)} is in no domain of {known.host}")
            _check_mailbox(address, known.delimiter)
    for alias, targets in lists.aliases.items():
        for address in (alias, *targets):
            if domain_of(address) not in known.domains:
                raise Refused("domain", f"alias {_show(alias)}: {_show(address)} is in no domain of {known.host}")
    present = set(lists.recipients)
    missing = sorted(set(known.needed) - present)
    if missing:
        raise Refused("postmaster", f"{missing[0]} is missing, to whom the postmaster's mail goes")
    if header.word != "shrink":
        _check_loss("addresses", set(known.addresses), present, known.percent, 0)
        _check_loss("aliases", set(known.aliases), set(lists.aliases), known.percent, FEW_ALIASES)


def _check_loss(what: str, before: set[str], after: set[str], percent: int, few: int) -> None:
    gone = len(before - after)
    if gone > few and gone * 100 > len(before) * percent:
        raise Refused(
            "shrunk",
            f"the list lost {gone} of {len(before)} {what}; if meant: gatehouse-recipients push --accept-shrink",
        )


def ends(
    aliases: Mapping[str, Collection[str]], domains: Collection[str], recipients: Collection[str]
) -> dict[str, list[str]]:
    """The aliases with those of their targets that are known. What is in none of these domains is not ours to know.

    An alias of which no target is left is left out, since its mail would be taken and then returned.
    """
    live = {
        alias: [target for target in targets if domain_of(target) not in domains or target in recipients]
        for alias, targets in aliases.items()
    }
    return {alias: targets for alias, targets in sorted(live.items()) if targets}


def deferred(
    waiting: Collection[str],
    gone: Collection[str],
    aliases: Mapping[str, Collection[str]],
    live: Collection[str],
    recipients: Collection[str],
) -> dict[str, str]:
    """The access table of recipients that are told to come again, by which nobody whom the mail host has is refused:

    `waiting` are the domains of which their mail host has pushed nothing yet; `gone` are recipients and aliases that
    were removed lately. An alias is one of these where a target of it is, also where others are known: the mail would
    be taken without that one.
    """
    table = dict.fromkeys(waiting, LATER)
    if waiting:
        table.update(dict.fromkeys((known for known in recipients if domain_of(known) in waiting), "DUNNO"))
        table.update(dict.fromkeys((alias for alias in live if domain_of(alias) in waiting), "DUNNO"))
    table.update(dict.fromkeys((address for address in gone if address not in live), LATER))
    for alias, targets in aliases.items():
        unknown = (target for target in targets if target not in recipients)
        if any(domain_of(target) in waiting or target in gone for target in unknown):
            table[alias] = LATER
    return table


def difference(before: Iterable[str], after: Iterable[str]) -> dict[str, object]:
    """What an answer says of a change: how many came and went, and the first of them."""
    old, new = set(before), set(after)
    added, removed = sorted(new - old), sorted(old - new)
    return {
        "added": len(added),
        "removed": len(removed),
        "names_added": added[:NAMED],
        "names_removed": removed[:NAMED],
    }


# Sources on a mail host, each as its text and the domain of names without one; None where such names are refused.


def whole(name: str, domain: Optional[str], where: str) -> str:
    """The address of a user of whom perhaps the local part alone is known."""
    if "@" in name:
        return name
    if not domain:
        raise Refused("source", f"{where}: {_show(name)} has no domain; write domain beside the source")
    return f"{name}@{domain}"


def of_list(text: str, domain: Optional[str], where: str) -> list[str]:
    """One address a line; blank lines and comments are passed over."""
    lines = (line.strip() for line in text.split("\n"))
    return [whole(line, domain, where) for line in lines if line and not line.startswith("#")]


def of_users_file(text: str, domain: Optional[str], where: str) -> list[str]:
    """Dovecot's passwd-file: the user, then a colon."""
    lines = (line for line in text.split("\n") if line.strip() and not line.startswith("#"))
    return [whole(line.partition(":")[0].strip(), domain, where) for line in lines]


def of_aliases_file(text: str, domain: Optional[str], where: str) -> list[tuple[str, list[str]]]:
    """Lines as of aliases(5), `name: target, target`; one that begins with a blank continues the one before. Targets
    are addresses alone: no program, no file and no other list."""
    logical: list[str] = []
    for line in text.split("\n"):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t" and logical:
            logical[-1] += line
        else:
            logical.append(line)
    found = []
    for line in logical:
        name, colon, targets = line.partition(":")
        words = [word.strip() for word in targets.split(",") if word.strip()]
        if not colon or not words:
            raise Refused("source", f"{where}: {_show(line)} is no alias with a target")
        found.append((whole(name.strip(), domain, where), [whole(word, domain, where) for word in words]))
    return found


TEXTS = {"users_file": of_users_file, "list": of_list, "command": of_list}
