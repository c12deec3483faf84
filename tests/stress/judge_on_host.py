"""Runs on a host with the judge: a name server, the real process, and many sessions by the milter protocol.

Standard input is an order: {"sessions", "seed", "seconds"}. The output is JSON: {"wrong": the first sessions that ended
as they must not, "counts": {what: how often}, "same_pid", "rss": {sessions done: KiB}, "seconds"}.

What is right comes from tables below and from email.headerregistry, not from the judge's own reading.
"""

from __future__ import annotations

import collections
import email.policy
import json
import multiprocessing
import os
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
from typing import Any

import dns.message
import dns.rcode
import dns.rrset

FOLDER = "/run/judge"
# As roles/dmarc/templates/usr/local/libexec/gatehouse-dmarc.j2.
PROGRAM = """
import sys
sys.path.insert(0, "/usr/local/lib/gatehouse-dmarc")
from gatehouse_dmarc.milter import main
main(sys.argv[1])
"""
SOCKET = f"{FOLDER}/socket"
NAME = "mx1.example.org"
WORKERS = 8
LIMIT = 60_000  # octets of header
SETTINGS = {
    "socket": f"unix:{SOCKET}",
    "authserv_id": NAME,
    "header_size_limit": LIMIT,
    "reject_failures": True,
    "exempt_clients": ["10.99.0.0/24", "127.0.0.0/8"],
    "recipient_delimiter": "+",
    "sender_login_maps": {"alice@example.org": ["alice"], "@own.example": ["bob"]},
    "self_sender_domains": [],
    "any_from_logins": ["robot"],
    "nameservers": ["127.0.0.1"],
    "public_suffix_list": "/usr/share/publicsuffix/public_suffix_list.dat",
}

# The world: what DNS says, and the clients that each domain's SPF lets pass. All domains have two labels.

REJECT = '"v=DMARC1; p=reject"'
DNS = {
    "reject.example": '"v=spf1 ip4:192.0.2.10 -all"',
    "_dmarc.reject.example": REJECT,
    "quarantine.example": '"v=spf1 ip4:192.0.2.11 ~all"',
    "_dmarc.quarantine.example": '"v=DMARC1; p=quarantine"',
    "none.example": '"v=spf1 a -all"',
    "_dmarc.none.example": '"v=DMARC1; p=none"',
    "sender.example": '"v=spf1 ip4:192.0.2.66 -all"',
    "include.example": '"v=spf1 include:reject.example -all"',
    "_dmarc.include.example": REJECT,
    "redirect.example": '"v=spf1 redirect=reject.example"',
    "_dmarc.redirect.example": REJECT,
    "mail.example": '"v=spf1 mx -all"',
    "_dmarc.mail.example": REJECT,
    "six.example": '"v=spf1 ip6:2001:db8::10 -all"',
    "_dmarc.six.example": REJECT,
    "exists.example": '"v=spf1 exists:%{l}.u.%{d} -all"',
    "_dmarc.exists.example": REJECT,
    "strict.example": '"v=spf1 ip4:192.0.2.10 -all"',
    "_dmarc.strict.example": '"v=DMARC1; p=reject; adkim=s; aspf=s"',
    "wrong.example": '"v=spf1 nonsense -all"',
    "_dmarc.wrong.example": REJECT,
    "_dmarc.servfail.example": REJECT,
    "_dmarc.silent.example": REJECT,
    "helo.example": '"v=spf1 ip4:192.0.2.10 -all"',
    "_dmarc.helo.example": REJECT,
    "known._domainkey.reject.example": '"v=DKIM1; p=AAAA"',
}
OTHERS = {
    ("none.example", "A"): ["192.0.2.12"],
    ("mail.example", "MX"): ["10 mx.mail.example."],
    ("mx.mail.example", "A"): ["192.0.2.14"],
    ("alice.u.exists.example", "A"): ["127.0.0.2"],
}
PASSES = {
    "reject.example": "192.0.2.10", "quarantine.example": "192.0.2.11", "none.example": "192.0.2.12",
    "sender.example": "192.0.2.66", "include.example": "192.0.2.10", "redirect.example": "192.0.2.10",
    "mail.example": "192.0.2.14", "six.example": "2001:db8::10", "strict.example": "192.0.2.10",
    "helo.example": "192.0.2.10",
}  # fmt: skip


