# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a message says of whom it is from. Each field has one reading; what has none, or two, is refused.

No I/O. Text is what the milter protocol hands over, decoded as UTF-8 with surrogates for other octets; a folded field
still has its line ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email.errors import MessageError
from email.header import decode_header, make_header
from typing import NamedTuple, Optional

LONGEST = 16000  # characters of an address field; no honest one is nearly so long
# RFC 6376 5.4.2 lets a verifier stop somewhere. opendkim is told the same (MaximumSignaturesToVerify).
SIGNATURES = 10

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# RFC 5322 3.2.3, with dots anywhere: some providers have given out such addresses.
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")
_ENCODED_WORD = re.compile(r"=\?[^?]*\?[bq]\?", re.IGNORECASE)
_FOLD = re.compile(r"\r?\n(?=[ \t])")
_SPACE = re.compile(r"[ \t]+")
_QUOTED = re.compile(r'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t\x20-\x7e\x80-\U0010ffff])*"')
# Beside RFC 5322's atoms: dots, brackets and raw UTF-8, which people write into names without quotes.
_ATOM = re.compile(r'[^\x00-\x20\x7f"(),:;<>@\\]+')
_SPECIAL = re.compile("[,:;<>@]")


class ReadingError(ValueError):
    """A field that RFC 5322 does not know, or that two programs may read as two things. The text says why."""


