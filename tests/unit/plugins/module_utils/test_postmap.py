# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules of a lookup table, without a Postfix."""

from __future__ import annotations

import io

import pytest
from ansible_collections.gatehouse.mail.plugins.module_utils import _postmap as core

Form = core.Form
LMDB = Form("lmdb")
ALIASES = Form("lmdb", "postalias")
INDEXED = [*core.INDEX_SUFFIX, "texthash", None]

GOOD = [
    ("alice@example.org", "OK"),
    ("@example.org", "alice@example.org, bob@example.org"),
    (".example.org", "smtp:[mx.example.org]:25"),
    ("[2001:db8::1]:25", "user:secret"),
    ('"john..doe"@example.org', "OK"),
    ("back\\slash@example.org", "OK"),
    ("münchen@example.org", "grüße"),
    ("ภาษาไทย@example.org", "no\u00a0break: Postfix splits at ASCII white space alone"),
    ("spammer.example", "554 5.7.1 Not accepted here"),
    ("spammer.example", "550 Not accepted here"),
    ("spammer.example", "5.7.1 Not accepted here"),
    ("spammer.example", "450 4.7.1 später"),
    ("spammer.example", "REJECT"),
    ("spammer.example", "reject 5.7.1 No"),
    ("spammer.example", "DEFER_IF_PERMIT 4.7.1 Later"),
    ("spammer.example", "error:5.1.1 No such user"),
    ("virtual", "5000"),
    ("fingerprint", "5.7.1.9"),
    ("uid", "500"),
    ("access", "554"),
    ("host", "550x"),
    ("comment", "# is a value here"),
]

BAD = [
    ("", "OK", "an empty key"),
    ("a", "", "an empty value"),
    ("a", " ", "white space around the value"),
    ("a", "OK ", "white space around the value"),
    ("a", "\tOK", "white space around the value"),
    ("a\nb", "OK", "a newline in the key"),
    ("a", "OK\nb OK", "a newline in the value"),
    ("a", "OK\r", "a carriage return in the value"),
    ("a\0", "OK", "a NUL in the key"),
    ("a", "O\0K", "a NUL in the value"),
    ("a", "\ud800", "a lone surrogate in the value"),
    (" a", "OK", "white space at the start"),
    ("\ta", "OK", "white space at the start"),
    ("#a", "OK", "'#' at the start"),
    ("a b", "OK", "white space in the key"),
    ('"a b"@example.org', "OK", "white space in the key"),
    ("a\vb", "OK", "white space in the key"),
    ("\ufefffirst@example.org", "OK", "a byte order mark, U+FEFF at 1 of the key"),
    ("first@example.org\ufeff", "OK", "a byte order mark, U+FEFF at 18 of the key"),
    ("first\u200b@example.org", "OK", "invisible character U+200B at 6 of the key"),
    ("no\u00a0break@example.org", "OK", "invisible character U+00A0 at 3 of the key"),
    ("right\u202eleft@example.org", "OK", "invisible character U+202E at 6 of the key"),
    ("bell\a@example.org", "OK", "control character U+0007 at 5 of the key"),
    ("next\u0085line@example.org", "OK", "control character U+0085 at 5 of the key"),
    ("postmaster:", "root", "a ':' at the end"),
    ('"a@example.org', "OK", "an open quote"),
    ("a\\", "OK", "a trailing backslash"),
    ("a", "554 .", "a reply code and no words"),
    ("a", "554 5.7.1", "a reply code and no words"),
    ("a", "5.7.1", "a reply code and no words"),
    ("a", "450 4.7.1 .", "a reply code and no words"),
    ("a", "554 5.7", "a reply code and no words"),
    ("a", "REJECT 5.7.1", "a reply code and no words"),
    ("a", "reject  5.7.1", "a reply code and no words"),
    ("a", "DEFER 4.7.1", "a reply code and no words"),
    ("a", "DEFER_IF_REJECT 4.7.1", "a reply code and no words"),
    ("a", "error:5.1.1", "a reply code and no words"),
    ("a", "retry: 4.1.1", "a reply code and no words"),
]

PATTERNS = [
    ("/^Subject: two words/", "REJECT We do not take these"),
    (r"/^X-A\/B: (.*)$/im", "REPLACE X-C: $1"),
    ("!/^[a-z]/", "DUNNO"),
    ("|^a/b|", "OK"),
    ("if", "/^Received: from /"),
    ("if", "!/^Received: from /"),
    ("endif", ""),
    ("10.0.0.0/8", "OK"),
    ("/a\ttab, and an ä/", "OK"),
]


