# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pushed recipients: what a stream must be, what is refused, and that addresses are those of the model."""

from __future__ import annotations

import hashlib
import io

import pytest
from ansible_collections.gatehouse.mail.plugins.module_utils import _recipients as core
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory
from hypothesis import given
from hypothesis import strategies as st

STORE = "store.example.org"
PEOPLE = ["alice@example.org", "bob@example.org", "carol@example.org", "dave@example.org"]
KNOWN = core.Known(STORE, {"example.org"}, 16, PEOPLE, 50, {"alice@example.org"})
LISTS = core.Lists(PEOPLE, {})
HEADER, BODY = core.stream(STORE, 17, PEOPLE)


def whole(header=HEADER, body=BODY):
    return header.line() + body


def sealed(body, count=None, **more):
    """A stream with this body, all of whose numbers are right."""
    count = body.count(b"\n") if count is None else count
    header = HEADER._replace(count=count, length=len(body), digest=hashlib.sha256(body).hexdigest(), **more)
    return whole(header, body)


def code(call, *arguments):
    with pytest.raises(core.Refused) as refused:
        call(*arguments)
    return refused.value.code


def test_a_stream_is_read_as_it_was_written():
    header, lists = core.read(io.BytesIO(whole()))
    assert (header, lists) == (HEADER, LISTS)
    core.judge(header, lists, KNOWN)


def test_aliases_are_read_as_they_were_written():
    lists = core.Lists(PEOPLE, {"info@example.org": ["alice@example.org"], "a@example.org": PEOPLE})
    header, body = core.stream(STORE, 17, lists.lines(), "compare")
    assert core.read(io.BytesIO(whole(header, body))) == (header, lists)
    assert header.word == "compare"


BAD = {
    "nothing": (b"", "header"),
    "no header": (BODY, "header"),
    "a header without an end": (b"gatehouse-recipients " * 100, "header"),
    "another version": (whole().replace(b"recipients 1 ", b"recipients 2 ", 1), "version"),
    "a name with a slash": (whole().replace(b"store.", b"../st", 1), "header"),
    "more than may be": (HEADER._replace(length=core.LONGEST + 1).line(), "length"),
    "too short": (whole()[:-1], "length"),
    "too long": (whole() + b"x", "length"),
    "another digest": (whole(HEADER._replace(digest="0" * 64)), "digest"),
    "another count": (sealed(BODY, 3), "count"),
    "no last newline": (sealed(BODY[:-1]), "line"),
    "a blank line": (sealed(b"\n" + BODY), "line"),
    "NUL": (sealed(b"al\0ice@example.org\n"), "line"),
    "upper case": (sealed(b"Alice@example.org\n"), "line"),
    "a space": (sealed(b"al ice@example.org\n"), "line"),
    "a space at its end": (sealed(b"alice@example.org \n"), "line"),
    "carriage returns": (sealed(BODY.replace(b"\n", b"\r\n")), "line"),
    "a comment": (sealed(b"#alice@example.org\n"), "line"),
    "a domain in letters": (sealed("alice@bücher.example\n".encode()), "line"),
    "no UTF-8": (sealed(b"\xff@example.org\n"), "line"),
    "a catch-all": (sealed(b"@example.org\n"), "catch-all"),
    "twice the same": (sealed(b"alice@example.org\nalice@example.org\n"), "line"),
    "a mailbox that is an alias": (sealed(b"alice@example.org\nalice@example.org bob@example.org\n"), "line"),
    "targets out of order": (sealed(b"a@example.org bob@example.org alice@example.org\n"), "line"),
    "a target that is none": (sealed(b"a@example.org bob\n"), "line"),
    "too many targets": (
        sealed(" ".join(["a@example.org", *(f"t{number:03}@example.org" for number in range(51))]).encode() + b"\n"),
        "line",
    ),
    "out of order": (sealed(b"bob@example.org\nalice@example.org\n"), "line"),
}


@pytest.mark.parametrize("octets, why", BAD.values(), ids=BAD)
def test_what_is_no_whole_stream_is_refused(octets, why):
    assert code(core.read, io.BytesIO(octets)) == why


@pytest.mark.parametrize("end", range(len(whole())))
def test_a_stream_that_is_cut_is_refused(end):
    assert code(core.read, io.BytesIO(whole()[:end])) in ("header", "length")


class Endless(io.RawIOBase):
    """A header that claims what may be, and then octets without a line's end; counts what is read of it."""

    def __init__(self):
        self.header, self.taken = io.BytesIO(HEADER._replace(length=core.LONGEST).line()), 0

    def readline(self, size=-1):
        return self.header.readline(size)

    def read(self, size=-1):
        self.taken += size
        return b"x" * size