def serve_names() -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    while True:
        data, peer = server.recvfrom(4096)
        try:
            query = dns.message.from_wire(data)
        except dns.exception.DNSException:
            continue
        question = query.question[0]
        name, qtype = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        answer = dns.message.make_response(query)
        values = [DNS[name]] if qtype == "TXT" and name in DNS else OTHERS.get((name, qtype), [])
        if values:
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", qtype, *values))
        elif name.endswith("silent.example"):
            continue
        elif name.endswith("servfail.example"):
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif not any(f".{known}".endswith(f".{name}") for known in [*DNS, *(key[0] for key in OTHERS)]):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        server.sendto(answer.to_wire(), peer)


# The milter protocol, as Postfix speaks it (libmilter's mfdef.h)


class Gone(Exception):
    """The milter closed the connection, or says nothing."""


# Bits of the negotiation: steps that the milter does not want, and those that it does not reply to.
NOT_SENT = {"C": 0x1, "H": 0x2, "M": 0x4, "R": 0x8, "B": 0x10, "L": 0x20, "N": 0x40, "T": 0x200}
NO_REPLY = {"L": 0x80, "C": 0x1000, "H": 0x2000, "M": 0x4000, "R": 0x8000, "T": 0x10000, "N": 0x40000, "B": 0x80000}