@pytest.mark.parametrize("kind", INDEXED)
@pytest.mark.parametrize(("key", "value"), GOOD)
def test_a_good_entry_is_taken_and_reads_back_as_itself(kind, key, value):
    core.check([(key, value)], Form(kind))
    assert core.parse(core.render([(key, value)], Form(kind)), Form(kind)) == [(key, value)]


@pytest.mark.parametrize("kind", INDEXED)
@pytest.mark.parametrize(("key", "value", "found"), BAD)
def test_an_entry_that_postfix_would_misread_is_refused(kind, key, value, found):
    with pytest.raises(core.TableError, match=r"^entry .*: found .*, expected ") as error:
        core.check([("before@example.org", "OK"), (key, value)], Form(kind))
    assert found in error.value.found
    assert repr(key) in str(error.value)


@pytest.mark.parametrize("value", ["canary-4711 ", "canary\n", "554 canary\r", "5.7.1 4711"])
def test_an_error_never_quotes_the_value(value):
    with pytest.raises(core.TableError) as error:
        core.check([("key", value)], LMDB)
    assert "4711" not in str(error.value)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("kind", ["pcre", "regexp"])
@pytest.mark.parametrize(("key", "value"), PATTERNS)
def test_a_pattern_reads_back_as_itself(kind, key, value):
    core.check([(key, value)], Form(kind))
    assert core.parse(core.render([(key, value)], Form(kind)), Form(kind)) == [(key, value)]


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("pcre", "/a/", ""),
        ("pcre", "endif", "OK"),
        ("pcre", "/no end", "OK"),
        ("pcre", "/a/ b", "OK"),
        ("pcre", "if /a/", "OK"),
        ("regexp", "/a/", "REJECT 5.7.1"),
        ("cidr", "10.0.0.0/8 OK", "or not"),
        ("cidr", "10.0.0.0/8", "554 5.7.1"),
        ("cidr", "#10.0.0.0/8", "OK"),
    ],
)
def test_a_bad_pattern_is_refused(kind, key, value):
    with pytest.raises(core.TableError):
        core.check([(key, value)], Form(kind))


@pytest.mark.parametrize("pair", [("a", "a"), ("Bob", "bOB"), ("É", "é"), ("straße", "STRASSE")])
def test_the_same_key_after_folding_is_refused(pair):
    with pytest.raises(core.TableError, match="the same key as"):
        core.check([(key, "OK") for key in pair], LMDB)


def test_an_ordered_table_may_repeat_a_pattern():
    core.check([("/a/", "OK"), ("/a/", "DUNNO"), ("/A/", "OK")], Form("pcre"))


@pytest.mark.parametrize(("kind", "length", "taken"), [("lmdb", 510, True), ("lmdb", 511, False), ("hash", 511, True)])
def test_lmdb_has_a_longest_key(kind, length, taken):
    if taken:
        core.check([("k" * length, "OK")], Form(kind))
    else:
        with pytest.raises(core.TableError, match="510 octets"):
            core.check([("k" * length, "OK")], Form(kind))


@pytest.mark.parametrize("kind", INDEXED)
def test_the_text_does_not_depend_on_the_order_of_the_entries(kind):
    entries = [("b", "2"), ("a", "1"), ("é", "4"), ("Z", "0"), ("z", "3")]
    assert core.render(entries, Form(kind)) == core.render(entries[::-1], Form(kind)) == "Z 0\na 1\nb 2\nz 3\né 4\n"


@pytest.mark.parametrize("kind", core.ORDERED)
def test_the_text_of_an_ordered_table_keeps_its_order(kind):
    assert core.render([("b", "2"), ("a", "1")], Form(kind)) == "b 2\na 1\n"


def test_entries_come_as_a_dictionary_or_as_a_list():
    assert core.entries_of({"a": "1", "b": 2}) == [("a", "1"), ("b", "2")]
    assert core.entries_of([{"key": "a", "value": "1"}, {"key": "endif"}]) == [("a", "1"), ("endif", "")]
    assert core.entries_of([["a", "1"], ("b", 2)]) == [("a", "1"), ("b", "2")]
    assert core.entries_of({}) == core.entries_of([]) == []


@pytest.mark.parametrize(
    "given",
    [
        "text",
        None,
        7,
        ["a"],
        ["ab"],
        [["a"]],
        [["a", "1", "2"]],
        [["a", None]],
        [{"value": "1"}],
        [{"key": "a", "value": "b", "more": 1}],
        {"a": True},
        {"a": 1.1},
        {"a": None},
    ],
)
def test_entries_of_any_other_shape_are_refused(given):
    with pytest.raises(core.TableError):
        core.entries_of(given)