class Mailbox(NamedTuple):
    """One address: its local part without quotes, and its domain in lower case."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


class _Token(NamedTuple):
    kind: str  # space (comments too), quoted, atom, or the special character itself; end
    text: str


def is_domain(text: str) -> bool:
    """Whether this is letters, digits, hyphens and underscores with dots between: a name that DNS takes as it is."""
    return _DOMAIN.fullmatch(text) is not None and len(text) <= 253


def mailboxes(field: str) -> list[Mailbox]:
    """The addresses of a From, Sender or Resent-From field (RFC 5322 3.4, RFC 6854), at least one, in their order.

    No white space or comment within an address, no route, no encoded word, no domain in brackets: whatever reads them
    reads them differently. Raises ReadingError.
    """
    if len(field) > LONGEST:
        raise ReadingError(f"it is longer than {LONGEST} characters")
    return _Reader(list(_tokens(_FOLD.sub("", field)))).addresses()


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        if text[at] == "(":
            at = _after_comment(text, at)
            yield _Token("space", " ")
            continue
        for kind, pattern in (("space", _SPACE), ("quoted", _QUOTED), ("atom", _ATOM), ("", _SPECIAL)):
            found = pattern.match(text, at)
            if found:
                yield _Token(kind or found[0], found[0])
                at = found.end()
                break
        else:
            raise ReadingError("a quote is not closed" if text[at] == '"' else "it has a character that must be quoted")
    yield _Token("end", "")


def _after_comment(text: str, at: int) -> int:
    """The position behind the comment that begins here. RFC 5322 3.2.2: comments nest."""
    depth = 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == "(":
            depth += 1
        elif text[at] == ")":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    raise ReadingError("a comment is not closed")


def _check_name(words: list[str]) -> None:
    """Refuse names of which some readers make an address.

    Some stop at a bracket or at a dot in front, and take the words up to there for the address. Some look for encoded
    words before they look for quotes.
    """
    quoted = [word for word in words if word.startswith('"')]
    encoded = [word for word in words if "=?" in word]
    loose = any(re.match(r"\.|.*[][]", word) for word in words if not word.startswith('"'))
    if loose and any("@" in _decoded(word) for word in quoted + encoded):
        raise ReadingError("a name has brackets or a dot in front, and an @ in quotes or encoded beside them")
    if quoted and any(word.find("?=", word.find("=?") + 2) < 0 for word in encoded):
        raise ReadingError("a name has an encoded word that is not closed")


def _decoded(word: str) -> str:
    """What a program shows of it; an @ where nobody knows (RFC 2047)."""
    try:
        return str(make_header(decode_header(word)))
    except (MessageError, LookupError, ValueError):
        return "@"


class _Reader:
    """Reads tokens from left to right, and never back."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.at = 0

    def peek(self) -> _Token:
        return self.tokens[self.at]

    def take(self, *kinds: str) -> Optional[str]:
        """The next token's text if it is of one of these kinds."""
        token = self.peek()
        if token.kind not in kinds:
            return None
        self.at += 1
        return token.text

    def skip_space(self) -> None:
        while self.take("space") is not None:
            pass

    def addresses(self) -> list[Mailbox]:
        found = self.address()
        while self.take(",") is not None:
            found += self.address()
        if self.take("end") is None:
            raise ReadingError("it goes on behind an address")
        if not found:
            raise ReadingError("it names nobody")
        return found

    def address(self) -> list[Mailbox]:
        """A mailbox, or a group of them (RFC 5322 3.4)."""
        words, mailbox = self.mailbox_or_words()
        if mailbox is not None:
            return [mailbox]
        if not words or self.take(":") is None:
            raise ReadingError("it has words without an address")
        found = []
        self.skip_space()
        if self.peek().kind != ";":
            while True:
                _words, mailbox = self.mailbox_or_words()
                if mailbox is None:
                    raise ReadingError("a group has words without an address")
                found.append(mailbox)
                if self.take(",") is None:
                    break
        if self.take(";") is None:
            raise ReadingError("a group is not closed")
        self.skip_space()
        return found

    def mailbox_or_words(self) -> tuple[list[str], Optional[Mailbox]]:
        """The words read, and the address behind or among them: `words <address>` or a bare `address`."""
        words: list[str] = []
        while True:
            self.skip_space()
            word = self.take("atom", "quoted")
            if word is None:
                break
            if self.peek().kind == "@":
                if words:
                    raise ReadingError("a name has an @ without quotes")
                mailbox = self.domain_of(word)
                self.skip_space()
                return words, mailbox
            words.append(word)
        _check_name(words)
        if self.take("<") is None:
            return words, None
        self.skip_space()
        local = self.take("atom", "quoted")
        if local is None or self.peek().kind != "@":
            raise ReadingError("between < and > there is no address")
        mailbox = self.domain_of(local)
        self.skip_space()
        if self.take(">") is None:
            raise ReadingError("an address is not closed by >")
        self.skip_space()
        return words, mailbox

    def domain_of(self, local: str) -> Mailbox:
        self.take("@")
        domain = self.take("atom") or ""
        if not is_domain(domain):
            raise ReadingError("an address has no domain of letters, digits, hyphens and dots")
        # Some decode it, in quotes too.
        if _ENCODED_WORD.search(local):
            raise ReadingError("an address has an encoded word in it")
        if local.startswith('"'):
            bare = re.sub(r"\\(.)", r"\1", local[1:-1])
            if re.search("[@<>]", bare):  # as in MAIL FROM: some readers stop there
                raise ReadingError("an address has @, < or > in quotes")
            return Mailbox(bare, domain.lower())
        if not _LOCAL.fullmatch(local):
            raise ReadingError("an address has a local part that must be quoted")
        return Mailbox(local, domain.lower())


# The envelope


def sender_of(path: str, helo: str) -> tuple[str, str, str]:
    """(identity, sender, domain) that SPF is asked about: RFC 7208 2.4.

    path is MAIL FROM's, with its angle brackets or without. A null path is the HELO name's postmaster. The domain is
    what stands behind the last @, in lower case, and empty where nobody can be asked about it, such as an address in
    brackets.
    """
    path = path[1:-1] if path.startswith("<") and path.endswith(">") else path
    _local, at, behind = path.rpartition("@")
    identity, domain = ("mailfrom", behind if at else "") if path else ("helo", helo)
    # RFC 7208 4.3: a name that is not a full one has no result.
    if not is_domain(domain) or "." not in domain:
        return identity, path, ""
    return identity, path or f"postmaster@{domain}", domain.lower()


