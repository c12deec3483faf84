"""Envelopes and From fields made of the grammar's odd corners: whoever a verdict `pass` is written for, an independent
reading of what was delivered agrees that it is from there."""

from __future__ import annotations

import email
import email.policy
import email.utils
import re

import dkim
import dns.message
import dns.query
import dns.rdatatype
import pytest
import spf
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

EACH = 25  # samples a batch
DOMAINS = ("sender.example", "reject.example", "quarantine.example", "none.example", "example.org")
ATOM = st.sampled_from(["a", "carol", "x+y", "a..b", "o'hara", "{x}", "SRS0=h=t=reject.example=bob", "=?utf-8?q?a?="])
INSIDE = st.sampled_from(
    [
        "",
        "a",
        " ",
        "@",
        "a@reject.example",
        ">",
        "<",
        ",",
        ";",
        "\\\\",
        '\\"',
        "\\@",
        "(",
        ":",
        "a@example.org>",
        "ä",
        "\t",
    ]
)
QUOTED = st.lists(INSIDE, max_size=3).map(lambda parts: '"' + "".join(parts) + '"')
DOMAIN = st.one_of(
    st.sampled_from(DOMAINS),
    st.sampled_from(DOMAINS).map(str.upper),
    st.sampled_from(
        ["sender.example.", "x.reject.example", "reject.example@sender.example", "[198.51.100.66]", "sénder.example"]
    ),
    st.sampled_from(DOMAINS).map(lambda domain: f"(reject.example){domain}"),
)
SPACE = st.sampled_from(["", "", "", " ", "\t", "\r\n ", "(x)", "(a@reject.example)", "(\\))"])
ADDRESS = st.tuples(st.one_of(ATOM, QUOTED), SPACE, DOMAIN).map(lambda parts: f"{parts[0]}@{parts[1]}{parts[2]}")
WORD = st.one_of(
    QUOTED,
    SPACE,
    ADDRESS,
    st.sampled_from(
        [
            "Carol",
            "Cärol",
            "C.",
            "=?utf-8?q?ceo=40example.org?=",
            "ceo@example.org",
            ":",
            ",",
            ";",
            "<",
            ">",
            "\\",
            "\0",
        ]
    ),
)
BOX = st.one_of(
    ADDRESS,
    st.tuples(st.lists(WORD, max_size=2).map(" ".join), SPACE, ADDRESS).map(lambda p: f"{p[0]}{p[1]}<{p[2]}>"),
    st.tuples(ADDRESS, ADDRESS).map(lambda pair: f"<@{pair[0]}:{pair[1]}>"),
)
FROM = st.one_of(
    st.tuples(SPACE, BOX, SPACE).map("".join),
    st.lists(BOX, min_size=2, max_size=3).map(", ".join),
    st.lists(BOX, max_size=2).map(lambda boxes: f"us:{', '.join(boxes)};"),
)
PATH = st.one_of(
    st.just("<>"),
    ADDRESS.map(lambda address: f"<{address}>"),
    st.tuples(ADDRESS, ADDRESS).map(lambda pair: f"<@{pair[0]}:{pair[1]}>"),
    st.tuples(SPACE, ADDRESS, SPACE).map(lambda parts: "<" + "".join(parts) + ">"),
)
RESULT = "Authentication-Results: {id}; dkim=pass header.d={d} header.i=@{d} header.a=rsa-sha256 header.s=s1 header.b=A"
FORGED = st.sampled_from(["", "", RESULT])
SIGNED_BY = st.sampled_from([*DOMAINS[:4], None, None])
CLIENT = st.sampled_from([66, 66, 69])
ODD = st.tuples(PATH, FROM, FORGED, SIGNED_BY, CLIENT)


def near(domain):
    """Samples that are of one domain, as far as their odd local parts and names let them be."""
    address = st.one_of(ATOM, QUOTED).map(lambda local: f"{local}@{domain}")
    name = st.lists(st.one_of(QUOTED, SPACE, st.sampled_from(["Carol", "Cärol", "C."])), max_size=2).map(" ".join)
    box = st.tuples(name, address).map(lambda parts: f"{parts[0]}<{parts[1]}>")
    return st.tuples(address.map(lambda one: f"<{one}>"), st.one_of(address, box), FORGED, SIGNED_BY, CLIENT)


SAMPLE = st.one_of(ODD, st.sampled_from(DOMAINS[:4]).flatmap(near))
FEW = {"max_examples": 4, "deadline": None, "database": None, "phases": [Phase.generate]}
MANY = {**FEW, "max_examples": 40}
CHECKS = {"suppress_health_check": list(HealthCheck)}


