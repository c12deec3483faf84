# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS records as data: from records to text, and how they differ from what servers say.

No I/O and no Ansible. A *record* is a dictionary:

    zone    the zone it is published in, such as "example.org"
    name    its owner, in full and without a trailing dot
    type    "MX", "A", "AAAA", "PTR", "TXT" or "CAA"
    kind    what it is for: the type, or for TXT "SPF", "DKIM", "DMARC", or "report" (who may send DMARC reports here)
    ttl     seconds
    value   the RDATA in RFC 1035's words; of TXT the text, in one piece and without quotes; None while nobody knows it
            yet, because the DKIM key was not made

A record that others may have too is theirs: of a set that several may write to, such as all TXT records of a name, only
those of our kind are looked at.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple, Optional

from ansible_collections.gatehouse.mail.plugins.module_utils import _spf

_PLAIN = bytes(octet for octet in range(32, 127) if octet not in b'"\\')  # what needs no escape between quotes
STRING = 255  # octets of one string of a TXT record: RFC 1035 3.3.14

NOT_MADE = "no key yet; run site.yml with --tags opendkim"

Record = dict[str, Any]
Strings = tuple[str, ...]  # of a TXT record, escaped as in a zone file; of others the RDATA as the one string
Place = tuple[str, str]  # name and type: what a server is asked for
Server = Hashable  # one address of a server, whose str() names it for people
Found = Mapping[Place, Sequence[Strings]]


class Alias(NamedTuple):
    """What leads from a name to another one, where a server then finds the records: a CNAME there, or a DNAME above."""

    kind: str  # "CNAME" or "DNAME"
    owner: str  # the name that has it; of a wildcard the name that was asked for
    target: str  # where it leads in the end
    wildcard: bool = False  # of no effect as soon as the name has a record of its own (RFC 4592)
    trouble: str = ""  # why nobody can say what is there


Aliases = Mapping[Place, Alias]


# From records to text


def quoted(text: str) -> str:
    """The text as strings of a zone file, each of at most 255 octets (RFC 1035 3.3.14, 5.1)."""
    if text.isascii() and not text.encode().translate(None, _PLAIN):
        if len(text) <= STRING:
            return f'"{text}"'
        return '"' + '" "'.join([text[start : start + STRING] for start in range(0, len(text), STRING)]) + '"'
    octets = text.encode()
    parts = [octets[start : start + STRING] for start in range(0, len(octets), STRING)]
    return " ".join(f'"{escaped(part)}"' for part in parts)


def escaped(octets: bytes) -> str:
    """Octets as they stand between the quotes of a zone file (RFC 1035 5.1)."""
    return "".join(
        f"\\{chr(octet)}" if octet in b'"\\' else chr(octet) if 32 <= octet < 127 else f"\\{octet:03}"
        for octet in octets
    )


def zone_texts(wanted: Iterable[Record]) -> dict[str, str]:
    """{zone: the lines of its file, for $INCLUDE or to be appended}, records in the order given."""
    texts: dict[str, list[str]] = {}
    for record in wanted:
        zone, name, rdtype, value = record["zone"], record["name"], record["type"], record["value"]
        lines = texts.get(zone)
        if lines is None:
            lines = texts[zone] = [f"$ORIGIN {zone}.\n"]
        owner = "@" if name == zone else name[: -len(zone) - 1]
        if value is None:
            lines.append(f"; {owner} {rdtype}: {NOT_MADE}\n")
        else:
            rdata = quoted(value) if rdtype == "TXT" else value
            lines.append(f"{owner} {record['ttl']} IN {rdtype} {rdata}\n")
    return {zone: "".join(lines) for zone, lines in texts.items()}


def line(record: Record) -> str:
    """The record in one line for a person or a web panel: name, TTL, type, value; a TXT's text as it is."""
    if record["value"] is None:
        return f"# {record['name']} {record['type']}: {NOT_MADE}"
    return f"{record['name']} {record['ttl']} {record['type']} {record['value']}"


# What servers say


def by_zone(wanted: Iterable[Record]) -> dict[str, list[Record]]:
    """{zone: its records}, in the order given."""
    zones: dict[str, list[Record]] = {}
    for record in wanted:
        zones.setdefault(record["zone"], []).append(record)
    return zones


def places(wanted: Iterable[Record]) -> list[Place]:
    """What to ask for, each once, in the order of the records."""
    return list(dict.fromkeys((record["name"], record["type"]) for record in wanted))