# What opendkim found


class Result(NamedTuple):
    """One signature that opendkim looked at."""

    result: str
    domain: str  # in lower case
    selector: str


_VALUE = r"[^\s;]"
_RESULT = re.compile(
    r'\s*;\s*dkim=([a-z]+)(?:\s+reason="[^"]*"|\s*\((?:[^()\\]|\\.)*\))*\s+header\.d=([^\s;]+)'
    rf"\s+header\.i={_VALUE}*\s+header\.a={_VALUE}+\s+header\.s=({_VALUE}+)\s+header\.b={_VALUE}+(?=\s*(?:;|$))",
    re.ASCII,
)
_NO_KEY = 'reason="key not found in DNS"'
_ID = re.compile(r'\s*([^\s;()"]+)')


def dkim_results(field: str, authserv_id: str) -> list[Result]:
    """The results of an Authentication-Results field that opendkim wrote in this name.

    opendkim cuts its field at 4096 octets, wherever that is, so that the last domain may be a part of a longer one. A
    result counts that has all of its five properties, of which the domain is the first.
    """
    name = _ID.match(field)
    if not name or name[1].lower() != authserv_id.lower():
        return []
    found, at = [], name.end()
    while True:
        one = _RESULT.match(field, at)
        if not one:
            return found
        if is_domain(one[2]):
            # It calls a key missing that DNS did not give; who wants to know asks again.
            result = "permerror" if _NO_KEY in one[0] else one[1]
            found.append(Result(result, one[2].lower(), one[3].lower()))
        at = one.end()


# What no reader takes apart: RFC 5322's atoms, dots and @.
_PLAIN_IDENTITY = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]*")


def is_plain(field: str) -> bool:
    """Whether opendkim can write what this DKIM-Signature has of its writer's own (i=) into its results as it stands.

    It decodes i= (RFC 6376 2.11) and puts no quotes around it, whether the signature holds or not: "=3B" would begin
    another result, which nothing in the field tells from a true one.
    """
    for part in field.split(";"):
        name, _equals, value = part.partition("=")
        if name.strip().lower() == "i":
            written = re.sub(r"[ \t\r\n]", "", value)
            decoded = re.sub("=([0-9A-Fa-f]{2})", lambda octet: chr(int(octet[1], 16)), written)
            if not _PLAIN_IDENTITY.fullmatch(decoded) or not _PLAIN_IDENTITY.fullmatch(written):
                return False
    return True


_TAG = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*=(.*)", re.DOTALL)


def tags(text: str) -> Mapping[str, str]:
    """A tag list (RFC 6376 3.2), as DKIM and DMARC have it; empty where it is none. Names in lower case."""
    found: dict[str, str] = {}
    for part in text.rstrip("; \t\r\n").split(";"):
        tag = _TAG.fullmatch(part)
        if not tag or tag[1].lower() in found:
            return {}
        found[tag[1].lower()] = tag[2].strip()
    return found


def signature(field: str) -> Optional[tuple[str, str]]:
    """(domain, selector) in lower case of a DKIM-Signature field that a verifier asks for a key (RFC 6376 6.1.1)."""
    has = tags(_FOLD.sub("", field))
    if has.get("v") != "1" or has.get("a") not in _ALGORITHMS or "from" not in has.get("h", "").lower():
        return None
    if not all(_is_base64(has.get(tag, "")) for tag in ("b", "bh")):
        return None
    domain, selector = has.get("d", ""), has.get("s", "")
    return (domain.lower(), selector.lower()) if is_domain(domain) and is_domain(selector) else None


_ALGORITHMS = ("rsa-sha256", "rsa-sha1", "ed25519-sha256")


def _is_base64(text: str) -> bool:
    bare = re.sub(r"[ \t\r\n]", "", text)
    return re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", bare) is not None and len(bare) % 4 == 0