def test_a_text_of_other_hands_is_read_as_postfix_reads_it():
    text = (
        "  a continuation of nothing\n# comment\n\na 1\n  and more\n   # comment within\n\t\n  still a\n"
        '"b c"@x\t2  \nback\\ slash 3\nlonely\n   \nZ\v4'
    )
    assert core.parse(text, Form("hash")) == [
        ("a", "1  and more  still a"),
        ('"b c"@x', "2"),
        ("back\\ slash", "3"),
        ("lonely", ""),
        ("Z", "4"),
    ]


def test_patterns_of_other_hands_are_split_where_they_end():
    text = "/a b\\/c/i  OK\n! /x/ y\nif /z/\n  \nendif\n/never ends\n"
    entries = [("/a b\\/c/i", "OK"), ("! /x/", "y"), ("if", "/z/"), ("endif", ""), ("/never", "ends")]
    assert core.parse(text, Form("pcre")) == entries


LINES = [(key, value) for key, value in GOOD if key[0] not in "#"]


@pytest.mark.parametrize("kind", INDEXED)
def test_good_lines_are_taken(kind):
    core.check_lines([core.render([entry], Form(kind)).encode() for entry in LINES], Form(kind))
    core.check_lines([b"tabs\t \tvalue  \n", b"no.newline@example.org OK"], Form(kind))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"#alice@example.org OK\n", "'#' at the start"),
        (b"# comment\n", "'#' at the start"),
        (b" alice@example.org OK\n", "white space at the start"),
        (b"\talice@example.org OK\n", "white space at the start"),
        (b"\n", "a blank line"),
        (b" \t\n", "a blank line"),
        (b"alice@example.org\n", "an empty value"),
        (b"alice@example.org  \n", "an empty value"),
        (b"alice@example.org O\rK\n", "a carriage return"),
        (b"alice@example.org O\0K\n", "a NUL"),
        (b"alice\xff@example.org OK\n", "octets that are not UTF-8"),
        (b'"alice@example.org OK\n', "white space in the key"),
        (b"alice: bob\n", "a ':' at the end"),
        (b"spammer.example 554 5.7.1\n", "a reply code and no words"),
        (b"spammer.example error:5.1.1\n", "a reply code and no words"),
        (b"spammer.example Retry:4.1.1\n", "a reply code and no words"),
        (b"k" * 511 + b" OK\n", "a longer key"),
        (b"\xef\xbb\xbffirst@example.org OK\n", "a byte order mark, U+FEFF at 1 of the key"),
        (b"\xef\xbb\xbf# comment\n", "a byte order mark, U+FEFF at 1 of the key"),
        (b"zero\xe2\x80\x8bwidth@example.org OK\n", "invisible character U+200B at 5 of the key"),
    ],
)
def test_a_line_that_postfix_would_misread_is_refused(line, found):
    with pytest.raises(core.TableError) as error:
        core.check_lines([b"before@example.org OK\n", line], LMDB)
    assert found in error.value.found


@pytest.mark.parametrize("form", [Form("pcre"), Form("cidr"), LMDB, ALIASES], ids=str)
def test_a_byte_order_mark_is_named_in_a_table_of_any_form(form):
    with pytest.raises(core.TableError, match="byte order mark"):
        core.check([("\ufeff/^From: ceo/", "REJECT no")], form)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("root", "alice@example.org"),
        ("List-Request", '"|/usr/bin/list request", /dev/null'),
        ("owner-x", ":include:/x"),
    ],
)
def test_an_alias_reads_back_as_itself(key, value):
    core.check([(key, value)], ALIASES)
    assert core.render([(key, value)], ALIASES) == f"{key}: {value}\n"
    assert core.parse(f"{key} : {value}\n", ALIASES) == [(key, value)]
    core.check_lines([f"{key}: {value}\n".encode()], ALIASES)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("#x", "alice"),
        ("a b", "alice"),
        ("x@example.org", "alice"),
        ("a:b", "alice"),
        ("a,b", "alice"),
        ("x", ""),
        ("x", '"|/usr/bin/list'),
        ("x", "alice\\"),
    ],
)
def test_an_alias_that_postalias_would_misread_is_refused(key, value):
    with pytest.raises(core.TableError):
        core.check([(key, value)], ALIASES)


def difference(before, after, form=LMDB):
    """Of two texts."""
    return core.difference(*core.only_in(io.BytesIO(before.encode()), io.BytesIO(after.encode())), form)