def test_a_gigabyte_without_a_line_break_is_refused_early():
    endless = Endless()
    assert code(core.read, endless) == "line"
    assert endless.taken <= 1 << 16


@given(st.lists(st.from_regex(r"[A-Za-z0-9._-]{1,20}@(example\.org|EXAMPLE\.net)", fullmatch=True)), st.data())
def test_what_a_mail_host_collects_a_gateway_reads(addresses, data):
    domains = {"example.org", "example.net"}
    good = [address for address in addresses if core.is_address(address)]
    collected = core.collected(good, domains)
    header, body = core.stream(STORE, 1, collected)
    assert core.read(io.BytesIO(whole(header, body))) == (header, core.Lists(collected, {}))
    if body:
        octet = data.draw(st.integers(0, len(body) - 1))
        other = body[:octet] + bytes([body[octet] ^ 1]) + body[octet + 1 :]
        assert code(core.read, io.BytesIO(whole(header, other))) in ("digest", "line")


@given(st.one_of(st.text(max_size=40), st.from_regex(r"[ A-Za-z0-9.#@\"+-]{1,30}@[A-Za-z0-9.-]{1,20}", fullmatch=True)))
def test_an_address_is_pushed_exactly_where_the_model_takes_it(text):
    problems: list[str] = []
    address = inventory.address(inventory.Place(problems, "host x"), text.strip())
    try:
        pushed = core.collected([text], {core.domain_of(core.fold(text))})
    except core.Refused:
        pushed = None
    good = not problems and core.is_mailbox(address.rpartition("@")[0], "")
    assert pushed == ([address] if good else None)


def test_each_rail_has_its_neighbour():
    def judged(header=HEADER, addresses=None, known=KNOWN, aliases=()):
        try:
            core.judge(header, core.Lists(PEOPLE if addresses is None else addresses, dict(aliases)), known)
        except core.Refused as refused:
            return refused.code
        return ""

    assert judged() == ""
    assert judged(header=HEADER._replace(host="other.example.org")) == "host"
    assert [judged(header=HEADER._replace(serial=serial)) for serial in (0, 16, 17, 1016, 1017)] == [
        "serial",
        "serial",
        "",
        "",
        "serial",
    ]
    assert judged(addresses=[]) == "empty"
    assert judged(addresses=[*PEOPLE, "eve@example.com"]) == "domain"
    assert judged(addresses=[*PEOPLE, "alice+x@example.org"], known=KNOWN._replace(delimiter="+")) == "mailbox"
    assert judged(addresses=[*PEOPLE, "alice-x@example.org"], known=KNOWN._replace(delimiter="+")) == ""
    assert judged(addresses=PEOPLE[1:]) == "postmaster"
    assert judged(addresses=PEOPLE[:2]) == ""
    assert judged(addresses=PEOPLE[:1]) == "shrunk"
    assert judged(addresses=PEOPLE[:1], header=HEADER._replace(word="shrink")) == ""
    assert judged(addresses=[], header=HEADER._replace(word="shrink")) == "empty"
    others = [f"a{number}@example.org" for number in range(9)]
    assert judged(addresses=["alice@example.org", *others]) == "shrunk"  # what came does not outweigh what went
    inside, outside = ("info@example.org", ["alice@example.org"]), ("info@example.org", ["alice@example.com"])
    assert [judged(aliases=[pair]) for pair in (inside, outside, ("x@example.com", PEOPLE))] == ["", "domain", "domain"]
    for number, why in ((1, ""), (10, ""), (11, "shrunk")):
        many = [f"a{alias}@example.org" for alias in range(number)]
        assert judged(known=KNOWN._replace(aliases=many)) == why
        assert judged(known=KNOWN._replace(aliases=[*many, "info@example.org"]), aliases=[inside]) == why
    half = KNOWN._replace(aliases=[f"a{alias}@example.org" for alias in range(22)])
    assert judged(known=half, aliases=[(f"a{alias}@example.org", PEOPLE) for alias in range(11)]) == ""


ALIASES = {
    "info@example.org": ["alice@example.org"],
    "both@example.org": ["alice@example.org", "bob@example.org"],
    "away@example.org": ["friend@example.com"],
    "gone@example.org": ["bob@example.org"],
}


