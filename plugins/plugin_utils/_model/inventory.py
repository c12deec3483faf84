# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the inventory is read: places that word what is wrong with a value, and checks of the kinds of values.

Every check takes the place where a value stands (`Place`) and the value, notes what is wrong with it, and returns
something of the right type all the same, so that one run finds every problem.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.gatehouse.mail.plugins.module_utils import _recipients, _visible
from ansible_collections.gatehouse.mail.plugins.module_utils._recipients import is_address, is_local, is_name

domain_of = _recipients.domain_of
MISSING: Any = object()

GATEWAYS = "mail_gateways"
STORES = "mail_stores"


class InventoryError(ValueError):
    """The inventory cannot be meant like this. `problems`: one line each, with host, key, value and what to write."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join([*problems, "nothing was changed"]))
        self.problems = list(problems)


class Place:
    """Where a value stands, such as `host mx1: mail_domains[2].name`; the one that words the problems found there."""

    __slots__ = ("path", "problems", "who")

    def __init__(self, problems: list[str], who: str, path: str = "") -> None:
        self.problems = problems
        self.who = who
        self.path = path

    def __getitem__(self, key: object) -> Place:
        if not self.path:
            step = str(key)
        elif isinstance(key, int) and not isinstance(key, bool):
            step = f"[{key}]"
        elif isinstance(key, str) and key.isidentifier():
            step = f".{key}"
        else:
            step = f"[{show(key)}]"
        return type(self)(self.problems, self.who, self.path + step)

    def refuse(self, value: object, why: str, instead: str) -> None:
        """Note that `value` cannot stand here. Not for secrets, nor for what might be one."""
        self.note(f"{show(value)} {why}", instead)

    def note(self, what: str, instead: str) -> None:
        """Note a problem without showing a value."""
        path = f"{self.path}: " if self.path else ""
        self.problems.append(f"{self.who}: {path}{what}; {instead}")


def show(value: object) -> str:
    """The value in one printable line of at most 120 characters."""
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=not value.isprintable())
    elif value is None or isinstance(value, bool):
        text = json.dumps(value)
    else:
        text = ascii(value)
    return text if len(text) <= 120 else text[:119] + "…"


def kind(value: object) -> str:
    """What YAML calls a value of this type."""
    for types, name in (
        (type(None), "empty"),
        (bool, "a boolean"),
        (int, "an integer"),
        (float, "a number with a point"),
        (str, "a string"),
        (Mapping, "a mapping"),
        ((list, tuple), "a list"),
    ):
        if isinstance(value, types):
            return name
    return f"of type {type(value).__name__}"


def of_type(at: Place, value: object, instead: str) -> str:
    """`instead`, and where perhaps INI or the command line made a string of the value, how to write it there."""
    if not isinstance(value, str):
        return instead
    variable = re.split(r"[.\[]", at.path, maxsplit=1)[0]
    return f"{instead}; in INI as Python has it, with -e as JSON: -e '{{\"{variable}\": …}}'"


def sequence(at: Place, value: object, example: str) -> Sequence[Any]:
    if isinstance(value, (list, tuple)):
        return value
    at.refuse(value, f"is {kind(value)}, not a list", of_type(at, value, f"write a list, such as {example}"))
    return []


def mapping(at: Place, value: object, example: str) -> Mapping[Any, Any]:
    if isinstance(value, Mapping):
        return value
    at.refuse(value, f"is {kind(value)}, not a mapping", of_type(at, value, f"write a mapping, such as {example}"))
    return {}


def record(at: Place, value: object, known: Sequence[str], example: str) -> Mapping[Any, Any]:
    """A mapping with no other keys than those `known`."""
    record = mapping(at, value, example)
    for key in record:
        if key not in known:
            unknown(at[key], key, known, "key")
    return record


def unknown(at: Place, name: object, known: Sequence[str], what: str) -> None:
    close = difflib.get_close_matches(name, known, n=1) if isinstance(name, str) else []
    instead = f"did you mean {close[0]}?" if close else f"write one of {', '.join(known)}"
    at.note(f"{show(name)} is not a known {what}", instead)


def integer(at: Place, value: object, low: int, high: int, default: int, words: bool = True) -> int:
    """The integer; with `words` also one in a string, which INI and the command line make of it."""
    instead = f"write an integer from {low} to {high}, without quotes"
    if words and isinstance(value, str) and re.fullmatch("-?[0-9]{1,19}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        at.refuse(value, f"is {kind(value)}, not an integer", of_type(at, value, instead))
    elif not low <= value <= high:
        at.refuse(value, "is out of range", instead)
    else:
        return value
    return default


def boolean(at: Place, value: object, words: bool = True) -> bool:
    """The boolean; with `words` also one in a string, which INI and the command line make of it."""
    if words and isinstance(value, str):
        value = {"true": True, "yes": True, "false": False, "no": False}.get(value.lower(), value)
    if not isinstance(value, bool):
        instead = of_type(at, value, "write true or false, without quotes")
        at.refuse(value, f"is {kind(value)}, not a boolean", instead)
    return value is True


def is_interface(text: str) -> bool:
    """Whether the kernel (dev_valid_name() in net/core/dev.c) and firewalld take it, and XML as it stands."""
    return re.fullmatch("[A-Za-z0-9_.=+-]{1,15}", text) is not None and text not in (".", "..")


def fold(value: object) -> str:
    return _recipients.fold(value) if isinstance(value, str) else ""


def _odd_character(text: str) -> str:
    """The first character of text that nobody sees, or else its first space, in words; empty if there is neither."""
    return _visible.unseen(text) or (f"space at {text.index(' ') + 1}" if " " in text else "")


def is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _a_labels(name: str) -> str:
    """The A-label form (RFC 5890 2.3.2.1) of a name with U-labels, if Python's codec has one that means the same name.

    The codec speaks IDNA 2003, where `straße` becomes `strasse`: another name under IDNA 2008, so better left unsaid.
    """
    try:
        encoded = name.encode("idna")
        return encoded.decode() if encoded.decode("idna") == name.lower() else ""
    except UnicodeError:
        return ""


def _why_no_name(text: str) -> tuple[str, str]:
    """Why text is not a domain name, and what to write instead."""
    labels = text.split(".")
    instead = 'write a name such as "example.org"'
    odd = _odd_character(text)
    if not text:
        return "empty", instead
    if odd:
        return odd, f"write {show(''.join(text.split()))}" if odd.startswith("space") else instead
    if len(text) > 253:
        return f"{len(text)} characters", "write at most 253"
    if not text.isascii():
        return "not in A-labels", f"write {show(_a_labels(text) or 'xn--…')}"
    if is_ip(text.strip("[]")) or labels[-1].isdigit():
        return "an IP address or a number at its end", instead
    if "*" in text:
        return "a wildcard", "write each name by itself"
    if text.endswith("."):
        return "trailing dot", f"write {show(text.rstrip('.'))}"
    for label in labels:
        if not label:
            return "empty label", instead
        if len(label) > 63:
            return f"label of {len(label)} characters", "write labels of at most 63"
        if label.startswith("-") or label.endswith("-"):
            return f"hyphen at an end of label {show(label)}", instead
    for position, character in enumerate(text, 1):
        if not (character.isalnum() or character in "-."):
            return f"character {show(character)} at {position}", "write letters, digits, hyphens and dots only"
    return "a single label", f"write the full name, such as {show(text + '.example.org')}"


def domain_name(at: Place, value: object) -> str:
    """The name in lower case, checked as an LDH host name (RFC 1123 2.1, RFC 5890 2.3.1)."""
    if not isinstance(value, str):
        at.refuse(value, f"is {kind(value)}, not a domain name", 'write a name such as "example.org"')
    elif not is_name(value):
        why, instead = _why_no_name(value)
        at.refuse(value, f"is not a domain name ({why})", instead)
    return fold(value).rstrip(".")


def _why_no_address(text: str) -> tuple[str, str]:
    """Why text is not an address that this collection serves, and what to write instead."""
    local, at_sign, domain = text.rpartition("@")
    instead = 'write one address, such as "alice@example.org"'
    odd = _odd_character(text)
    if not text:
        return "empty", instead
    if odd:
        return odd, "write the address without it"
    if text.startswith("#"):
        return 'leading "#"', "write an address that a table does not take for a comment"
    if not at_sign:
        return 'no "@"', f"write it in full, such as {show(text + '@example.org')}"
    if not local:
        return "a catch-all", "write each address by itself"
    if local.startswith('"'):
        return "a quoted local part", "write a local part that needs no quotes"
    if "@" in local:
        return 'more than one "@"', instead
    if len(local) > 64:
        return f"local part of {len(local)} characters", "write at most 64"
    if not is_local(local):
        return "a local part that is no dot-atom", "write ASCII letters, digits, hyphens, and single dots within"
    if not is_name(domain):
        why, instead = _why_no_name(domain)
        return f"after the @: {why}", instead
    return f"{len(text)} characters", "write at most 254"


def address(at: Place, value: object) -> str:
    """The address in lower case, checked as one unquoted RFC 5321 mailbox in ASCII."""
    if not isinstance(value, str):
        at.refuse(value, f"is {kind(value)}, not an address", 'write an address such as "alice@example.org"')
        return ""
    if not is_address(value):
        why, instead = _why_no_address(value)
        at.refuse(value, f"is not an address ({why})", instead)
    return fold(value)


def address_or_domain(at: Place, value: object) -> str:
    """An address, or "@" and a domain for all of its addresses, in lower case."""
    if isinstance(value, str) and value.startswith("@"):
        return "@" + domain_name(at, value[1:])
    return address(at, value)


def addresses(at: Place, value: object) -> dict[str, Place]:
    """A list of different addresses: {address in lower case: where it stands}."""
    found: dict[str, Place] = {}
    for index, item in enumerate(sequence(at, value, '["alice@example.org"]')):
        one = address(at[index], item)
        if one in found:
            at[index].refuse(item, f"is the same address as {found[one].path}", "write it once")
        elif one:
            found[one] = at[index]
    return found


def unknown_variables(
    names: Mapping[str, Iterable[str]], known: Mapping[str, Collection[str]], secrets: Collection[str]
) -> tuple[list[str], list[str]]:
    """What nothing reads though it looks as if something did, a line each: (sure slips, what may be somebody else's).

    names: {inventory host: its variables}; known: {prefix: variables that begin with it}, such as {"postfix_": [...]};
    secrets: the variables vault_mail_*, a prefix that is nobody else's. Other collections have roles of the same names,
    so an unknown variable of a role is a slip only where it is nearly a known one.
    """
    owners: dict[str, list[str]] = {}
    for host, variables in names.items():
        for variable in variables:
            if variable.startswith((*known, "vault_mail_")):
                owners.setdefault(variable, []).append(host)
    slips: list[str] = []
    others: list[str] = []
    for variable in sorted(owners.keys() - set(secrets).union(*known.values())):
        at = Place(slips, f"host {owners[variable][0]}")[variable]
        if variable.startswith("vault_mail_"):
            unknown(at, variable, sorted(secrets), "variable")
            continue
        prefix = max((prefix for prefix in known if variable.startswith(prefix)), key=len)
        endings = [name[len(prefix) :] for name in known[prefix]]
        close = difflib.get_close_matches(variable[len(prefix) :], endings, n=1, cutoff=0.8)
        if close:
            at.note("is not a known variable", f"did you mean {prefix}{close[0]}?")
        else:
            others.append(f"{at.who}: {variable}: no role of gatehouse.mail reads it")
    return slips, others
