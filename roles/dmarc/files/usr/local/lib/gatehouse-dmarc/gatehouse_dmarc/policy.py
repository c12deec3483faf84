# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DMARC (RFC 7489, RFC 9989): whose record holds, what is aligned, and what becomes of the message. No I/O.

DNS is a function that is handed in: ask(name, type) gives the records, none if there are none, and raises Unanswered;
missing(name) says whether the name itself does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, NamedTuple, Optional

POLICIES = ("none", "quarantine", "reject")
_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_PERCENT = re.compile(r"[0-9]{1,2}|100")


class Unanswered(Exception):
    """DNS gave no answer: a time-out, SERVFAIL, or no server at all. Later there may be one."""


Ask = Callable[[str, str], Sequence[Any]]


# Organizational domains


class Suffixes:
    """The public suffix list (publicsuffix.org): under which names domains are handed out."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.rules: dict[str, bool] = {}  # a rule in A-labels: whether it is one, or an exception from one
        for line in lines:
            rule = line.split("//")[0].strip()
            exception = rule.startswith("!")
            star = "*." if rule.startswith("*.") else ""
            name = rule[len(star) + exception :]
            if not name.isascii():
                try:
                    name = name.encode("idna").decode()
                except UnicodeError:
                    continue  # no name that DNS could have
            if name:
                self.rules[star + name] = not exception

    def organizational(self, domain: str) -> str:
        """The domain of an organization that this domain belongs to (RFC 7489 3.2); a suffix is its own."""
        labels = domain.split(".")
        for count in range(len(labels)):
            name = ".".join(labels[count:])
            if self.rules.get(name) is False:
                return name
            if name in self.rules or ".".join(["*", *labels[count + 1 :]]) in self.rules:
                return ".".join(labels[max(0, count - 1) :])
        return ".".join(labels[-2:])  # "If no rules match, the prevailing rule is *"


# Records


class Policy(NamedTuple):
    """What a domain asks for."""

    p: str  # the one of p, sp and np that holds for the author's domain
    strict: Mapping[str, bool]  # {"dkim": adkim=s, "spf": aspf=s}
    percent: int  # pct (RFC 7489), of which RFC 9989 knows no more
    testing: bool  # t=y (RFC 9989)

    def disposition(self, lot: float) -> str:
        """What becomes of a message that fails; lot is from 0 up to and without 100.

        Tested policies, and those that another part of the mail is to have, are one step milder (RFC 9989 4.7, RFC 7489
        6.6.4).
        """
        step = POLICIES.index(self.p)
        return POLICIES[max(0, step - (self.testing or lot >= self.percent))]


def discover(author: str, suffixes: Suffixes, ask: Ask, missing: Callable[[str], bool]) -> Optional[Policy]:
    """The policy for mail from this domain: its own record, or that of its organizational domain (RFC 7489 6.6.3).

    Raises Unanswered.
    """
    for name in dict.fromkeys((author, suffixes.organizational(author))):
        texts = [b"".join(strings).decode("latin-1") for strings in ask(f"_dmarc.{name}", "TXT")]
        records = [text for text in texts if _VERSION.match(text)]
        if len(records) == 1:
            return _policy(_tags(records[0]), name != author, lambda: missing(author))
    return None


def _tags(record: str) -> Mapping[str, str]:
    """Unlike DKIM's: what is no tag is passed over, and the others count (RFC 7489 6.3). Of two of a name the first."""
    found: dict[str, str] = {}
    for part in record.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            found.setdefault(name.strip(" \t").lower(), value.strip(" \t"))
    return found


def _policy(has: Mapping[str, str], inherited: bool, missing: Callable[[], bool]) -> Policy:
    """RFC 7489 6.6.3, 6 and RFC 9989: one unknown word among the policies, and it is a record with p=none."""
    words = {name: has[name].lower() for name in ("p", "sp", "np") if name in has}
    if "p" not in words or not set(words.values()) <= set(POLICIES):
        words = {"p": "none"}
    chosen = words["p"]
    if inherited:
        chosen = words.get("sp", chosen)
        if words.get("np", chosen) != chosen and missing():
            chosen = words["np"]
    percent = has.get("pct", "")
    return Policy(
        chosen,
        {"dkim": has.get("adkim", "r").lower() == "s", "spf": has.get("aspf", "r").lower() == "s"},
        int(percent) if _PERCENT.fullmatch(percent) else 100,
        has.get("t", "n").lower() == "y",
    )


# The verdict


class Identity(NamedTuple):
    """A domain that somebody vouched for, or did not: what SPF or a signature said of it."""

    method: str  # spf or dkim
    result: str  # RFC 8601 2.7
    domain: str


class Verdict(NamedTuple):
    result: str  # pass, fail, none, temperror (RFC 8601 2.7.9, RFC 7489 11.2)
    p: str  # the policy that holds; none where there is none, unknown where nobody answers
    disposition: str  # none, quarantine, reject; wait: what is missing could have made a refusal a pass


def aligned(identity: Identity, author: str, policy: Optional[Policy], suffixes: Suffixes) -> bool:
    """RFC 7489 3.1. Without a policy nobody knows the mode, and only the same domain is aligned in both."""
    if identity.domain == author:
        return True
    if policy is None or policy.strict[identity.method] or not identity.domain:
        return False
    return suffixes.organizational(identity.domain) == suffixes.organizational(author)


def judge(
    author: str,
    identities: Sequence[Identity],
    look_up: Callable[[], Optional[Policy]],
    unanswered_key: Callable[[Callable[[str], bool]], bool],
    suffixes: Suffixes,
    lot: float,
) -> Verdict:
    """What becomes of a message from this author's domain.

    look_up: gives the policy, and may raise Unanswered. unanswered_key: whether a signature of a domain that counts (it
    is handed the question) could not be verified for want of an answer; asked only where that decides.
    """
    try:
        policy, known = look_up(), True
    except Unanswered:
        policy, known = None, False
    ours = {one.result for one in identities if aligned(one, author, policy, suffixes)}
    if not known:
        return Verdict("temperror", "unknown", "none" if "pass" in ours else "wait")
    if policy is None:
        return Verdict("none", "none", "none")
    if "pass" in ours:
        return Verdict("pass", policy.p, "none")
    disposition = policy.disposition(lot)
    missing = "temperror" in ours or unanswered_key(
        lambda domain: aligned(Identity("dkim", "", domain), author, policy, suffixes)
    )
    if missing:
        return Verdict("temperror", policy.p, "none" if disposition == "none" else "wait")
    return Verdict("fail", policy.p, disposition)
