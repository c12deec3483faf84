"""DMARC: records, alignment and what becomes of a message."""

from __future__ import annotations

from typing import Any

import pytest
from gatehouse_dmarc import policy
from gatehouse_dmarc.policy import Identity, Policy, Suffixes, Unanswered, Verdict
from hypothesis import given
from hypothesis import strategies as st

LIST = """\
// a comment
com
net
org

uk
co.uk   // rules end at white space
jp
kobe.jp
*.kobe.jp
!city.kobe.jp
*.ck
!www.ck
b.c.mm
*.mm
公司.cn
cn
*.foo.bar.com
"""
SUFFIXES = Suffixes(LIST.splitlines(keepends=True))

# Organizational domains

# In the manner of publicsuffix.org's test vectors, of names below rules of each kind.
ORGANIZATIONAL = {
    "com": "com",
    "example.com": "example.com",
    "b.example.com": "example.com",
    "a.b.example.com": "example.com",
    # A top level that is not listed is a suffix.
    "example": "example",
    "example.example": "example.example",
    "b.example.example": "example.example",
    "a.b.example.example": "example.example",
    # Two levels.
    "uk": "uk",
    "co.uk": "co.uk",
    "example.co.uk": "example.co.uk",
    "a.b.example.co.uk": "example.co.uk",
    "example.uk": "example.uk",
    "b.example.uk": "example.uk",
    # A wildcard.
    "ck": "ck",
    "test.ck": "test.ck",
    "b.test.ck": "b.test.ck",
    "a.b.test.ck": "b.test.ck",
    # An exception.
    "www.ck": "www.ck",
    "www.www.ck": "www.ck",
    # All of them at one name.
    "jp": "jp",
    "test.jp": "test.jp",
    "www.test.jp": "test.jp",
    "kobe.jp": "kobe.jp",
    "c.kobe.jp": "c.kobe.jp",
    "b.c.kobe.jp": "b.c.kobe.jp",
    "a.b.c.kobe.jp": "b.c.kobe.jp",
    "city.kobe.jp": "city.kobe.jp",
    "www.city.kobe.jp": "city.kobe.jp",
    # The longest rule counts.
    "c.mm": "c.mm",
    "b.c.mm": "b.c.mm",
    "a.b.c.mm": "a.b.c.mm",
    "x.a.b.c.mm": "a.b.c.mm",
    "a.c.mm": "a.c.mm",
    # A wildcard below a name that is no rule.
    "bar.com": "bar.com",
    "foo.bar.com": "bar.com",
    "x.foo.bar.com": "x.foo.bar.com",
    "y.x.foo.bar.com": "y.x.foo.bar.com",
    # Rules in other letters are asked for in A-labels.
    "xn--55qx5d.cn": "xn--55qx5d.cn",
    "example.xn--55qx5d.cn": "example.xn--55qx5d.cn",
    "a.example.xn--55qx5d.cn": "example.xn--55qx5d.cn",
    "localhost": "localhost",
}


@pytest.mark.parametrize("domain", ORGANIZATIONAL)
def test_a_domain_belongs_to(domain):
    assert SUFFIXES.organizational(domain) == ORGANIZATIONAL[domain]


@given(
    st.lists(st.sampled_from(["a", "com", "uk", "co", "kobe", "city", "jp", "ck", "www", "mm"]), min_size=1, max_size=6)
)
def test_an_organizational_domain_is_its_own_and_an_end_of_the_domain(labels):
    domain = ".".join(labels)
    found = SUFFIXES.organizational(domain)
    assert f".{domain}".endswith(f".{found}")
    assert SUFFIXES.organizational(found) == found


# Records


class Dns:
    """Names with their TXT records; Unanswered for a name stands for no answer. `absent` names do not exist at all."""

    def __init__(self, absent: Any = (), **records: Any) -> None:
        self.records = {name.replace("__", "."): value for name, value in records.items()}
        self.absent = absent
        self.asked: list[str] = []

    def ask(self, name: str, qtype: str) -> list[tuple[bytes, ...]]:
        assert qtype == "TXT" and name.startswith("_dmarc.")
        self.asked.append(name)
        found = self.records.get(name[len("_dmarc.") :], [])
        if found is Unanswered:
            raise Unanswered("no answer")
        return [(text.encode(),) for text in ([found] if isinstance(found, str) else found)]

    def missing(self, name: str) -> bool:
        if self.absent is Unanswered:
            raise Unanswered("no answer")
        return name in self.absent

    def discover(self, author: str) -> Policy | None:
        return policy.discover(author, SUFFIXES, self.ask, self.missing)