def compare(
    wanted: Sequence[Record], former: Sequence[Record], found: Found, aliases: Optional[Aliases] = None
) -> list[dict[str, Any]]:
    """How the records that one server has differ from those wanted; a place that is not in `found` is passed over.

    former: records of ours that are wanted no longer; only they themselves are reported, whatever else is there.
    aliases: the places at which `found` has the records of another name.

    A difference has zone, name, type and kind; a problem ("missing", "wrong", "split", "duplicate", "unexpected",
    "obsolete", "unmade", "alias"); `wanted` and `found`, lists of values; `add`, the records, and `remove`, lists of
    strings, which together mend it; `words`, and `todo`. Of an "alias" nothing can be added or removed: a server
    ignores either at such a name, without an error (RFC 2136 3.4.2.2).
    """
    aliases = aliases or {}
    differences = []
    together: dict[tuple[str, str, str], list[Record]] = {}
    for record in wanted:
        together.setdefault((record["name"], record["type"], record["kind"]), []).append(record)
    for (name, kind_of_record, kind), ours in together.items():
        there = found.get((name, kind_of_record))
        alias = aliases.get((name, kind_of_record))
        if there is not None:
            differences += [_behind(alias, ours, each) if alias else each for each in _compare_set(kind, ours, there)]
    for record in former:
        place = (record["name"], record["type"])
        if (*place, record["kind"]) in together:
            continue
        whole = record["kind"] == "DKIM"  # the selector is ours, whatever its text says besides, such as t=y
        rdata = [strings for strings in found.get(place, ()) if whole or "".join(strings) == record["value"]]
        alias = aliases.get(place)
        if rdata and not (alias and alias.wildcard):
            obsolete = _difference(record, "obsolete", [], rdata)
            differences.append(_behind(alias, [record], obsolete) if alias else obsolete)
    return differences


def _is_ours(kind: str, strings: Strings) -> bool:
    """Whether a record found at a place is of the kind looked for, and so for us to judge."""
    text = "".join(strings)
    if kind == "SPF":
        return _spf.is_spf(text)
    if kind in ("DMARC", "report"):
        return text.replace(" ", "").lower().startswith("v=dmarc1")
    return True


def _compare_set(kind: str, ours: Sequence[Record], there: Sequence[Strings]) -> list[dict[str, Any]]:
    first = ours[0]
    if first["value"] is None:
        return [_difference(first, "unmade", [], [])]
    rdata = [strings for strings in there if _is_ours(kind, strings)]
    missing = [record for record in ours if record["value"] not in map("".join, rdata)]
    values = {record["value"] for record in ours}
    more = [strings for strings in rdata if "".join(strings) not in values]
    if not missing and not more:
        return []
    if first["type"] != "TXT":
        problem = "wrong" if missing and more else "missing" if missing else "unexpected"
        return [_difference(first, "duplicate" if kind == "PTR" and not missing else problem, missing, more)]
    if not missing:
        return [_difference(first, "duplicate", [], more)]
    pieces = _pieces_of(first["value"], there)
    if pieces:
        return [_difference(first, "split", missing, pieces)]
    return [_difference(first, ("missing", "wrong", "duplicate")[min(len(more), 2)], missing, more)]


def _behind(alias: Alias, ours: Sequence[Record], difference: dict[str, Any]) -> dict[str, Any]:
    """The difference as it is where what was found is another name's."""
    if difference["problem"] == "unmade":
        return difference
    if alias.wildcard:
        return _difference(ours[0], "missing", ours, [])
    there = " and ".join(f'"{value}"' for value in difference["found"])
    wanted = " and ".join(difference["wanted"])
    ends = alias.trouble or f"where {there or 'no such record'} is found"
    instead = f"have {wanted} written" if wanted else f"have {there} removed"
    return {
        **difference,
        "problem": "alias",
        "add": [],
        "remove": [],
        "words": f"{difference['name']}: the {_what(ours[0])} is not to be changed here, since the {alias.kind} at "
        f"{alias.owner} leads to {alias.target}, {ends}",
        "todo": f"remove that {alias.kind}{f', then add {wanted}' if wanted else ''}; or, if it is meant, "
        f"{instead} at {alias.target}",
    }


