# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SPF records: every mechanism and modifier of RFC 7208, what a receiver would refuse, and what a record costs."""

from __future__ import annotations

import pytest
from ansible_collections.gatehouse.mail.plugins.module_utils import _spf

# what is written: what is published
GOOD = {
    "-all": "-all",
    "~ALL": "~all",
    "+mx": "mx",
    "a": "a",
    "A:Mail.Example.ORG.": "a:mail.example.org",
    "?a/24": "?a/24",
    "a//64": "a//64",
    "mx:example.org/24//64": "mx:example.org/24//64",
    "ptr:example.org": "ptr:example.org",
    "ip4:192.0.2.0/24": "ip4:192.0.2.0/24",
    "ip4:192.0.2.1/32": "ip4:192.0.2.1",
    "ip6:2001:DB8:0::/32": "ip6:2001:db8::/32",
    "-include:_spf.example.net": "-include:_spf.example.net",
    "exists:%{ir}.%{v}._spf.%{d2}": "exists:%{ir}.%{v}._spf.%{d2}",
    "exists:%{l1r-/}.example.org": "exists:%{l1r-/}.example.org",
    "include:%{d}": "include:%{d}",
    "redirect=_spf.example.net": "redirect=_spf.example.net",
    "exp=explain._spf.%{d}": "exp=explain._spf.%{d}",
    "gateways": "gateways",
}


@pytest.mark.parametrize("written", GOOD)
def test_a_term_is_published_in_its_plain_form(written):
    assert str(_spf.parse(written)) == GOOD[written]
    assert str(_spf.parse(GOOD[written])) == GOOD[written]


BAD = {
    "": "is not a term",
    "v=spf1": "is not a known mechanism",
    "spf2": "is not a known mechanism",
    "mx -all": "is not a term",
    "ip4:192.0.2.1/24": "without host bits",
    "ip4:192.0.2.0/33": "is not a network of ip4",
    "ip4:2001:db8::1": "is not a network of ip4",
    "ip6:192.0.2.1": "is not a network of ip6",
    "ip4": "is not a network of ip4",
    "ip4:%{i}": "is not a network of ip4",
    "include": "has no name",
    "include:": "has no name",
    "a:": "has no name",
    "exists:": "has no name",
    "include:localhost": "has no domain name",
    "include:example.org/24": "which include cannot have",
    "include:exa mple.org": "has no domain name",
    "include:example..org": "has no domain name",
    "include:example.300": "has no domain name",
    "exists:%{c}.example.org": "has no domain name",
    "exists:%{ir.example.org": "has no domain name",
    "exists:100%.example.org": "has no domain name",
    "a/33": "has a prefix length that is none",
    "a/024": "has a prefix length that is none",
    "a//129": "has a prefix length that is none",
    "a/24/64": "has a prefix length that is none",
    "-redirect=example.org": "is not a modifier as it stands",
    "redirect:example.org": "is not a modifier as it stands",
    "mx=example.org": 'has "=" after a mechanism',
    "all:example.org": "has more than the word all",
    "-gateways": "has more than the word gateways",
    "gateways:example.org": "has more than the word gateways",
}


@pytest.mark.parametrize("written", BAD)
def test_a_term_that_a_receiver_would_refuse_is_refused(written):
    with pytest.raises(_spf.SpfError, match=BAD[written]) as caught:
        _spf.parse(written)
    assert caught.value.instead


UNWISE_TOGETHER = {
    "mx": "says nothing of all other senders",
    "all": "lets the whole world send",
    "-all mx": "stands after all",
    "mx mx -all": "is there twice",
    "redirect=a.example redirect=b.example": "is there twice",
    "-all redirect=a.example": "has no effect beside all",
    "exp=a.example exp=b.example -all": "is there twice",
}


@pytest.mark.parametrize("record", UNWISE_TOGETHER)
def test_terms_that_make_no_record_together_are_refused(record):
    with pytest.raises(_spf.SpfError, match=UNWISE_TOGETHER[record]):
        _spf.check([_spf.parse(term) for term in record.split()])


@pytest.mark.parametrize("record", ["mx -all", "mx ~all exp=explain.example.org", "a redirect=_spf.example.org"])
def test_terms_that_do_are_not(record):
    _spf.check([_spf.parse(term) for term in record.split()])


def terms(record):
    return [_spf.parse(term) for term in record.split()]


def test_gateways_are_their_addresses_and_cost_nothing():
    expanded = _spf.expand(terms("a gateways -all"), ["198.51.100.11", "2001:db8::11"])
    assert _spf.render(expanded) == "v=spf1 a ip4:198.51.100.11 ip6:2001:db8::11 -all"
    assert _spf.lookups(expanded, {}.get) == 1


def test_what_is_included_costs_too():
    known = {
        "one.example": terms("a mx include:two.example -all"),
        "two.example": terms("exists:%{i}.example ptr redirect=three.example"),
        "three.example": terms("ip4:192.0.2.1 -all"),
    }
    assert _spf.lookups(terms("mx include:one.example include:unknown.example -all"), known.get) == 9
    assert _spf.lookups(terms("ip4:192.0.2.1 exp=why.example -all"), known.get) == 0


def test_a_record_that_includes_itself_is_refused():
    known = {"one.example": terms("include:two.example -all"), "two.example": terms("redirect=one.example")}
    with pytest.raises(_spf.SpfError, match=r"leads back to one\.example"):
        _spf.lookups(known["one.example"], known.get, ("one.example",))


@pytest.mark.parametrize(
    "text, ours", [("v=spf1", True), ("V=SPF1 -all", True), ("v=spf10 -all", False), ("spf1", False)]
)
def test_a_record_is_known_by_its_version(text, ours):
    assert _spf.is_spf(text) is ours


def test_what_is_unwise_is_said():
    assert "ptr" in _spf.warnings(terms("ptr -all"))[0]
    long = [_spf.parse(f"ip4:192.0.2.{number}") for number in range(40)]
    assert "octets" in _spf.warnings([*long, _spf.parse("-all")])[0]
    assert _spf.warnings(terms("mx -all")) == []