@pytest.fixture(scope="module")
def independent(lab):
    """independent(message as delivered, client's address): the organizational domains that vouch for it, read anew."""

    def ask(name, qtype, _strict=True, timeout=5):
        question = dns.message.make_query(name, qtype)
        answer = dns.query.tcp(question, lab["ns.example.net"].lab_address4, timeout=timeout)
        wanted = dns.rdatatype.from_text(qtype)
        for record in (record for rrset in answer.answer if rrset.rdtype == wanted for record in rrset):
            yield (name, qtype), record.strings if qtype == "TXT" else record.to_text()

    spf.DNSLookup = ask

    def organizational(domain):
        return ".".join(domain.lower().split(".")[-2:])

    def read(text, client):
        try:
            shown = email.message_from_bytes(text, policy=email.policy.default)["From"].addresses
            authors = {address.domain.lower() for address in shown}
        except AttributeError:  # of its own, at some quoted names; its older reader knows them
            plain = email.utils.getaddresses([str(email.message_from_bytes(text)["From"])])
            authors = {address.rpartition("@")[2].lower() for _name, address in plain}
        path = re.search(rb"^Return-Path: <(.*)>\r$", text, re.M)[1].decode("utf-8", "surrogateescape")
        domains = set()
        sender = path.rpartition("@")[2] if path else "internet.sender.example"
        if spf.query(client, f"x@{sender}", "internet.sender.example").check()[0] == "pass":
            domains.add(organizational(sender))
        for index in range(text.count(b"DKIM-Signature:")):
            verifier = dkim.DKIM(text)
            try:
                if verifier.verify(index, dnsfunc=lambda name, timeout=5: b"".join(next(ask(name.decode(), "TXT"))[1])):
                    domains.add(organizational(verifier.domain.decode()))
            except (dkim.ValidationError, StopIteration):
                continue
        return authors, domains

    return read, organizational


def offered(samples, lab, mail, gateway, message, signer):
    """{mark: (sample, text)}; what was signed is signed by somebody who may not be whom From names."""
    found = {}
    for path, author, forged, domain, octet in samples:
        mark = mail.new_id()
        lines = [line for line in (forged.format(id=gateway.name, d="example.org"), f"From: {author}") if line]
        text = message(mark, lines)
        found[mark] = (
            path.replace("\r\n", ""),
            signer.sign(text, domain) if domain and "\0" not in text else text,
            octet,
        )
    return found


def look_at(samples, lab, mail, gateway, message, signer, results, independent):
    """Offer a batch, and compare; the number of verdicts `pass`."""
    read, organizational = independent
    found = offered(samples, lab, mail, gateway, message, signer)
    replies = {}
    for octet in (66, 69):
        batch = {
            mark: (path, "<alice@example.org>", text) for mark, (path, text, come) in found.items() if come == octet
        }
        replies.update(zip(batch, mail.offer(gateway, list(batch.values()), source=lab.stranger(octet))))
    taken = [mark for mark, reply in replies.items() if reply.startswith("250 ")]
    # 450: the sender's domain is not in DNS.
    assert {reply[:9] for reply in replies.values() if reply[0] not in "25"} <= {"450 4.1.8"}
    passes = 0
    for mark, text in mail.stored(taken).items():
        said = re.search(r"dmarc=(\w+) .*header\.from=(\S+)", results(text, gateway))
        if said[1] != "pass":
            continue
        passes += 1
        authors, vouched = read(text, lab.stranger(found[mark][2]))
        assert authors == {said[2]}, (found[mark], authors)
        assert organizational(said[2]) in vouched, (found[mark], vouched)
    return passes


@pytest.fixture(scope="module")
def compare(lab, mail, message, signer, results, independent, published, no_limits):
    def run(profile, gateway):
        passes = []

        @settings(**profile, **CHECKS)
        @given(st.lists(SAMPLE, min_size=EACH, max_size=EACH))
        def batch(samples):
            passes.append(look_at(samples, lab, mail, gateway, message, signer, results, independent))

        batch()
        return passes

    return run


def test_who_passes_is_who_it_is_from(gateway, compare):
    assert sum(compare(FEW, gateway)) > 0  # the control: verdicts were compared


@pytest.mark.stress
def test_who_passes_is_who_it_is_from_two_thousand_times(gateway, compare):
    assert sum(compare(MANY, gateway)) > 0
