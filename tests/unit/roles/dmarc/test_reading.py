"""One reading of each field: what is read, what is refused, and that another reader sees the same."""

from __future__ import annotations

import contextlib
import email.policy
import re
import time
from typing import Optional

import pytest
from gatehouse_dmarc import reading
from hypothesis import example, given, settings
from hypothesis import strategies as st

# From fields

# Names as honest mail has them. Each is put before each of ADDRESSES in each of LAYOUTS.
NAMES = {
    "none": "",
    "one word": "Alice",
    "two words": "Alice Example",
    "apostrophe": "Alice O'Neill",
    "hyphens and signs": "Alice-Ann + Bob & Co/KG | {team} ~ 100% #1 !",
    "an initial": "Alice B. Example",
    "a dot at the end": "Example Inc.",
    "dots between": "example.org",
    "brackets": "[lists] Alice",
    "brackets behind": "Alice [sales]",
    "raw UTF-8": "Jürgen Größe",
    "raw UTF-8, wide": "山田 太郎",
    "raw UTF-8, a symbol": "Alice \U0001f4e7",
    "octets that are no UTF-8": "J\udcfcrgen",
    "quotes": '"Alice Example"',
    "quotes around nothing": '""',
    "quoted comma": '"Example, Alice"',
    "quoted @": '"alice@example.org"',
    "quoted @ of another": '"bob@sender.example via list"',
    "quoted brackets": '"Alice <alice@example.org>"',
    "quoted parentheses": '"Alice (sales)"',
    "quoted colon and semicolon": '"sales: Alice; Bob"',
    "quoted quotes": r'"Alice \"Al\" Example"',
    "quoted backslash": r'"sales\\alice"',
    "quotes beside a word": '"Alice B." Example',
    "quotes without a space": '"Alice""Example"',
    "quoted fold": '"Alice\r\n Example"',
    "encoded, q": "=?utf-8?q?J=C3=BCrgen?=",
    "encoded, Q": "=?UTF-8?Q?J=C3=BCrgen_Gr=C3=B6=C3=9Fe?=",
    "encoded, b": "=?utf-8?b?SsO8cmdlbg==?=",
    "encoded, iso": "=?ISO-8859-1?Q?J=FCrgen?=",
    "encoded, with a language": "=?utf-8*de?q?J=C3=BCrgen?=",
    "encoded, two words": "=?utf-8?q?J=C3=BCrgen?= =?utf-8?q?_Gr=C3=B6=C3=9Fe?=",
    "encoded, folded": "=?utf-8?q?J=C3=BCrgen?=\r\n =?utf-8?q?_Gr=C3=B6=C3=9Fe?=",
    "encoded beside plain": "Alice =?utf-8?q?Gr=C3=B6=C3=9Fe?=",
    "encoded @": "=?utf-8?q?bob=40sender=2Eexample?=",
    "encoded comma": "=?utf-8?q?Example=2C_Alice?=",
    "encoded within quotes": '"=?utf-8?q?J=C3=BCrgen?="',
    "comment": "Alice (sales)",
    "comment with an address": "Alice (bob@sender.example)",
    "comments in comments": "Alice (sales (north) and (south (west)))",
    "comment with what a comment may quote": r"Alice (\) \( \\)",
    "comment before": "(sales) Alice",
    "tab": "Alice\tExample",
    "a fold": "Alice\r\n Example",
    "a fold and a tab": "Alice\r\n\tExample",
    "a bare line end": "Alice\n Example",
}
ADDRESSES = {
    "plain": ("alice@example.org", "alice@example.org"),
    "upper case": ("Alice@EXAMPLE.Org", "Alice@example.org"),
    "signs": ("alice+list=bob/x_{y}!#$%&'*^`|~?-@a-b.xn--bcher-kva.example", None),
    "dots in odd places": (".a..b.@example.org", ".a..b.@example.org"),
    "quoted": ('"alice example"@example.org', "alice example@example.org"),
    "quoted quotes": (r'"a\"b\"\\"@example.org', r'a"b"\@example.org'),
    "underscore": ("alice@_a.b_c.example.org", "alice@_a.b_c.example.org"),
}
LAYOUTS = {
    "as usual": "{name} <{address}>",
    "no space": "{name}<{address}>",
    "spaces": "  {name} \t <  {address}\t > ",
    "folded": "{name}\r\n <{address}>\r\n ",
    "comment behind": "{name} <{address}> (a comment)",
    "two": "{name} <{address}>, Bob <bob@example.org>",
    "second": "bob@example.org, {name} <{address}>",
    "group": "team: {name} <{address}>;",
    "group of two": '"a team":{name} <{address}>,bob@example.org ; ',
}
# Without a name in front.
BARE = {
    "bare": ("{address}", 1),
    "bare with space": (" \t{address} ", 1),
    "bare, folded": ("\r\n {address}\r\n\t", 1),
    "bare with a comment behind": ("{address} (Alice)", 1),
    "bare with a comment at once behind": ("{address}(Alice (b))", 1),
    "bare with a comment in front": ("(Alice){address}", 1),
    "bare, two": ("{address},{address}", 2),
    "bare in a group": ("team:{address};", 1),
    "bare, two in a group": ("team: {address}, {address};", 2),
}


