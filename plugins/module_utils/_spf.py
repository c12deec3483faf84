# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SPF records (RFC 7208): the terms of one, whether they make sense together, and what they cost in look-ups. No I/O.

A record is written as the list of its terms in the words of the RFC, such as `["mx", "include:_spf.example.net",
"-all"]`. The one word of our own is `gateways`: the addresses of all gateways, as ip4 and ip6, which cost no look-up.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Callable, NamedTuple, Optional

VERSION = "v=spf1"
GATEWAYS = "gateways"
MAX_LOOKUPS = 10  # RFC 7208 4.6.4: terms that ask DNS, in the record and in those it includes
MAX_VOIDS = 2  # RFC 7208 4.6.4: look-ups without an answer
MAX_HOSTS = 10  # RFC 7208 4.6.4: names behind one mx
LONG = 450  # octets; RFC 7208 3.4: above it an answer may not fit into 512 octets

MECHANISMS = ("all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists")
MODIFIERS = ("redirect", "exp")
ASKING = ("include", "a", "mx", "ptr", "exists", "redirect")

_TERM = re.compile(r"([-+?~]?)([A-Za-z][A-Za-z0-9._-]*)(?:([:=])([^/]*))?((?:/[0-9]{0,3})*)")
# RFC 7208 7.1. The letters c, r and t are for the text that exp leads to.
_MACRO = re.compile(r"%(?:\{[slodiphv][0-9]*r?[-.+,/_=]*\}|[%_-])", re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_TOP_LABEL = re.compile(r"(?![0-9]+\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)


class SpfError(ValueError):
    """A record that a validator would refuse: `term` (empty for the whole record), why, and what to write instead."""

    def __init__(self, term: str, why: str, instead: str) -> None:
        super().__init__(f"{term!r} {why}; {instead}")
        self.term = term
        self.why = why
        self.instead = instead


class Term(NamedTuple):
    """One mechanism or modifier. The target is a name, a name with macros, or an address; empty means the domain."""

    qualifier: str
    name: str
    target: str = ""
    length: str = ""  # the prefix length or lengths, with their slashes

    def __str__(self) -> str:
        between = "=" if self.name in MODIFIERS else ":"
        return f"{self.qualifier}{self.name}{between if self.target else ''}{self.target}{self.length}"


Known = Callable[[str], Optional[Sequence[Term]]]


def parse(text: str) -> Term:
    """One term, in lower case but for its macros, without a needless "+"; SpfError says what is wrong with it."""
    # Slashes within a macro are delimiters, not prefix lengths: hide them while the term is taken apart.
    hidden = _MACRO.sub(lambda macro: macro[0].replace("/", "\0"), text)
    parts = _TERM.fullmatch(hidden)
    if parts is None:
        raise SpfError(text, "is not a term of SPF", 'write one term, such as "include:_spf.example.net"')
    qualifier, name, between, target, length = (part.replace("\0", "/") for part in parts.groups(default=""))
    name = name.lower()
    if name not in (*MECHANISMS, *MODIFIERS, GATEWAYS):
        words = ", ".join((*MECHANISMS, *MODIFIERS, GATEWAYS))
        raise SpfError(text, "is not a known mechanism or modifier", f"write one of {words}")
    if name in MODIFIERS and (qualifier or between != "="):
        raise SpfError(text, "is not a modifier as it stands", f'write "{name}=NAME"')
    if name in MECHANISMS and between == "=":
        raise SpfError(text, 'has "=" after a mechanism', f'write "{name}:…"')
    term = Term(qualifier.replace("+", ""), name, target, length)
    if name in (GATEWAYS, "all"):
        if between or length or (name == GATEWAYS and qualifier):
            raise SpfError(text, f"has more than the word {name}", f'write "{name}"')
    elif name in ("ip4", "ip6"):
        return term._replace(**_network(text, name, target, length))
    else:
        _check_target(text, name, bool(between), target)
        _check_length(text, name, length)
        if "%" not in target:
            term = term._replace(target=target.lower().rstrip("."))
    return term


def _network(text: str, name: str, target: str, length: str) -> dict[str, str]:
    try:
        if not target or "%" in target or (name == "ip6") != (":" in target):
            raise ValueError
        network = ipaddress.ip_network(target + length)
    except ValueError:
        example = {"ip4": "ip4:192.0.2.0/24", "ip6": "ip6:2001:db8::/32"}[name]
        raise SpfError(text, f"is not a network of {name} without host bits", f'write such as "{example}"') from None
    return {
        "target": str(network.network_address),
        "length": f"/{network.prefixlen}" if network.prefixlen < network.max_prefixlen else "",
    }


def _check_target(text: str, name: str, has_one: bool, target: str) -> None:
    if not target:
        if has_one or name in ("include", "exists", *MODIFIERS):
            between = "=" if name in MODIFIERS else ":"
            raise SpfError(text, "has no name", f'write "{name}{between}NAME"')
        return
    plain = _MACRO.sub("x", target)
    labels = plain.rstrip(".").split(".")
    *others, top = labels
    ends_in_macro = re.search(r"%\{[^}]*\}\Z", target) is not None
    if (
        "%" in plain
        or len(plain) > 253
        or not all(_LABEL.fullmatch(label) for label in others)
        or not (ends_in_macro or (others and _TOP_LABEL.fullmatch(top)))
    ):
        raise SpfError(text, f"has no domain name after {name}", 'write a full name, such as "_spf.example.net"')


def _check_length(text: str, name: str, length: str) -> None:
    if not length:
        return
    cidr = re.fullmatch(r"(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?", length)
    if name not in ("a", "mx"):
        raise SpfError(text, f"has a prefix length, which {name} cannot have", "remove it")
    if cidr is None or int(cidr[1] or 0) > 32 or int(cidr[2] or 0) > 128:
        raise SpfError(text, "has a prefix length that is none", 'write such as "a/24" or "a/24//64"')


def check(terms: Sequence[Term]) -> None:
    """Raise SpfError when the terms make no record together (RFC 7208 4.6, 5.1, 6.1)."""
    seen: set[Term] = set()
    for term in terms:
        if term in seen:
            raise SpfError(str(term), "is there twice", "write it once")
        seen.add(term)
    names = [term.name for term in terms]
    for name in MODIFIERS:
        if names.count(name) > 1:
            raise SpfError(f"{name}=", "is there twice", "write it once")
    if "all" in names and "redirect" in names:
        raise SpfError("redirect=", "has no effect beside all", "remove one of the two")
    if "all" not in names and "redirect" not in names:
        raise SpfError("", "says nothing of all other senders", 'write "-all" at its end')
    after = [term for term in terms[names.index("all") + 1 :] if term.name not in MODIFIERS] if "all" in names else []
    if after:
        raise SpfError(str(after[0]), "stands after all and is never reached", "write it before")
    if Term("", "all") in seen:
        raise SpfError("all", "lets the whole world send", 'write "-all" or "~all"')


def expand(terms: Iterable[Term], addresses: Sequence[str]) -> list[Term]:
    """The terms with the networks of the gateways in the place of `gateways`."""
    own = [Term("", "ip6" if ":" in address else "ip4", address) for address in addresses]
    return [new for term in terms for new in (own if term.name == GATEWAYS else [term])]


def render(terms: Iterable[Term]) -> str:
    """The text of the record."""
    return " ".join([VERSION, *map(str, terms)])


def is_spf(text: str) -> bool:
    """Whether a receiver takes this TXT record for SPF (RFC 7208 4.5)."""
    return text.lower() == VERSION or text.lower().startswith(VERSION + " ")


def terms_of(text: str) -> list[Term]:
    """The terms of a record found in DNS; SpfError where one is none."""
    return [parse(word) for word in text.split(" ")[1:] if word]


def lookups(terms: Iterable[Term], known: Known, path: tuple[str, ...] = ()) -> int:
    """How many terms ask DNS, those of records included or redirected to among them as far as they are known.

    known: the terms of a name's record, None where nobody knows. path: the domains on the way here, which must not
    come again (SpfError).
    """
    count = 0
    for term in terms:
        count += term.name in ASKING
        if term.name not in ("include", "redirect") or "%" in term.target:
            continue
        if term.target in path:
            raise SpfError(str(term), f"leads back to {term.target}", "remove it")
        count += lookups(known(term.target) or (), known, (*path, term.target))
    return count


def warnings(terms: Sequence[Term]) -> list[str]:
    """What is allowed and yet unwise."""
    length = len(render(terms))
    said = ["ptr is slow, and not to be used (RFC 7208 5.5)"] if any(term.name == "ptr" for term in terms) else []
    return said + ([f"its {length} octets may not fit into an answer by UDP"] if length > LONG else [])