RELAXED = {"dkim": False, "spf": False}
RECORDS = {
    # RFC 7489 B.2
    "B.2.1": ("v=DMARC1; p=none; rua=mailto:dmarc-feedback@example.com", Policy("none", RELAXED, 100, False)),
    "B.2.3": (
        "v=DMARC1; p=none; rua=mailto:dmarc-feedback@example.com; ruf=mailto:auth-reports@thirdparty.example.net",
        Policy("none", RELAXED, 100, False),
    ),
    "B.2.4": (
        "v=DMARC1; p=quarantine; rua=mailto:dmarc-feedback@example.com,"
        "mailto:tld-test@thirdparty.example.net!10m; pct=25",
        Policy("quarantine", RELAXED, 25, False),
    ),
    "the shortest": ("v=DMARC1;p=reject", Policy("reject", RELAXED, 100, False)),
    "semicolon at the end": ("v=DMARC1; p=reject;", Policy("reject", RELAXED, 100, False)),
    "white space": ("v \t= DMARC1 ;\tp = reject ; ", Policy("reject", RELAXED, 100, False)),
    "upper case": ("v=DMARC1; P=REJECT; ADKIM=S", Policy("reject", {"dkim": True, "spf": False}, 100, False)),
    "strict": ("v=DMARC1; p=reject; adkim=s; aspf=s", Policy("reject", {"dkim": True, "spf": True}, 100, False)),
    "relaxed": ("v=DMARC1; p=reject; adkim=r; aspf=r", Policy("reject", RELAXED, 100, False)),
    "a mode that is none": ("v=DMARC1; p=reject; adkim=x", Policy("reject", RELAXED, 100, False)),
    "p behind others": ("v=DMARC1; rua=mailto:a@example.org; p=reject", Policy("reject", RELAXED, 100, False)),
    "an unknown tag": ("v=DMARC1; p=reject; x=y", Policy("reject", RELAXED, 100, False)),
    "an empty tag": ("v=DMARC1; p=reject;; fo=1", Policy("reject", RELAXED, 100, False)),
    "what is no tag": ("v=DMARC1; p=reject; mailto:a@example.org", Policy("reject", RELAXED, 100, False)),
    "a tag twice": ("v=DMARC1; p=reject; p=none", Policy("reject", RELAXED, 100, False)),
    "an = in a value": ("v=DMARC1; p=reject; rua=mailto:a=b@example.org", Policy("reject", RELAXED, 100, False)),
    "testing": ("v=DMARC1; p=reject; t=y", Policy("reject", RELAXED, 100, True)),
    "not testing": ("v=DMARC1; p=reject; t=n", Policy("reject", RELAXED, 100, False)),
    "pct=0": ("v=DMARC1; p=reject; pct=0", Policy("reject", RELAXED, 0, False)),
    "pct=100": ("v=DMARC1; p=reject; pct=100", Policy("reject", RELAXED, 100, False)),
    "pct=101": ("v=DMARC1; p=reject; pct=101", Policy("reject", RELAXED, 100, False)),
    "pct=-1": ("v=DMARC1; p=reject; pct=-1", Policy("reject", RELAXED, 100, False)),
    "pct of words": ("v=DMARC1; p=reject; pct=all", Policy("reject", RELAXED, 100, False)),
    "psd": ("v=DMARC1; p=reject; psd=n", Policy("reject", RELAXED, 100, False)),
    "sp of its own": ("v=DMARC1; p=reject; sp=none", Policy("reject", RELAXED, 100, False)),
    "np of its own": ("v=DMARC1; p=reject; np=none", Policy("reject", RELAXED, 100, False)),
    # RFC 7489 6.6.3, 6
    "no p": ("v=DMARC1; rua=mailto:a@example.org", Policy("none", RELAXED, 100, False)),
    "p that is none": ("v=DMARC1; p=refuse", Policy("none", RELAXED, 100, False)),
    "empty p": ("v=DMARC1; p=", Policy("none", RELAXED, 100, False)),
    "sp that is none": ("v=DMARC1; p=reject; sp=refuse", Policy("none", RELAXED, 100, False)),
    "np that is none": ("v=DMARC1; p=reject; np=refuse", Policy("none", RELAXED, 100, False)),
    # No records at all
    "no version": ("p=reject", None),
    "version not first": ("p=reject; v=DMARC1", None),
    "version 2": ("v=DMARC2; p=reject", None),
    "version 10": ("v=DMARC10; p=reject", None),
    "version in lower case": ("v=dmarc1; p=reject", None),
    "white space in front": (" v=DMARC1; p=reject", None),
    "a comma for a semicolon": ("v=DMARC1, p=reject", None),
    "another record": ("v=spf1 -all", None),
    "nothing": ([], None),
    "empty": ("", None),
    "two": (["v=DMARC1; p=reject", "v=DMARC1; p=none"], None),
    "one, and another": (["v=spf1 -all", "v=DMARC1; p=reject"], Policy("reject", RELAXED, 100, False)),
    "one, and octets": (["\xff\0", "v=DMARC1; p=reject"], Policy("reject", RELAXED, 100, False)),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_says(name):
    record, expected = RECORDS[name]
    assert Dns(example__org=record).discover("example.org") == expected


def test_a_record_may_come_in_strings():
    strings = (b"v=DMARC1; p=rej", b"ect; adkim", b"=s")
    found = policy.discover("example.org", SUFFIXES, lambda _name, _qtype: [strings], lambda _name: False)
    assert found == Policy("reject", {"dkim": True, "spf": False}, 100, False)


ABOVE = "v=DMARC1; p=reject; sp=quarantine; np=none"
# The author's domain: (its own record, that of example.org, names that do not exist): p that holds
INHERITED = {
    "its own": ("v=DMARC1; p=none", ABOVE, (), "none"),
    "sp": ([], ABOVE, (), "quarantine"),
    "p without sp": ([], "v=DMARC1; p=reject", (), "reject"),
    "np, of a name that is not there": ([], ABOVE, ("a.b.example.org",), "none"),
    "sp, where only a name above is not there": ([], ABOVE, ("b.example.org",), "quarantine"),
    "np=reject, of a name that is not there": ([], "v=DMARC1; p=none; np=reject", ("a.b.example.org",), "reject"),
    "np=reject, of a name that is there": ([], "v=DMARC1; p=none; np=reject", (), "none"),
    "sp where there is no np": ([], "v=DMARC1; p=none; sp=reject", ("a.b.example.org",), "reject"),
    "np where there is its own": ("v=DMARC1; p=quarantine; np=none", ABOVE, ("a.b.example.org",), "quarantine"),
    "a record of its own that is none": ("v=spf1 -all", ABOVE, (), "quarantine"),
    # RFC 9989: records that are several count for none, and the search goes on
    "two of its own": (["v=DMARC1; p=none", "v=DMARC1; p=none"], ABOVE, (), "quarantine"),
}


@pytest.mark.parametrize("name", INHERITED)
def test_a_subdomain_has_the_policy(name):
    own, above, absent, expected = INHERITED[name]
    dns = Dns(
        absent,
        a__b__example__org=own,
        example__org=above,
        b__example__org="v=DMARC1; p=reject",
        org="v=DMARC1; p=reject",
    )
    assert dns.discover("a.b.example.org").p == expected


def test_nobody_is_asked_but_the_domain_and_its_organization():
    dns = Dns()
    assert dns.discover("a.b.c.example.org") is None
    assert dns.asked == ["_dmarc.a.b.c.example.org", "_dmarc.example.org"]
    dns = Dns()
    assert dns.discover("example.org") is None
    assert dns.asked == ["_dmarc.example.org"]


UNANSWERED = {
    "its own": {"b__example__org": Unanswered, "example__org": "v=DMARC1; p=none"},
    "that of its organization": {"example__org": Unanswered},
    "whether its name exists": {"example__org": ABOVE, "absent": Unanswered},
}


@pytest.mark.parametrize("name", UNANSWERED)
def test_a_question_without_an_answer_is_no_policy(name):
    with pytest.raises(Unanswered):
        Dns(**UNANSWERED[name]).discover("b.example.org")


@pytest.mark.parametrize(
    "record",
    ["v=DMARC1; p=none; np=none", "v=DMARC1; p=reject; sp=none; np=none", "v=DMARC1; p=reject"],
)
def test_whether_a_name_exists_is_asked_only_where_it_decides(record):
    assert Dns(Unanswered, example__org=record).discover("b.example.org") is not None


# p, pct, t, and the lot: what becomes of a message that fails
LOTS = {
    ("none", 100, False, 0): "none",
    ("quarantine", 100, False, 99.9): "quarantine",
    ("reject", 100, False, 0): "reject",
    ("reject", 100, False, 99.9): "reject",
    # Who is not drawn has the next milder policy (RFC 7489 6.6.4).
    ("reject", 25, False, 24.9): "reject",
    ("reject", 25, False, 25): "quarantine",
    ("quarantine", 25, False, 24.9): "quarantine",
    ("quarantine", 25, False, 25): "none",
    ("none", 25, False, 99): "none",
    ("reject", 0, False, 0): "quarantine",
    ("quarantine", 0, False, 0): "none",
    ("reject", 100, True, 0): "quarantine",
    ("quarantine", 100, True, 0): "none",
    ("none", 100, True, 0): "none",
    ("reject", 0, True, 50): "quarantine",
}


@pytest.mark.parametrize("case", LOTS, ids=str)
def test_a_policy_asks_for(case):
    p, percent, testing, lot = case
    assert Policy(p, RELAXED, percent, testing).disposition(lot) == LOTS[case]


# Alignment

# (method, its domain, author's domain): aligned when relaxed, aligned when strict. RFC 7489 3.1 and B.1.
ALIGNED = {
    ("spf", "example.com", "example.com"): (True, True),
    ("spf", "child.example.com", "example.com"): (True, False),
    ("spf", "example.net", "child.example.com"): (False, False),
    ("spf", "cbg.bounces.example.com", "example.com"): (True, False),
    ("dkim", "example.com", "example.com"): (True, True),
    ("dkim", "example.com", "child.example.com"): (True, False),
    ("dkim", "example.com", "news.example.com"): (True, False),
    ("dkim", "a.example.com", "b.example.com"): (True, False),
    ("dkim", "sample.net", "example.com"): (False, False),
    ("dkim", "com", "example.com"): (False, False),
    ("dkim", "com", "com"): (True, True),
    ("dkim", "co.uk", "example.co.uk"): (False, False),
    ("dkim", "a.co.uk", "b.co.uk"): (False, False),
    ("dkim", "x.a.co.uk", "a.co.uk"): (True, False),
    ("dkim", "other.test.ck", "example.test.ck"): (False, False),
    ("dkim", "city.kobe.jp", "www.city.kobe.jp"): (True, False),
    ("dkim", "badexample.com", "example.com"): (False, False),
    ("dkim", "example.com.sender.net", "example.com"): (False, False),
    ("dkim", "example", "a.example"): (False, False),
    ("spf", "", "example.com"): (False, False),
    ("spf", "", "com"): (False, False),
}


@pytest.mark.parametrize("case", ALIGNED, ids=str)
def test_an_identity_is_aligned(case):
    method, domain, author = case
    for strict, expected in zip((False, True), ALIGNED[case]):
        modes = {"spf": False, "dkim": False, method: strict}
        assert (
            policy.aligned(Identity(method, "pass", domain), author, Policy("reject", modes, 100, False), SUFFIXES)
            is expected
        )
    # The mode of the other method does not matter, and where no policy is known only the same domain is aligned.
    other = {"spf": method != "spf", "dkim": method != "dkim"}
    assert (
        policy.aligned(Identity(method, "pass", domain), author, Policy("none", other, 100, False), SUFFIXES)
        is ALIGNED[case][0]
    )
    assert policy.aligned(Identity(method, "pass", domain), author, None, SUFFIXES) is ALIGNED[case][1]


# The verdict

OURS, SUB, THEIRS = "example.org", "bounce.example.org", "sender.example"
NOBODY = Identity("spf", "none", "")


def spf(result: str, domain: str = OURS) -> Identity:
    return Identity("spf", result, domain)


def dkim(result: str, domain: str = OURS) -> Identity:
    return Identity("dkim", result, domain)


# (record of example.org, SPF and signatures, domains whose key has no answer, verdict)
VERDICTS: dict[str, tuple[Any, list[Identity], list[str], Verdict]] = {
    "SPF passes": ("p=reject", [spf("pass")], [], Verdict("pass", "reject", "none")),
    "SPF of a subdomain passes": ("p=reject", [spf("pass", SUB)], [], Verdict("pass", "reject", "none")),
    "SPF of a subdomain, strict": ("p=reject; aspf=s", [spf("pass", SUB)], [], Verdict("fail", "reject", "reject")),
    "SPF of another passes": ("p=reject", [spf("pass", THEIRS)], [], Verdict("fail", "reject", "reject")),
    "SPF fails": ("p=reject", [spf("fail")], [], Verdict("fail", "reject", "reject")),
    "SPF softfails": ("p=reject", [spf("softfail")], [], Verdict("fail", "reject", "reject")),
    "SPF is neutral": ("p=reject", [spf("neutral")], [], Verdict("fail", "reject", "reject")),
    "SPF is wrong": ("p=reject", [spf("permerror")], [], Verdict("fail", "reject", "reject")),
    "no SPF": ("p=reject", [spf("none")], [], Verdict("fail", "reject", "reject")),
    "nobody vouches": ("p=reject", [NOBODY], [], Verdict("fail", "reject", "reject")),
    "nobody vouches, quarantine": ("p=quarantine", [NOBODY], [], Verdict("fail", "quarantine", "quarantine")),
    "nobody vouches, none": ("p=none", [NOBODY], [], Verdict("fail", "none", "none")),
    "DKIM passes": ("p=reject", [spf("fail"), dkim("pass")], [], Verdict("pass", "reject", "none")),
    "DKIM of a subdomain passes": ("p=reject", [dkim("pass", SUB)], [], Verdict("pass", "reject", "none")),
    "DKIM of a subdomain, strict": ("p=reject; adkim=s", [dkim("pass", SUB)], [], Verdict("fail", "reject", "reject")),
    "DKIM strict, SPF relaxed": ("p=reject; adkim=s", [spf("pass", SUB)], [], Verdict("pass", "reject", "none")),
    "DKIM of another passes": ("p=reject", [dkim("pass", THEIRS)], [], Verdict("fail", "reject", "reject")),
    "DKIM fails": ("p=reject", [dkim("fail")], [], Verdict("fail", "reject", "reject")),
    "the fourth signature passes": (
        "p=reject",
        [spf("pass", THEIRS), *[dkim("pass", THEIRS)] * 3, dkim("pass")],
        [],
        Verdict("pass", "reject", "none"),
    ),
    "one fails, one passes": ("p=reject", [dkim("fail"), dkim("pass")], [], Verdict("pass", "reject", "none")),
    "one passes, one fails": ("p=reject", [dkim("pass"), dkim("fail")], [], Verdict("pass", "reject", "none")),
    "no record, nobody vouches": (None, [NOBODY], [], Verdict("none", "none", "none")),
    "no record, SPF passes": (None, [spf("pass")], [], Verdict("none", "none", "none")),
    "no record, SPF unanswered": (None, [spf("temperror")], [OURS], Verdict("none", "none", "none")),
    # What is missing counts only where it could have made a pass of a refusal.
    "SPF unanswered": ("p=reject", [spf("temperror")], [], Verdict("temperror", "reject", "wait")),
    "SPF unanswered, quarantine": ("p=quarantine", [spf("temperror")], [], Verdict("temperror", "quarantine", "wait")),
    "SPF unanswered, none": ("p=none", [spf("temperror")], [], Verdict("temperror", "none", "none")),
    "SPF unanswered, testing quarantine": (
        "p=quarantine; t=y",
        [spf("temperror")],
        [],
        Verdict("temperror", "quarantine", "none"),
    ),
    "SPF unanswered, DKIM passes": (
        "p=reject",
        [spf("temperror"), dkim("pass")],
        [],
        Verdict("pass", "reject", "none"),
    ),
    "SPF unanswered, DKIM of another passes": (
        "p=reject",
        [spf("temperror"), dkim("pass", THEIRS)],
        [],
        Verdict("temperror", "reject", "wait"),
    ),
    "SPF of another unanswered": ("p=reject", [spf("temperror", THEIRS)], [], Verdict("fail", "reject", "reject")),
    "SPF of a subdomain unanswered, strict": (
        "p=reject; aspf=s",
        [spf("temperror", SUB)],
        [],
        Verdict("fail", "reject", "reject"),
    ),
    "key unanswered": ("p=reject", [spf("fail")], [OURS], Verdict("temperror", "reject", "wait")),
    "key of a subdomain unanswered": ("p=reject", [spf("fail")], [SUB], Verdict("temperror", "reject", "wait")),
    "key of a subdomain unanswered, strict": (
        "p=reject; adkim=s",
        [NOBODY],
        [SUB],
        Verdict("fail", "reject", "reject"),
    ),
    "key of another unanswered": ("p=reject", [spf("fail")], [THEIRS], Verdict("fail", "reject", "reject")),
    "key unanswered, none": ("p=none", [spf("fail")], [OURS], Verdict("temperror", "none", "none")),
    "key unanswered, SPF passes": ("p=reject", [spf("pass")], [OURS], Verdict("pass", "reject", "none")),
    "DKIM unanswered, as opendkim says it": (
        "p=reject",
        [dkim("temperror")],
        [],
        Verdict("temperror", "reject", "wait"),
    ),
    # Nobody knows the policy.
    "record unanswered": (Unanswered, [spf("fail")], [], Verdict("temperror", "unknown", "wait")),
    "record unanswered, nobody vouches": (Unanswered, [NOBODY], [], Verdict("temperror", "unknown", "wait")),
    "record unanswered, SPF passes": (Unanswered, [spf("pass")], [], Verdict("temperror", "unknown", "none")),
    "record unanswered, DKIM passes": (Unanswered, [dkim("pass")], [], Verdict("temperror", "unknown", "none")),
    "record unanswered, SPF of a subdomain passes": (
        Unanswered,
        [spf("pass", SUB)],
        [],
        Verdict("temperror", "unknown", "wait"),
    ),
    "record unanswered, another passes": (
        Unanswered,
        [spf("pass", THEIRS)],
        [],
        Verdict("temperror", "unknown", "wait"),
    ),
}


def verdict(record: Any, identities: list[Identity], unanswered: list[str], lot: float = 0) -> Verdict:
    dns = Dns(example__org=[] if record is None else record if record is Unanswered else f"v=DMARC1; {record}")
    return policy.judge(
        OURS,
        identities,
        lambda: dns.discover(OURS),
        lambda counts: any(counts(domain) for domain in unanswered),
        SUFFIXES,
        lot,
    )


@pytest.mark.parametrize("name", VERDICTS)
def test_the_verdict_is(name):
    *case, expected = VERDICTS[name]
    assert verdict(*case) == expected


@given(
    st.sampled_from(["p=reject", "p=quarantine", "p=none", "p=reject; t=y", "p=reject; aspf=s; adkim=s", None]),
    st.lists(
        st.builds(Identity, st.sampled_from(["spf", "dkim"]), st.just("fail"), st.sampled_from([OURS, SUB, THEIRS])),
        max_size=4,
    ),
    st.lists(st.sampled_from([OURS, SUB, THEIRS]), max_size=2),
    st.floats(0, 99.9),
    st.data(),
)
def test_who_waits_could_have_passed_and_would_have_been_refused(record, identities, unanswered, lot, data):
    """Whatever is unanswered: `wait` only between a refusal if all that is missing failed, and a pass if it passed."""
    missing = [data.draw(st.booleans()) for _identity in identities]

    def told(result: str) -> list[Identity]:
        return [one._replace(result=result) if gone else one for one, gone in zip(identities, missing)]

    found = verdict(record, told("temperror"), unanswered, lot)
    failed = verdict(record, told("fail"), [], lot)
    passed = verdict(record, told("pass") + [dkim("pass", domain) for domain in unanswered], [], lot)
    waits = failed.disposition != "none" and passed.result == "pass"
    assert (found.disposition == "wait") == waits
    if not waits:
        assert found.disposition == failed.disposition


def test_no_key_is_asked_for_where_it_does_not_decide():
    def never(_counts: Any) -> bool:
        raise AssertionError("asked for a key")

    for record, identities in (("p=reject", [spf("pass")]), (None, [NOBODY]), ("p=reject", [spf("temperror")])):
        dns = Dns(example__org=[] if record is None else f"v=DMARC1; {record}")
        policy.judge(OURS, identities, lambda dns=dns: dns.discover(OURS), never, SUFFIXES, 0)