def honest() -> dict[str, tuple[str, list[str]]]:
    fields = {}
    for number, (name, text) in enumerate(NAMES.items()):
        for row, (layout, form) in enumerate(LAYOUTS.items()):
            # Each pair of name and layout; addresses take turns.
            kind = list(ADDRESSES)[(number + row) % len(ADDRESSES)]
            address, read = ADDRESSES[kind]
            expected = [read or address]
            if layout in ("two", "group of two"):
                expected.append("bob@example.org")
            elif layout == "second":
                expected.insert(0, "bob@example.org")
            fields[f"{name}; {layout}; {kind}"] = form.format(name=text, address=address), expected
    for layout, (form, times) in BARE.items():
        for kind, (address, read) in ADDRESSES.items():
            fields[f"{layout}; {kind}"] = form.format(address=address), [read or address] * times
    return fields


HONEST = honest()
# At these names email.headerregistry stops, and shows no address.
BEYOND_IT = ("brackets;", "brackets behind;")


def shown(field: str) -> Optional[list[tuple[str, str]]]:
    """(local part, domain) of each address, as email.headerregistry reads them: a reader that is not ours.

    None where it fails: a dot at an end of a name is too much for it.
    """
    try:
        header = email.policy.default.header_factory("From", re.sub(r"\r?\n", "", field))
    except (AttributeError, IndexError, TypeError):
        return None
    return [(address.username, address.domain.lower()) for address in header.addresses]


def test_there_are_three_hundred_honest_fields():
    assert len(HONEST) >= 300


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_from_is_read(name):
    field, expected = HONEST[name]
    assert [str(mailbox) for mailbox in reading.mailboxes(field)] == expected


def test_another_reader_sees_the_same_in_honest_fields():
    different, compared = {}, 0
    for name, (field, expected) in HONEST.items():
        seen = shown(field)
        if seen is None or name.startswith(BEYOND_IT):
            continue
        compared += 1
        if [f"{local}@{domain}" for local, domain in seen] != expected:
            different[name] = field, seen, expected
    assert different == {}
    assert compared >= 300