class Milter:
    """A connection, with what was agreed on."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(SOCKET)
        self.steps = 0
        self.send("O", struct.pack("!III", 6, 0x1FF, 0x1FFFFF))
        kind, data = self.receive()
        if kind != "O":
            raise Gone
        _version, _actions, self.steps = struct.unpack("!III", data)

    def send(self, kind: str, data: bytes = b"") -> None:
        try:
            self.socket.sendall(struct.pack("!I", len(data) + 1) + kind.encode() + data)
        except OSError as error:
            raise Gone from error

    def read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            try:
                piece = self.socket.recv(size - len(found))
            except OSError as error:
                raise Gone from error
            if not piece:
                raise Gone
            found += piece
        return found

    def receive(self) -> tuple[str, bytes]:
        data = self.read(struct.unpack("!I", self.read(4))[0])
        return chr(data[0]), data[1:]

    def step(self, kind: str, data: bytes = b"") -> tuple[str, list[tuple[str, bytes]]]:
        """Send it, and give the reply that ends the step, and what was asked for before."""
        if self.steps & NOT_SENT.get(kind, 0):
            return "c", []
        self.send(kind, data)
        if self.steps & NO_REPLY.get(kind, 0):
            return "c", []
        actions = []
        while True:
            reply, given = self.receive()
            if reply in "crtyads":
                return (given.decode() if reply == "y" else reply), actions
            actions.append((reply, given))


# Messages

RESULT = (
    f"{NAME};\n\tdkim=pass (2048-bit key) header.d=%s header.i=@%s header.a=rsa-sha256 header.s=sel header.b=Gy0t0Yuk"
)
SIGNATURE = "v=1; a=rsa-sha256; c=relaxed/simple; d=%s; s=%s; h=from; bh=eA==; b=Gy0t0YukAAA="
INJECTION = (
    "x@sender.example=20header.a=3Drsa-sha256=20header.s=3Dsel0=20header.b=3Dabcdefgh=3B=0A=09dkim=3Dpass=20header.d=3D"
    "reject.example=20header.i=3D@reject.example=20header.a=3Drsa-sha256=20header.s=3Dsel=20header.b=3Dabc=3B"
    "@sender.example"
)
INJECTED = (
    f"{NAME};\n\tdkim=permerror header.d=sender.example header.i=x@sender.example header.a=rsa-sha256 header.s=sel0"
    " header.b=abcdefgh;\n\tdkim=pass header.d=reject.example header.i=@reject.example header.a=rsa-sha256 header.s=sel"
    " header.b=abc;@sender.example header.a=rsa-sha1 header.s=s header.b=XHOJQ4WA;\n\tdkim-atps=neutral"
)


def message(author: str, sender: str, client: str, *fields: tuple[str, str], **more: Any) -> dict[str, Any]:
    """A message of one seed; `ends` is how it must end if nothing is changed: pass, none, or a code."""
    usual = [("To", "alice@example.org"), ("Subject", "invoice"), ("Date", "Sun, 22 Nov 2026 10:00:00 +0000")]
    return {
        "client": client, "helo": "helo.example", "sender": sender, "login": "", "ends": "",
        "fields": [*fields, ("From", author), *usual, ("Message-ID", "<case-1@sender.example>")], **more,
    }  # fmt: skip


def signed(domain: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("Authentication-Results", RESULT % (domain, domain)), ("DKIM-Signature", SIGNATURE % (domain, "sel"))


def of(domain: str) -> str:
    return f"Accounts <accounts@{domain}>"


STRANGER = "192.0.2.69"
SEEDS = [
    # honest
    message(of("reject.example"), "<a@reject.example>", "192.0.2.10", ends="pass"),
    message(of("sub.reject.example"), "<a@reject.example>", "192.0.2.10", ends="pass"),
    message(of("quarantine.example"), "<a@quarantine.example>", "192.0.2.11", ends="pass"),
    message(of("none.example"), "<a@none.example>", "192.0.2.12", ends="pass"),
    message(of("include.example"), "<a@include.example>", "192.0.2.10", ends="pass"),
    message(of("redirect.example"), "<a@redirect.example>", "192.0.2.10", ends="pass"),
    message(of("mail.example"), "<a@mail.example>", "192.0.2.14", ends="pass"),
    message(of("six.example"), "<a@six.example>", "2001:db8::10", ends="pass"),
    message(of("exists.example"), "<alice@exists.example>", "192.0.2.99", ends="pass"),
    message(of("strict.example"), "<a@strict.example>", "192.0.2.10", ends="pass"),
    message(of("helo.example"), "<>", "192.0.2.10", ends="pass"),
    message(of("reject.example"), '<"a@sender.example"@reject.example>', "192.0.2.10", ends="pass"),
    message(of("reject.example"), "<list@sender.example>", STRANGER, *signed("reject.example"), ends="pass"),
    message(of("wrong.example"), "<a@wrong.example>", STRANGER, *signed("wrong.example"), ends="pass"),
    message(of("servfail.example"), "<a@servfail.example>", STRANGER, *signed("servfail.example"), ends="pass"),
    message(
        of("reject.example"), "<l@sender.example>", STRANGER, *signed("sender.example"), *signed("reject.example"),
        ends="pass",
    ),
    message(of("sender.example"), "<a@sender.example>", "192.0.2.66", ends="none"),
    message('"Accounts, A@B" (x) <a@reject.example>', "<a@reject.example>", "192.0.2.10", ends="pass"),
    message("team: a@reject.example, B <b@reject.example>;", "<a@reject.example>", "192.0.2.10", ends="pass"),
    message("=?utf-8?q?ceo=40none=2Eexample?= <a@reject.example>", "<a@reject.example>", "192.0.2.10", ends="pass"),
    # forged
    message(of("reject.example"), "<a@reject.example>", STRANGER, ends="550"),
    message(of("reject.example"), "<a@sender.example>", "192.0.2.66", ends="550"),
    message(of("strict.example"), "<a@sub.strict.example>", "192.0.2.10", ends="550"),
    message(of("wrong.example"), "<a@wrong.example>", STRANGER, ends="550"),
    message(of("reject.example"), '<"a@reject.example"@sender.example>', "192.0.2.66", ends="550"),
    message(of("reject.example"), "<a@reject.example@sender.example>", "192.0.2.66", ends="550"),
    message(of("reject.example"), "<>", "192.0.2.10", helo="reject.example.sender.example", ends="550"),
    message(of("reject.example"), "<a@sender.example>", STRANGER, *signed("sender.example"), ends="550"),
    message(
        of("reject.example"), "<a@sender.example>", STRANGER, ("Authentication-Results", INJECTED),
        ("DKIM-Signature", SIGNATURE % ("sender.example", "s") + f"; i={INJECTION}"), ends="550",
    ),
    message(
        of("reject.example"), "<a@sender.example>", STRANGER,
        ("Authentication-Results", f"{NAME};\n\tdkim=pass (2048-bit key) header.d=reject.example"), ends="550",
    ),
    message(
        of("reject.example"), "<a@sender.example>", STRANGER,
        ("Authentication-Results", f"(;) {RESULT}" % ("reject.example", "reject.example")),
        ends="550",
    ),
    message("ceo@reject.example <a@sender.example>", "<a@sender.example>", "192.0.2.66", ends="550"),
    message("ceo@reject.example>", "<a@sender.example>", "192.0.2.66", ends="550"),
    message("ceo@reject.example@sender.example", "<a@sender.example>", "192.0.2.66", ends="550"),
    message("a@sender.example, ceo@reject.example", "<a@sender.example>", "192.0.2.66", ends="550"),
    message("a@sender.example", "<a@sender.example>", "192.0.2.66", ("From", of("reject.example")), ends="550"),
    message("", "<a@sender.example>", "192.0.2.66", ends="550"),
    # no answer
    message(of("servfail.example"), "<a@servfail.example>", STRANGER, ends="451"),
    message(of("sub._dmarc.servfail.example"), "<a@sender.example>", "192.0.2.66", ends="451"),
    message(
        of("reject.example"), "<a@sender.example>", STRANGER,
        ("DKIM-Signature", SIGNATURE % ("reject.example", "known")), ends="451",
    ),
    # logins
    message("Alice <alice@example.org>", "<alice@example.org>", STRANGER, login="alice", ends="taken"),
    message("Alice <alice+x@example.org>", "<alice@example.org>", STRANGER, login="alice", ends="taken"),
    message("Bob <any@own.example>", "<bob@own.example>", STRANGER, login="bob", ends="taken"),
    message(of("reject.example"), "<x@example.org>", STRANGER, login="robot", ends="taken"),
    message("Alice <alice@example.org>", "<bob@own.example>", STRANGER, login="bob", ends="550"),
    message("bob@own.example", "<b@own.example>", STRANGER, ("Sender", "alice@example.org"), login="bob", ends="550"),
    # others of ours
    message(of("reject.example"), "<a@reject.example>", "10.99.0.7", ends="taken"),
    message(of("reject.example"), "<a@reject.example>", "/run/socket", ends="taken"),
    # nobody knows from where
    message(of("reject.example"), "<a@reject.example>", "unknown", ends="550"),
    message(of("reject.example"), "<l@sender.example>", "unknown", *signed("reject.example"), ends="pass"),
    # oversize
    message(of("reject.example"), "<a@reject.example>", "192.0.2.10", ("X-Long", "x" * LIMIT), ends="552"),
]  # fmt: skip
SILENT = message(of("silent.example"), "<a@silent.example>", STRANGER, ends="451")

PIECES = [
    *"<>,;:()\"\\@.[]=? \t\n\r%-_", "\n\t", "\r\n ", "\x7f", "\x01", "é", "\udcff", "=?utf-8?q?", "?=", "(", "()",
    "@reject.example", "ceo@reject.example", "<ceo@reject.example>", "reject.example", "a" * 300, "dkim=pass",
    "header.d=", "header.d=reject.example ", f"{NAME};", (RESULT % ("reject.example", "reject.example"))[len(NAME) :],
    "i==3B", "spf=pass", "sub.", "\u2028", "%s%n", "mailto:", "group: ", "=3B", "=20",
]  # fmt: skip
NAMES = [
    "From",
    "FROM",
    "From ",
    "Sender",
    "Authentication-Results",
    "DKIM-Signature",
    "Resent-From",
    "Date",
    "Received-SPF",
    "X",
]


def change(r: random.Random, text: str) -> str:
    for _time in range(r.choice((1, 1, 2, 3, 8))):
        at = r.randint(0, len(text))
        kind = r.random()
        if kind < 0.5:
            text = text[:at] + r.choice(PIECES) + text[at + r.choice((0, 0, 1, 2)) :]
        elif kind < 0.7:
            text = text[:at] + text[at + r.randint(1, 30) :]
        elif kind < 0.8:
            text = text[:at]
        elif kind < 0.9:
            text = text[:at] + text[r.randint(0, len(text)) :][:200] + text[at:]
        else:
            text = text[:at] + r.randbytes(r.randint(1, 8)).decode("utf-8", "surrogateescape") + text[at:]
    # The protocol ends strings with NUL.
    return text.replace("\0", "")[:70_000]


def changed(r: random.Random, seed: dict[str, Any]) -> dict[str, Any]:
    """The same message with some of it changed."""
    made = {**seed, "ends": "", "fields": list(seed["fields"])}
    for _time in range(r.choice((1, 1, 2, 4))):
        what = r.random()
        if what < 0.5:
            at = r.randrange(len(made["fields"]))
            # What decides is changed more often.
            decide = [
                n for n, (name, _value) in enumerate(made["fields"]) if name[:4] in ("From", "Auth", "DKIM", "Send")
            ]
            at = r.choice(decide) if decide and r.random() < 0.7 else at
            name, value = made["fields"][at]
            made["fields"][at] = (change(r, name) or "X", value) if r.random() < 0.1 else (name, change(r, value))
        elif what < 0.6:
            other = r.choice(SEEDS)
            made["fields"].insert(r.randint(0, len(made["fields"])), r.choice(other["fields"]))
        elif what < 0.65:
            made["fields"].append(
                (r.choice(NAMES), r.randbytes(r.randint(0, 300)).decode("utf-8", "surrogateescape").replace("\0", ""))
            )
        elif what < 0.7:
            del made["fields"][r.randrange(len(made["fields"]))]
            made["fields"] = made["fields"] or [("X", "y")]
        elif what < 0.85:
            made["sender"] = change(r, made["sender"])
        elif what < 0.9:
            made["helo"] = change(r, made["helo"])
        else:
            made["client"] = r.choice(SEEDS)["client"]
    return made


# What is right


def organization(domain: str) -> str:
    return ".".join(domain.split(".")[-2:])


def shown(value: str) -> list[tuple[str, str]]:
    """The addresses of a field, as email.headerregistry reads them; none where it fails."""
    try:
        header = email.policy.default.header_factory("From", re.sub(r"\r?\n", "", value))
    except (AttributeError, IndexError, TypeError, ValueError):
        return []
    return [(one.username, one.domain.lower()) for one in header.addresses if one.domain]


# An i= with an encoded semicolon or white space: opendkim may have written what the sender wanted.
WRITES = re.compile(r"(?:^|;)\s*i\s*=[^;]*=\s*(?:3\s*b|2\s*0|0\s*[9ad])", re.IGNORECASE)


def vouched(sent: dict[str, Any]) -> set[str]:
    """The domains that may say it is theirs: by SPF as the tables have it, by what opendkim wrote."""
    path = sent["sender"]
    path = path[1:-1] if path[:1] == "<" and path[-1:] == ">" else path
    local, domain = (path.rsplit("@", 1) if "@" in path else ("", path)) if path else ("", sent["helo"])
    domain = domain.lower()
    found = set()
    if PASSES.get(domain) == sent["client"]:
        found.add(domain)
    if domain == "exists.example" and local.lower() == "alice" and sent["client"] != "unknown":
        found.add(domain)
    fields = [(name.strip(" \t").lower(), value) for name, value in sent["fields"]]
    if any(name == "dkim-signature" and WRITES.search(value) for name, value in fields):
        return found
    for name, value in fields:
        if name == "authentication-results" and re.match(rf"\s*{re.escape(NAME)}\s*;", value, re.IGNORECASE):
            bare = re.sub(r"\((?:[^()\\]|\\.)*\)|\"[^\"]*\"", "", value)
            found |= {one.lower() for one in re.findall(r"dkim=pass\b[^;]*?\sheader\.d=([^\s;]+)\s", bare)}
    return found


OUR_FIELD = re.compile(
    re.escape(NAME) + r";\n\tspf=[a-z]+( smtp\.(mailfrom|helo)=[a-z0-9._-]+)?;"
    r"\n\tdmarc=([a-z]+) \(p=[a-z]+ dis=[a-z]+\) header\.from=([a-z0-9._-]+)"
)


def complaint(sent: dict[str, Any], ended: str, added: list[tuple[str, str]]) -> str:
    """What is wrong with how it ended; nothing if it is right."""
    ours = [value for name, value in added if name == "Authentication-Results"]
    authors = [value for name, value in sent["fields"] if name.strip(" \t").lower() == "from"]
    exempt = sent["client"].startswith(("10.99.0.", "/"))
    if sent["ends"] and ended != sent["ends"]:
        return f"not {sent['ends']}"
    if ended in ("taken", "pass", "none", "fail", "temperror"):
        if sent["login"]:
            if sent["login"] == "robot":
                return ""
            allowed = {"alice": r"alice(\+.*)?@example\.org", "bob": r".*@own\.example"}[sent["login"]]
            bad = [
                one
                for value in authors
                for one in shown(value)
                if not re.fullmatch(allowed, "@".join(one).lower(), re.DOTALL)
            ]
            return f"{sent['login']} wrote as {bad}" if bad or len(authors) != 1 else ""
        if exempt:
            return "judged" if ours else ""
        found = OUR_FIELD.fullmatch(ours[0]) if len(ours) == 1 else None
        if not found:
            return f"the field is {ours}"
        if len(authors) != 1:
            return f"{len(authors)} From fields"
        author = found[4]
        if not {domain for _local, domain in shown(authors[0])} <= {author}:
            return f"judged as {author}, shown as {shown(authors[0])}"
        if found[3] == "pass":
            aligned = {one for one in vouched(sent) if organization(one) == organization(author)}
            if "strict.example" in author:
                aligned &= {author}
            if not aligned:
                return f"nobody vouched for {author}"
    return ""


def converse(milter: Milter, r: random.Random, sent: dict[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """Hand over one message; (how it ended, the fields that were added). Some are given up half way."""
    gives_up = not sent["ends"] and r.random() < 0.1

    def octets(*texts: str) -> bytes:
        return b"".join(text.encode("utf-8", "surrogateescape") + b"\0" for text in texts)

    macros = octets("i", "4ABC") + (octets("{auth_authen}", sent["login"]) if sent["login"] else b"")
    milter.send("D", b"M" + macros)
    steps = [("M", octets(sent["sender"], "BODY=8BITMIME")), ("R", octets("<alice@example.org>"))]
    steps += [("T", b""), *(("L", octets(name, value)) for name, value in sent["fields"]), ("N", b"")]
    steps += [("B", b"hello\r\n"), ("E", b"")]
    for kind, data in steps:
        if gives_up and r.random() < 0.1:
            milter.send("A")
            return "aborted", []
        reply, actions = milter.step(kind, data)
        if reply not in ("c", "s"):
            if kind != "E":
                milter.send("A")
            return reply[:3] if len(reply) > 1 else {"t": "tempfail", "r": "reject"}.get(reply, reply), []
    added = []
    for action, given in actions:
        if action in "hi":
            name, value, _rest = given[4 if action == "i" else 0 :].decode().split("\0")
            added.append((name, value))
    verdict = [re.search(r"dmarc=([a-z]+)", value)[1] for name, value in added if name == "Authentication-Results"]
    return (verdict[0] if verdict else "taken"), added


def connect(milter: Milter, sent: dict[str, Any]) -> None:
    client = sent["client"]
    family = "U" if client == "unknown" else "L" if client.startswith("/") else "6" if ":" in client else "4"
    address = b"" if family == "U" else struct.pack("!H", 25) + client.encode() + b"\0"
    milter.step("C", b"host.example\0" + family.encode() + address)
    milter.step("H", sent["helo"].encode("utf-8", "surrogateescape") + b"\0")


def wild(r: random.Random) -> None:
    """Steps in any order, with anything in them, and nobody who waits for replies."""
    milter = Milter()
    milter.socket.settimeout(0.05)
    try:
        for _step in range(r.randint(1, 12)):
            kind = r.choice("CHMRTLNBEADQKO")
            if r.random() < 0.5:
                data = r.randbytes(r.randint(0, 200))
            else:
                data = b"".join(
                    change(r, r.choice(PIECES)).encode("utf-8", "surrogateescape") + b"\0" for _number in range(3)
                )
            milter.send(kind, data)
        if r.random() < 0.1:
            milter.socket.sendall(struct.pack("!I", r.choice((0, 1, 0xFFFFFFFF, 100_000))) + r.randbytes(20))
        while r.random() < 0.5:
            milter.receive()
    except (Gone, OSError):
        pass
    finally:
        milter.socket.close()


def work(number: int, order: dict[str, Any], done: Any, results: Any) -> None:
    r = random.Random(f"{order['seed']} {number}")  # noqa: S311 cases, not secrets
    counts: collections.Counter[str] = collections.Counter()
    wrong = []
    until = time.monotonic() + order["seconds"]
    for turn in range(order["sessions"] // WORKERS):
        if time.monotonic() > until:
            counts["sessions that there was no time for"] += 1
            continue
        with done.get_lock():
            done.value += 1
        kind = r.random()
        if kind < 0.05:
            counts["wild sessions"] += 1
            try:
                wild(r)
            except Gone:
                wrong.append({"problem": "nobody listens", "sent": None})
            continue
        first = sent = None
        try:
            milter = Milter()
            for _message in range(r.choice((1, 1, 1, 2, 4))):
                seed = SILENT if turn % 4000 == 3999 and first is None else r.choice(SEEDS)
                sent = dict(seed) if kind < 0.25 or seed is SILENT else changed(r, seed)
                if first is None:
                    first = sent
                    connect(milter, sent)
                elif (sent["client"], sent["helo"]) != (first["client"], first["helo"]):
                    sent = {**sent, "client": first["client"], "helo": first["helo"], "ends": ""}
                ended, added = converse(milter, r, sent)
                counts[ended] += 1
                if ended != "aborted":
                    problem = complaint(sent, ended, added)
                    if problem:
                        counts["wrong"] += 1
                        wrong.append({"problem": problem, "ended": ended, "added": added, "sent": sent})
            milter.send("Q")
            milter.socket.close()
        except Gone:
            wrong.append({"problem": "the milter went away", "sent": sent})
    results.put((counts, wrong[:5]))


def main() -> None:
    order = json.load(sys.stdin)
    names = multiprocessing.Process(target=serve_names, daemon=True)
    names.start()
    shutil.rmtree(FOLDER, ignore_errors=True)
    subprocess.run(["install", "-d", "-o", "daemon", "-g", "daemon", FOLDER], check=True)
    with open("/root/settings.json", "w") as file:
        json.dump(SETTINGS, file)
    subprocess.run(["install", "-m", "644", "/root/settings.json", "/etc/judge.json"], check=True)
    # The unprivileged user of this name is on every Debian.
    judge = subprocess.Popen(
        ["/usr/bin/python3", "-c", PROGRAM, "/etc/judge.json"],
        user="daemon", group="daemon", extra_groups=[], stdout=sys.stderr, stderr=sys.stderr,
    )  # fmt: skip
    limit = time.monotonic() + 20
    while not os.path.exists(SOCKET):
        if judge.poll() is not None or time.monotonic() > limit:
            raise SystemExit("the judge does not start")
        time.sleep(0.05)

    def rss() -> int:
        with open(f"/proc/{judge.pid}/status") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("VmRSS:")), 0)

    done = multiprocessing.Value("i", 0)
    results: Any = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=work, args=(n, order, done, results)) for n in range(WORKERS)]
    memory = {0: rss()}
    began = time.monotonic()
    for worker in workers:
        worker.start()
    counts: collections.Counter[str] = collections.Counter()
    wrong: list[Any] = []
    marks = [order["sessions"] * tenths // 10 for tenths in range(1, 10)]
    answers = 0
    while answers < WORKERS:
        while marks and done.value >= marks[0]:
            memory[marks.pop(0)] = rss()
        try:
            more, bad = results.get(timeout=0.1)
        except multiprocessing.queues.Empty:
            if judge.poll() is not None:
                break
            continue
        answers += 1
        counts += more
        wrong += bad
    alive = judge.poll() is None
    seconds = time.monotonic() - began
    if alive:
        memory[order["sessions"]] = rss()
        judge.terminate()
    for worker in workers:
        worker.terminate()
    names.terminate()
    found = {"wrong": wrong[:20], "counts": counts, "same_pid": alive, "rss": memory, "seconds": seconds}
    json.dump(found, sys.stdout)


main()