def test_an_alias_keeps_the_targets_that_are_known():
    live = core.ends(ALIASES, {"example.org"}, {"alice@example.org"})
    assert live == {
        "away@example.org": ["friend@example.com"],
        "both@example.org": ["alice@example.org"],
        "info@example.org": ["alice@example.org"],
    }
    assert core.ends(ALIASES, {"example.org"}, {"alice@example.org", "bob@example.org"}) == ALIASES


def test_whom_a_mail_host_may_know_is_told_to_come_again():
    aliases = {**ALIASES, "postmaster@example.net": ["alice@example.org"], "team@example.net": ["bob@example.org"]}
    known = {"alice@example.org", "carol@example.net"}
    live = core.ends(aliases, {"example.org", "example.net"}, known)
    table = core.deferred({"example.org"}, (), aliases, live, known)
    assert {key: value[:5] for key, value in table.items()} == {
        "example.org": "450 4",
        "alice@example.org": "DUNNO",
        "info@example.org": "DUNNO",
        "both@example.org": "450 4",  # or it would be taken without bob
        "away@example.org": "DUNNO",
        "gone@example.org": "450 4",
        "team@example.net": "450 4",  # which ends there
    }
    table = core.deferred((), {"bob@example.org", "info@example.org"}, aliases, live, known)
    assert sorted(table) == ["bob@example.org", "both@example.org", "gone@example.org", "team@example.net"]
    assert core.deferred((), (), aliases, live, known) == {}


def test_aliases_of_a_mail_host_end_in_mailboxes():
    text = "# old\ninfo: alice, sales\nsales: bob@example.org,\n  Carol\n\n"
    pairs = core.of_aliases_file(text, "example.org", "f")
    final = core.resolved(pairs, {"alice@example.org"}, {"example.org"})
    assert final == {
        "info@example.org": ["alice@example.org", "bob@example.org", "carol@example.org"],
        "sales@example.org": ["bob@example.org", "carol@example.org"],
    }
    pairs = [
        (f"a{level}{side}@example.org", [f"a{level + 1}{x}@example.org" for x in "ab"])
        for level in range(40)
        for side in "ab"
    ]
    assert core.resolved(pairs, (), {"example.org"})["a0a@example.org"] == ["a40a@example.org", "a40b@example.org"]
    for bad, why in {
        "info": "source",
        "info:": "source",
        "info: |/bin/x": "source",
        "info: x@example.com": "domain",
        "a: b\nb: a": "alias",
        "alice: bob": "alias",
        "info: :include:/etc/x@example.org": "line",
        "info: " + ",".join(f"t{number}" for number in range(51)): "alias",
    }.items():
        with pytest.raises(core.Refused) as refused:
            domain = None if why == "source" else "example.org"
            core.resolved(core.of_aliases_file(bad, domain, "f"), {"alice@example.org"}, {"example.org"})
        assert (bad, refused.value.code) == (bad, why)


def test_sources_are_read_as_their_programs_read_them():
    users = "# people\nalice:{PLAIN}x:::::\nbob@example.net:{PLAIN}y\n\n"
    assert core.of_users_file(users, "example.org", "f") == ["alice@example.org", "bob@example.net"]
    assert core.of_list("# x\nalice@example.org\r\n\n", None, "f") == ["alice@example.org"]
    assert code(core.of_users_file, "alice:x", None, "f") == "source"


SOURCES = {
    "a foreign domain": ("alice@example.com", "domain"),
    "a catch-all": ("@example.org", "catch-all"),
    "a space": ("al ice@example.org", "line"),
    "no address": ("alice", "line"),
    "an apostrophe": ("o'brien@example.org", "mailbox"),
    "the recipient delimiter": ("alice+x@example.org", "mailbox"),
    "the delimiter of this site": ("alice_x@example.org", "mailbox"),
}


@pytest.mark.parametrize("address, why", SOURCES.values(), ids=SOURCES)
def test_what_would_be_refused_is_not_sent(address, why):
    assert code(core.collected, [address, "bob@example.org"], {"example.org"}, "_") == why
    assert core.collected(["Bob@Example.org"], {"example.org"}) == ["bob@example.org"]
    assert core.collected(["alice_x@example.org"], {"example.org"}, "+") == ["alice_x@example.org"]


def test_what_dovecot_does_not_know_is_not_sent():
    assert code(core.deliverable, ["alice@example.org", "www@example.org"], ["alice@example.org"]) == "source"
    assert core.deliverable(["alice@example.org"], ["Alice@example.org", "bob@example.org"]) is None
    assert (
        code(core.deliverable, ["alice@example.org"], ["alice"]) == "source"
    )  # which Dovecot is asked for as it stands