REFUSED = {
    "an @ in quotes in an address": '"ceo@example.org"@sender.example',
    "an @ and > in quotes in an address": '<"ceo@example.org> "@sender.example>',
    "a charset that is none, beside a bracket": "=?\u00fc?q?x?= [x] <a@b.example>",
    "empty": "",
    "white space": " \t\r\n ",
    "a comment alone": "(alice@example.org)",
    "a name alone": "MAILER-DAEMON",
    "a quoted name alone": '"alice@example.org"',
    "an encoded address alone": "=?utf-8?q?ceo=40example=2Eorg?=",
    "<>": "<>",
    "a name and <>": "Alice <>",
    "a name and < >": "Alice < >",
    "no domain": "Alice <ceo>",
    "no domain behind @": "ceo@",
    "no local part": "@example.org",
    "no local part in brackets": "<@example.org>",
    "a bracket too many behind": "ceo@example.org>",
    "a bracket too many in front": "<<ceo@example.org>",
    "brackets twice": "<<ceo@example.org>>",
    "a bracket not closed": "Alice <ceo@example.org",
    "two in brackets": "<ceo@example.org> <mallory@sender.example>",
    "two in one pair of brackets": "<ceo@example.org,mallory@sender.example>",
    "two with a space in brackets": "<ceo@example.org mallory@sender.example>",
    "two with a space": "ceo@example.org mallory@sender.example",
    "address for a name": "ceo@example.org <mallory@sender.example>",
    "address for a name, then words": "ceo@example.org Ceo <mallory@sender.example>",
    "words and address for a name": "Ceo ceo@example.org <mallory@sender.example>",
    "address for a name, escaped comma": r"ceo@example.org\, <mallory@sender.example>",
    "@ in a name": "@Ceo <mallory@sender.example>",
    "@ with spaces in a name": "Ceo @ example <mallory@sender.example>",
    "a name behind": "<ceo@example.org> mallory",
    "an address behind": "Ceo <ceo@example.org>mallory@sender.example",
    "several @": "ceo@example.org@sender.example",
    "several @ in brackets": "<ceo@example.org@sender.example>",
    "@@": "ceo@@example.org",
    "a route": "<@sender.example:ceo@example.org>",
    "a route of two": "<@a.example,@sender.example:ceo@example.org>",
    "a route without brackets": "@sender.example:ceo@example.org",
    "a source route with %": "<ceo@example.org:mallory@sender.example>",
    "a semicolon": "ceo@example.org;",
    "a semicolon between": "ceo@example.org; mallory@sender.example",
    "a comma behind": "ceo@example.org,",
    "a comma in front": ",ceo@example.org",
    "two commas": "ceo@example.org,,mallory@sender.example",
    "a group of nobody": "undisclosed:;",
    "a group of nobody, with space": "undisclosed recipients: ;",
    "a group not closed": "team: ceo@example.org",
    "a group without a name": ": ceo@example.org;",
    "a group in a group": "a: b: ceo@example.org;;",
    "a group of words": "team: alice;",
    "a group with a comma behind": "team: ceo@example.org,;",
    "words behind a group": "team: ceo@example.org; mallory",
    "a comma and a name": "Example, Alice <ceo@example.org>",
    "a quote not closed": '"Alice <ceo@example.org>',
    "a quote not closed behind": 'Alice" <ceo@example.org>',
    "a quote escaped away": '"Alice\\" <ceo@example.org>',
    "a comment not closed": "Alice (sales <ceo@example.org>",
    "a comment closed twice": "Alice (sales)) <ceo@example.org>",
    "a comment escaped away": r"Alice (sales\) <ceo@example.org>",
    "a comment in the local part": "c(x)eo@example.org",
    "a comment before @": "ceo(x)@example.org",
    "a comment behind @": "ceo@(x)example.org",
    "a comment in the domain": "ceo@example(x).org",
    "a comment that hides a domain": "<ceo@example.org(@sender.example>)",
    "space before @": "ceo @example.org",
    "space behind @": "ceo@ example.org",
    "space in the domain": "ceo@example .org",
    "a fold in the address": "ceo@\r\n example.org",
    "a fold in the local part": "ce\r\n o@example.org",
    "words joined by a quote": '"mallory"ceo@example.org',
    "a quote behind": 'ceo"x"@example.org',
    "a quote in the middle": 'a."b".c@example.org',
    "a quoted domain": 'ceo@"example.org"',
    "an encoded local part": "=?utf-8?q?ceo?=@example.org",
    "an encoded local part in brackets": "<=?utf-8?q?ceo?=@example.org>",
    "an encoded local part in quotes": '"=?utf-8?q?ceo=40example.org=3E?="@sender.example',
    "an encoded address and a plain one": "=?utf-8?q?ceo=40example.org=2C?=@sender.example",
    "an encoded domain": "ceo@=?utf-8?q?example.org?=",
    "a raw local part": "çeo@example.org",
    "a raw domain": "ceo@exämple.org",
    "a domain in brackets": "ceo@[192.0.2.1]",
    "an IPv6 domain": "ceo@[IPv6:2001:db8::1]",
    "a dot at the end of the domain": "ceo@example.org.",
    "a dot at its front": "ceo@.example.org",
    "two dots in it": "ceo@example..org",
    "a hyphen at the front of a label": "ceo@-example.org",
    "a hyphen at the end of a label": "ceo@example-.org",
    "a sign in the domain": "ceo@example.org!sender.example",
    "a percent sign in the domain": "ceo@example.org%sender.example",
    "a slash in the domain": "ceo@example.org/sender.example",
    "a backslash in the domain": r"ceo@example.org\.sender.example",
    "a backslash before @": r"ceo\@example.org@sender.example",
    "a backslash in a name": r"Ceo\ x <ceo@example.org>",
    "a colon in the domain": "ceo@example.org:25",
    "a zero width space in the domain": "ceo@example.org\u200b",
    "a fullwidth dot in the domain": "ceo@example\uff0eorg",
    "a domain of 254 characters": "ceo@" + ".".join(["a" * 62] * 4) + ".ab",
    "NUL in the domain": "ceo@example.org\0.sender.example",
    "NUL in a name": "Ceo\0 <mallory@sender.example>",
    "NUL in quotes": '"ceo@example.org\0" <mallory@sender.example>',
    "a control character": "Ceo\x08 <mallory@sender.example>",
    "a delete": "Ceo\x7f <mallory@sender.example>",
    "a bare CR": "ceo@example.org\rmallory@sender.example",
    "a line end without white space": "ceo@example.org\nmallory@sender.example",
    "a form feed": "ceo@example.org\x0c<mallory@sender.example>",
    "a vertical tab": "Ceo\x0b <mallory@sender.example>",
    "an encoded word over a quote": '=?utf"-8?q?ceo=40example.org?=" <mallory@sender.example>',
    "an encoded word over the end of a quote": '"=?utf-8?q?ceo=40example.org" <mallory@sender.example> (?=)',
    "brackets behind a quoted address": '"ceo@example.org" [x] <mallory@sender.example>',
    "brackets behind an encoded address": "=?utf-8?q?ceo=40example.org?=[ <mallory@sender.example>",
    "a dot before an encoded address": ".=?utf-8?q?ceo=40example.org?= <mallory@sender.example>",
    "too long": "a" * reading.LONGEST + " <ceo@example.org>",
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_odd_from_is_refused(name):
    with pytest.raises(reading.ReadingError, match=r"^(it|a|an|between) .*[a-z]"):
        reading.mailboxes(REFUSED[name])


PIECES = st.sampled_from(
    [
        *(
            "ceo@example.org",
            "mallory@sender.example",
            "<mallory@sender.example>",
            "example.org",
            "team:",
            "(c)",
            '"q"',
        ),
        *('"ceo@example.org"', "=?utf-8?q?ceo=40example.org=3E?=", "=?utf-8?b?Y2VvQGV4YW1wbGUub3Jn?="),
        *("=?", "?=", "(?=)", "\r\n ", "\udc80", "\x0c"),
        *"<>,;:()\"\\ \t@a.[]-_'\0\x7f\x85\u2028\u00a0éü",
    ]
)
FIELDS = st.one_of(
    st.lists(PIECES, max_size=10).map("".join),
    # An honest field with a few pieces put in, and what stood there taken out.
    st.builds(
        lambda field, changes: [field := field[:at] + piece + field[at + cut :] for at, cut, piece in changes][-1],
        st.sampled_from([field for field, _expected in HONEST.values()]),
        st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2), PIECES), min_size=1, max_size=3),
    ),
)