def test_the_difference_names_keys():
    found = difference("a 1\nB 2\nc 3\n", "b 2\nc 4\nd 5\n")
    assert found.keys == {"added": ["d"], "removed": ["a"], "changed": ["b", "c"]}
    assert found.counts == {"added": 1, "removed": 1, "changed": 2}
    assert (found.before, found.after) == ("B 2\na 1\nc 3\n", "b 2\nc 4\nd 5\n")


def test_texts_that_are_equal_do_not_differ():
    found = difference("a 1\nb 2\n", "a 1\nb 2\n")
    assert found == core.Difference(
        {"added": 0, "removed": 0, "changed": 0}, {"added": [], "removed": [], "changed": []}, "", ""
    )


def test_a_large_difference_names_the_first_and_counts_all():
    found = difference("", "".join(f"{number:05} OK\n" for number in range(60_000)))
    assert found.counts["added"] == 60_000
    assert found.keys["added"] == [f"{number:05}" for number in range(50)]
    assert found.after.endswith("00049 OK\n... and 59950 more\n")
    assert len(found.after) < 1000


@pytest.mark.parametrize("shift", [0, 1, 20_000])
def test_differences_are_found_wherever_they_are(shift):
    """Lines move from block to block when others come before them."""
    lines = [f"{number:06}@example.org OK\n" for number in range(100_000)]
    before = "".join(lines)
    after = "".join(sorted([*lines[shift:50_000], "more@example.org OK\n", *lines[50_001:]]))
    gone, come = core.only_in(io.BytesIO(before.encode()), io.BytesIO(after.encode()))
    assert gone == [line.encode() for line in (*lines[:shift], lines[50_000])]
    assert come == [b"more@example.org OK\n"]


@pytest.mark.parametrize(("count", "asked"), [(0, 0), (1, 1), (2000, 2000), (2001, 1001), (100_000, 2000)])
def test_a_large_index_is_asked_for_evenly_spaced_entries(count, asked):
    entries = core.sample((b"%d OK\n" % number for number in range(count)), count, LMDB)
    assert len(entries) == asked
    assert entries[:1] == [("0", "OK")] * min(1, count)


def test_answers_of_an_index_are_compared_to_the_octet():
    entries = [("A", "1"), ("b", "two  words")]
    assert core.answers(entries, "A\t1\nb\ttwo  words\n", LMDB)
    assert not core.answers(entries, "A\t1\n", LMDB)
    assert not core.answers(entries, "A\t1\nb\ttwo words\n", LMDB)
    assert core.answers([("root", "a,b")], "root:\ta, b\n", ALIASES)
    assert not core.answers([("root", "a,b")], "", ALIASES)


BUILT = core.Built("lmdb", "postmap", "abc", 7, {"": ([1, 2, 3, 4], "d"), ".lmdb": ([5, 6, 7, 8], "e")})


def test_a_record_reads_back_as_itself():
    assert core.Built.from_json(BUILT.to_json()) == BUILT


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "7", '{"kind": "lmdb"}', BUILT.to_json()[:-9], "null"])
def test_what_is_no_record_says_nothing(text):
    assert core.Built.from_json(text) is None


@pytest.mark.parametrize(
    ("built", "source_mtime", "index_mtime", "state"),
    [
        (True, 10.0, None, "missing"),
        (False, None, None, "missing"),
        (True, 10.0, 10.0, "current"),
        (True, 10.9, 10.1, "current"),
        (False, None, 10.0, "foreign"),
        (False, 10.0, 10.0, "foreign"),
        (True, 11.0, 10.9, "older"),
        (False, 11.0, 10.9, "older"),
    ],
)
def test_the_state_of_an_index(built, source_mtime, index_mtime, state):
    assert core.index_state(built, source_mtime, index_mtime) == state


@pytest.mark.parametrize(
    ("supported", "best"),
    [
        (["hash", "cdb", "lmdb"], "lmdb"),
        (["hash", "cdb"], "cdb"),
        (["btree", "hash"], "hash"),
        (["cidr"], None),
        ([], None),
    ],
)
def test_the_best_type_of_a_host(supported, best):
    assert core.best_type(supported) == best


def test_only_complaints_of_this_table_count():
    stderr = (
        "postmap: warning: /etc/postfix/main.cf, line 9: overriding earlier entry: a=b\n"
        "postmap: warning: pcre map /aside/t, line 1: missing terminating ]\n"
        "postmap: fatal: out of memory\n"
    )
    assert core.complaints(stderr, "/aside/t", "/etc/postfix/t") == [
        "postmap: warning: pcre map /etc/postfix/t, line 1: missing terminating ]",
        "postmap: fatal: out of memory",
    ]