def _pieces_of(value: str, there: Sequence[Strings]) -> list[Strings]:
    """The records that together hold the value, but cut or joined in a way that changes it; none if there are none."""
    squeezed = _squeezed(value)
    for strings in there:
        if _squeezed("".join(strings)) == squeezed:
            return [strings]
    if len(there) <= 4:  # more pieces than a key could be cut into are somebody's records
        for count in range(2, len(there) + 1):
            for some in permutations(there, count):
                if _squeezed("".join("".join(strings) for strings in some)) == squeezed:
                    return list(some)
    return []


def _squeezed(text: str) -> str:
    """Without what panels and people put in when they cut a text into strings."""
    return "".join(character for character in text if character not in ' \t"()\\')


_WORDS = {
    "missing": ("is missing", "add {wanted}"),
    "wrong": ("is wrong: found {found}", "replace it by {wanted}"),
    "split": ("was cut into strings wrongly: found {found}", "replace it by {wanted}, as one record"),
    "duplicate": ("is there more than once, which makes receivers take none: found {found}", "remove {found}"),
    "unexpected": ("has a record that the inventory does not: {found}", "remove {found}, or write it in the inventory"),
    "obsolete": ("is wanted no longer: found {found}", "remove {found}"),
    "unmade": ("cannot be published yet, since its key was not made", "run site.yml with --tags opendkim"),
}


def _what(record: Record) -> str:
    return f"{record['kind']} record" if record["kind"] != "report" else "leave to send DMARC reports"


def _difference(record: Record, problem: str, missing: Sequence[Record], more: Sequence[Strings]) -> dict[str, Any]:
    wanted = [each["value"] for each in missing]
    found = ["".join(strings) for strings in more]
    words, todo = _WORDS[problem]
    if problem == "duplicate" and wanted:
        todo += ", and add {wanted}"
    shown = {
        "wanted": " and ".join(map(str, wanted)),
        "found": " and ".join(" ".join(f'"{string}"' for string in strings) for strings in more),
    }
    return {
        **{key: record[key] for key in ("zone", "name", "type", "kind")},
        "problem": problem,
        "wanted": wanted,
        "found": found,
        "add": list(missing),
        "remove": [list(strings) for strings in more],
        "words": f"{record['name']}: the {_what(record)} {words.format(**shown)}",
        "todo": todo.format(**shown),
    }


def merge(
    differences: Mapping[Server, Sequence[dict[str, Any]]], serials: Mapping[Server, int], zone: str
) -> list[dict[str, Any]]:
    """One zone's differences of all its servers, each once, with the servers that have it.

    differences, serials: by server; all servers are in both. What differs only at servers that are behind the newest
    one is told as one difference of each such server, "stale": the remedy is a transfer, not another record.
    """
    latest = newest(serials.values())
    together: dict[str, dict[str, Any]] = {}
    for server, found in differences.items():
        for difference in found:
            entry = together.setdefault(difference["words"], {**difference, "servers": []})
            entry["servers"].append(str(server))
    current = {str(server) for server, number in serials.items() if number == latest}
    merged = []
    behind: set[str] = set()
    for entry in together.values():
        if current & set(entry["servers"]):
            if len(entry["servers"]) < len(serials):
                entry["words"] += f" (at {', '.join(entry['servers'])} only)"
            merged.append(entry)
        else:
            behind.update(entry["servers"])
    for server, number in serials.items():
        if str(server) in behind:
            words = f"is stale: it has serial {number} where others have {latest}"
            todo = "look why it does not fetch the zone, or wait for it"
            merged.append(server_difference(zone, str(server), "stale", words, todo))
    return merged


def server_difference(zone: str, server: str, problem: str, words: str, todo: str) -> dict[str, Any]:
    """A difference that is about a server of a zone, or about all of them, and not about a record."""
    return {
        "zone": zone, "name": zone, "type": "SOA", "kind": "server", "problem": problem, "wanted": [], "found": [],
        "add": [], "remove": [], "servers": [server] if server else [],
        "words": f"zone {zone}: {f'server {server} ' if server else ''}{words}", "todo": todo,
    }  # fmt: skip


def newest(serials: Iterable[int]) -> Optional[int]:
    """The serial that no other one is ahead of, by RFC 1982's arithmetic; None when there is none."""
    best: Optional[int] = None
    for serial in serials:
        if best is None or 0 < (serial - best) % 2**32 < 2**31:
            best = serial
    return best