@settings(max_examples=800)
@given(FIELDS)
@example('"a, b" <a@example.org>, c@example.org')
def test_another_reader_shows_no_domain_but_those_that_were_read(field):
    try:
        read = {mailbox.domain for mailbox in reading.mailboxes(field)}
    except reading.ReadingError:
        return
    # Where it cannot read a name it shows words, and no domain.
    assert {domain for _local, domain in shown(field) or []} - {""} <= read


LONG = {
    "comments in comments": "(" * 7000 + ")" * 7000 + "ceo@example.org",
    "comments in comments, not closed": "(" * 15000,
    "comments": "()" * 7000 + "ceo@example.org",
    "quotes": '""' * 7000 + "<ceo@example.org>",
    "a quote not closed": '"' + "a" * 15000,
    "a quote of escapes": '"' + "\\a" * 7000,
    "quotes and backslashes": '"\\' * 7500,
    "brackets": "<" * 15000,
    "white space": " " * 15000,
    "white space and a letter": "a " * 7500,
    "folds": "\r\n " * 5000,
    "line ends": "\r\n" * 7500,
    "@": "@" * 15000,
    "dots": "ceo@" + "a." * 7500,
    "dots and hyphens": "ceo@" + "a-" * 7500,
    "hyphens": "ceo@" + "a" + "-" * 15000,
    "underscores": "ceo@" + "_" * 15000 + "!",
    "encoded words": "=?a?q?" * 2500 + "@example.org",
    "encoded words, begun": "=?" * 7500 + "@example.org",
    "encoded words and quotes": '=?""' * 3700 + "<ceo@example.org>",
    "brackets in a name": "[" * 15000 + "<ceo@example.org>",
    "commas": "a@b.example," * 1300 + "a@b.example",
    "groups": "a:" * 7500,
    "semicolons": ";" * 15000,
}


@pytest.mark.parametrize("name", LONG)
def test_a_long_field_takes_no_long_time(name):
    assert seconds(LONG[name]) < 0.5


def seconds(field):
    """The processor's time that reading takes: some 10 ms where it grows with the length, seconds with its square."""
    began = time.process_time()
    with contextlib.suppress(reading.ReadingError):
        reading.mailboxes(field)
    return time.process_time() - began


@settings(max_examples=100)
@given(st.text(max_size=3).flatmap(lambda piece: st.integers(0, 4000).map(lambda times: piece * times)))
def test_whatever_is_repeated_takes_no_long_time(field):
    assert seconds(field[:16000]) < 0.5


# The envelope

LITERAL = "[192.0.2.1]"
SENDERS = {
    "plain": ("<a@sender.example>", "mailfrom", "a@sender.example", "sender.example"),
    "without brackets": ("a@sender.example", "mailfrom", "a@sender.example", "sender.example"),
    "upper case": ("<A@Sender.EXAMPLE>", "mailfrom", "A@Sender.EXAMPLE", "sender.example"),
    "an @ in quotes": (
        '<"a@example.org"@sender.example>',
        "mailfrom",
        '"a@example.org"@sender.example',
        "sender.example",
    ),
    "an @ without quotes": (
        "<a@example.org@sender.example>",
        "mailfrom",
        "a@example.org@sender.example",
        "sender.example",
    ),
    "an escaped @": (
        r"<a\@example.org@sender.example>",
        "mailfrom",
        r"a\@example.org@sender.example",
        "sender.example",
    ),
    "a semicolon in quotes": ('<"a;b"@sender.example>', "mailfrom", '"a;b"@sender.example', "sender.example"),
    "a bracket in quotes": ('<"a>b"@sender.example>', "mailfrom", '"a>b"@sender.example', "sender.example"),
    "null": ("<>", "helo", "postmaster@helo.example", "helo.example"),
    "null without brackets": ("", "helo", "postmaster@helo.example", "helo.example"),
    "literal": (f"<a@{LITERAL}>", "mailfrom", f"a@{LITERAL}", ""),
    "a dot at the end": ("<a@sender.example.>", "mailfrom", "a@sender.example.", ""),
    "two dots": ("<a@sender..example>", "mailfrom", "a@sender..example", ""),
    "one label": ("<a@localhost>", "mailfrom", "a@localhost", ""),
    "no domain": ("<a@>", "mailfrom", "a@", ""),
    "no @": ("<root>", "mailfrom", "root", ""),
    "a domain without @": ("<reject.example>", "mailfrom", "reject.example", ""),
    "a domain in quotes": ('<a@"sender.example">', "mailfrom", 'a@"sender.example"', ""),
    "a raw domain": ("<a@sänder.example>", "mailfrom", "a@sänder.example", ""),
    "a space": ("<a@sender.example x>", "mailfrom", "a@sender.example x", ""),
    "a semicolon in the domain": ("<a@b;dmarc=pass>", "mailfrom", "a@b;dmarc=pass", ""),
}


@pytest.mark.parametrize("name", SENDERS)
def test_a_sender_is_of_the_domain_behind_the_last_at(name):
    path, *expected = SENDERS[name]
    assert reading.sender_of(path, "helo.example") == tuple(expected)


@pytest.mark.parametrize(
    "helo", [LITERAL, "localhost", "", "a b.example", "mx.example.", "-", "a;b.example", "ä.example"]
)
def test_a_null_sender_with_a_helo_that_is_no_name_has_no_domain(helo):
    assert reading.sender_of("<>", helo) == ("helo", "", "")


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_sender_brings_anything_but_a_name_into_our_results(path, helo):
    domain = reading.sender_of(path, helo)[2]
    assert re.fullmatch(r"[a-z0-9_.-]*", domain)


# What opendkim found

OURS = "mx1.example.org"
PASS = reading.Result
# As opendkim 2.11.0 wrote them.
FIELDS_OF_OPENDKIM = {
    "a pass": (
        "mx1.example.org;\n\tdkim=pass (2048-bit key) header.d=sub.example.org header.i=@sub.example.org"
        " header.a=rsa-sha256 header.s=sel0 header.b=1sjoN6nG;\n\tdkim-atps=neutral",
        [PASS("pass", "sub.example.org", "sel0")],
    ),
    "a failed one, one without a key, an unknown version, a pass": (
        'mx1.example.org;\n\tdkim=fail reason="signature verification failed" (2048-bit key) header.d=example.org'
        " header.i=@example.org header.a=rsa-sha256 header.s=sel0 header.b=H9TJWl9l;\n\t"
        'dkim=fail reason="key not found in DNS" header.d=example.org header.i=@example.org header.a=rsa-sha256'
        " header.s=nokey header.b=bQm2762E;\n\t"
        "dkim=permerror header.d=sender.example header.i=bob@sender.example header.a=rsa-sha1 header.s=sel1"
        " header.b=OHEPOzAT;\n\t"
        "dkim=pass (2048-bit key) header.d=example.org header.i=@example.org header.a=rsa-sha256 header.s=sel0"
        " header.b=Gy0t0Yuk;\n\tdkim-atps=neutral",
        [
            PASS("fail", "example.org", "sel0"),
            PASS("permerror", "example.org", "nokey"),
            PASS("permerror", "sender.example", "sel1"),
            PASS("pass", "example.org", "sel0"),
        ],
    ),
    "an i= of another domain, and a pass": (
        "mx1.example.org;\n\tdkim=permerror header.d=sender.example header.i= header.a=rsa-sha1 header.s=sel1"
        " header.b=BqldJ1Kx;\n\tdkim=pass (2048-bit key) header.d=example.org header.i=@example.org"
        " header.a=rsa-sha256 header.s=sel0 header.b=Gy0t0Yuk;\n\tdkim-atps=neutral",
        [PASS("permerror", "sender.example", "sel1"), PASS("pass", "example.org", "sel0")],
    ),
    "quotes in i=": (
        'mx1.example.org;\n\tdkim=pass (2048-bit key) header.d=sub.example.org header.i="ab"@sub.example.org'
        " header.a=rsa-sha256 header.s=sel0 header.b=1sjoN6nG;\n\tdkim-atps=neutral",
        [PASS("pass", "sub.example.org", "sel0")],
    ),
    "parentheses and a quote in i=, and a pass": (
        'mx1.example.org;\n\tdkim=pass (2048-bit key) header.d=sender.example header.i=x("y@sender.example'
        " header.a=rsa-sha256 header.s=sel3 header.b=epND9+Lm;\n\tdkim=pass (2048-bit key; unprotected)"
        " header.d=Example.ORG header.i=@example.org header.a=rsa-sha256 header.s=Sel0 header.b=Gy0t0Yuk;\n\t"
        "dkim-atps=neutral",
        [PASS("pass", "sender.example", "sel3"), PASS("pass", "example.org", "sel0")],
    ),
    "a domain that is none, and a pass": (
        "mx1.example.org;\n\tdkim=permerror header.d=bücher.example header.i=@bücher.example header.a=rsa-sha256"
        " header.s=s header.b=BqldJ1Kx;\n\tdkim=pass (256-bit key) header.d=example.org header.i=@example.org"
        " header.a=ed25519-sha256 header.s=sel0 header.b=Gy0t0Yuk",
        [PASS("pass", "example.org", "sel0")],
    ),
    "sixteen": (
        "mx1.example.org"
        + ";\n\tdkim=pass (2048-bit key) header.d=example.org header.i=@example.org header.a=rsa-sha256 header.s=sel0"
        " header.b=Gy0t0Yuk"
        * 10
        + ";\n\tdkim=neutral header.d=example.org header.i=@example.org header.a=rsa-sha256 header.s=sel0"
        " header.b=Gy0t0Yuk" * 6 + ";\n\tdkim-atps=neutral",
        [PASS("pass", "example.org", "sel0")] * 10 + [PASS("neutral", "example.org", "sel0")] * 6,
    ),
    "a signature that is none": ("mx1.example.org; dkim=permerror (bad message/signature format)", []),
    "no signature": ("mx1.example.org; dkim=none", []),
}


@pytest.mark.parametrize("name", FIELDS_OF_OPENDKIM)
def test_what_opendkim_wrote_is_read(name):
    field, expected = FIELDS_OF_OPENDKIM[name]
    assert reading.dkim_results(field, OURS) == expected
    assert reading.dkim_results(field.replace(OURS, OURS.upper()), OURS) == expected


@pytest.mark.parametrize("name", FIELDS_OF_OPENDKIM)
def test_a_field_that_is_cut_has_no_domain_that_was_not_whole(name):
    field, expected = FIELDS_OF_OPENDKIM[name]
    for end in range(len(field) + 1):
        read = reading.dkim_results(field[:end], OURS)
        # What is behind the domain may be cut too; the domain and all before it are as they were.
        assert [one[:2] for one in read] == [one[:2] for one in expected[: len(read)]], field[:end]


@pytest.mark.parametrize("inner", ["example.org", "example.org.aaa", "example"])
def test_a_cut_makes_no_domain_of_the_front_of_a_longer_one(inner):
    """A stranger who signs ten times chooses where opendkim's 4096 octets end."""
    result = f"dkim=pass (2048-bit key) header.d={inner}.attacker.example header.i=@x header.a=rsa-sha256 header.s=s"
    whole = f"{OURS};\n\t{result}"
    for end in range(len(whole)):
        assert reading.dkim_results(whole[:end], OURS) == []


FOREIGN = {
    "another name": "mx2.example.org;",
    "a longer name": "mx1.example.org.sender.example;",
    "a name in front": "amx1.example.org;",
    "a comment in front": "(;) mx1.example.org;",
    "spaces in it": "mx1 . example . org;",
    "quotes": '"mx1.example.org";',
    "a version": "mx1.example.org 1;",
    "a comment behind": "mx1.example.org (x);",
    "no semicolon": "mx1.example.org",
    "another result first": "mx1.example.org; spf=pass smtp.mailfrom=x;",
    "nothing": "",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_opendkim_does_not_write_is_not_read(name):
    result = " dkim=pass header.d=example.org header.i=@example.org header.a=rsa-sha256 header.s=s header.b=abc"
    assert reading.dkim_results(f"{OURS};{result}", OURS) != []
    assert reading.dkim_results(FOREIGN[name] + result, OURS) == []


@pytest.mark.parametrize("name", ["header.d=", "header.i=", "header.a=", "header.s=", "header.b="])
def test_a_result_without_one_of_its_properties_is_not_read(name):
    field = FIELDS_OF_OPENDKIM["a pass"][0]
    assert reading.dkim_results(re.sub(rf" {name}\S*?(?=[ ;])", "", field), OURS) == []


@pytest.mark.parametrize("more", [" x", " header.x=y", " (x)", ' "x"'])
def test_a_result_with_more_than_its_properties_is_not_read(more):
    field, expected = FIELDS_OF_OPENDKIM["sixteen"]
    two = ";\n".join(field.split(";\n")[:3])
    assert reading.dkim_results(two, OURS) == expected[:2]
    assert reading.dkim_results(two + more, OURS) == expected[:1]


# opendkim decodes i= and writes it without quotes. With this one, which did not even hold, opendkim 2.11.0 wrote
# dkim=pass (2048-bit key) header.d=example.org header.i=@example.org header.a=rsa-sha256 header.s=sel header.b=abcdefgh
INJECTED = """v=1; a=rsa-sha256; c=relaxed/simple; d=sender.example;
 i=x@sender.example=20header.a=3Drsa-sha256=20header.s=3Dsel0=20header.b
 =3Dabcdefgh=3B=0A=09dkim=3Dpass=20=282048-bit=20key=29=20header.d=3Dexa
 mple.org=20header.i=3D@example.org=20header.a=3Drsa-sha256=20header.s=3
 Dsel=20header.b=3Dabcdefgh=3B=0A=09dkim=3Dpass=20=282048-bit=20key=29=2
 0header.d=3Dsender.example=20header.i=3Dx@sender.example; q=dns/txt;
 s=sel0; t=1795650888; h=from : to; bh=x; b=XHOJQ4WA8U6PKMLkebou9p72z31VK2"""
UNSAFE = {
    "a whole result": INJECTED,
    "a whole result, in CRLF": INJECTED.replace("\n", "\r\n"),
    "a semicolon": "v=1; d=a.example; i=x=3By@a.example",
    "lower case": "v=1; d=a.example; i=x=3by@a.example",
    "upper-case tag": "v=1; d=a.example; I=x=3By@a.example",
    "white space around the tag": "v=1; d=a.example;\n\ti \t = x=3By@a.example",
    "the first of two": "v=1; i=x=3By@a.example; d=a.example; i=@a.example",
    "the second of two": "v=1; i=@a.example; d=a.example; i=x=3By@a.example",
    "first": "i=x=3By@a.example; v=1",
    "last": "v=1; i=x=3By@a.example",
    "behind an empty tag": "v=1;; i=x=3By@a.example",
    "behind another =": "v=1; i=x==3By@a.example",
    "white space": "v=1; i=x=20y@a.example",
    "a tab": "v=1; i=x=09y@a.example",
    "a line end": "v=1; i=x=0Ay@a.example",
    "NUL": "v=1; i=x=00y@a.example",
    "folded in the middle": "v=1; i=x=\r\n 3By@a.example",
    "a space in the middle": "v=1; i=x=3 By@a.example",
    "quoted": 'v=1; i="x=3By"@a.example',
    "raw UTF-8": "v=1; d=example.org; i=jürgen@example.org",
}
SAFE = {
    "none": "v=1; a=rsa-sha256; d=example.org; s=s; h=from; bh=x=; b=y==",
    "domain": "v=1; d=example.org; i=@example.org",
    "address": "v=1; d=example.org; i=alice@example.org",
    "an encoded =": "v=1; d=example.org; i=bounce+alice=3Dexample.net@example.org",
    "encoded letters": "v=1; d=example.org; i==61lice@example.org",
    "folded": "v=1; d=example.org; i=alice\r\n @example.org",
    "a space, which a verifier takes away": "v=1; d=example.org; i=alice x@example.org",
    "a semicolon in another tag": "v=1; d=example.org; z=From:a=3Bb|To:c=20d",
    "no tag list": "nonsense",
}


@pytest.mark.parametrize("name", UNSAFE)
def test_a_signature_that_would_write_results_is_known(name):
    assert not reading.is_plain(UNSAFE[name])


@pytest.mark.parametrize("name", SAFE)
def test_an_honest_signature_is_safe_to_repeat(name):
    assert reading.is_plain(SAFE[name])


# Signatures

SIGNATURES = {
    "usual": ("v=1; a=rsa-sha256; d=example.org; s=sel; h=from; bh=eA==; b=eQ==", ("example.org", "sel")),
    "folded": (
        "v=1; a=rsa-sha256;\r\n\td=Example.ORG;\r\n\ts=SEL; h=from:\r\n to; bh=eA==; b=eQ\r\n ==;",
        ("example.org", "sel"),
    ),
    "white space": (
        "v = 1 ; a = rsa-sha256 ; d = example.org ; s = a.b ; h = from ; bh = eA == ; b = eQ == ; ",
        ("example.org", "a.b"),
    ),
    "unknown tag": ("v=1; a=rsa-sha256; d=example.org; s=sel; h=from; bh=eA==; b=eQ==; xyz=1", ("example.org", "sel")),
    "no version": ("a=rsa-sha256; d=example.org; s=sel; h=from; bh=eA==; b=eQ==", None),
    "version 9": ("v=9; a=rsa-sha256; d=example.org; s=sel; h=from; bh=eA==; b=eQ==", None),
    "no domain": ("v=1; a=rsa-sha256; s=sel; h=from; bh=eA==; b=eQ==", None),
    "empty domain": ("v=1; a=rsa-sha256; d=; s=sel; h=from; bh=eA==; b=eQ==", None),
    "no selector": ("v=1; a=rsa-sha256; d=example.org; h=from; bh=eA==; b=eQ==", None),
    "no signature": ("v=1; a=rsa-sha256; d=example.org; s=sel; h=from; bh=eA==; b=", None),
    "domain twice": ("v=1; a=rsa-sha256; d=example.org; d=sender.example; s=sel; h=from; bh=eA==; b=eQ==", None),
    "domain that is none": ("v=1; a=rsa-sha256; d=exam ple.org; s=sel; h=from; bh=eA==; b=eQ==", None),
    "selector that is none": ("v=1; a=rsa-sha256; d=example.org; s=a..b; h=from; bh=eA==; b=eQ==", None),
    "a signature that is cut": ("v=1; a=rsa-sha256; d=example.org; s=sel; h=from; bh=eA==; b=A", None),
    "unknown algorithm": ("v=1; a=rsa-md5; d=example.org; s=sel; h=from; bh=eA==; b=eQ==", None),
    "From not signed": ("v=1; a=rsa-sha256; d=example.org; s=sel; h=to; bh=eA==; b=eQ==", None),
    "no tag list": ("nonsense", None),
    "an empty tag": ("v=1;; a=rsa-sha256; d=example.org; s=sel; h=from; bh=eA==; b=eQ==", None),
    "nothing": ("", None),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_signature_names_its_key(name):
    field, expected = SIGNATURES[name]
    assert reading.signature(field) == expected


@pytest.mark.parametrize(
    "piece", [";", "=", " ", "a=", "a=b;", "=3B", "i==", "\n", "\u00a0", "v=1; a=x" + " " * 59_000 + "x;"]
)
def test_a_long_signature_takes_no_long_time(piece):
    began = time.process_time()
    reading.signature(piece * max(1, 60_000 // len(piece)))
    reading.is_plain(piece * max(1, 60_000 // len(piece)))
    reading.dkim_results(f"{OURS};" + piece * max(1, 60_000 // len(piece)), OURS)
    assert time.process_time() - began < 1
