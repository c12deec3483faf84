"""DNS, asked of a small server on loopback."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import dns.message
import dns.rcode
import dns.rrset
import pytest
from gatehouse_dmarc import resolver
from gatehouse_dmarc.policy import Unanswered

ZONE = {
    "txt.example.": ("TXT", ['"v=spf1 " "-all"', '"other"'], 300),
    "a.example.": ("A", ["192.0.2.1", "192.0.2.2"], 300),
    "aaaa.example.": ("AAAA", ["2001:db8::1"], 300),
    "mx.example.": ("MX", ["10 Mail.example.", "0 ."], 300),
    "1.2.0.192.in-addr.arpa.": ("PTR", ["host.example."], 300),
    "brief.example.": ("TXT", ['"x"'], 0),
    "alias.example.": ("CNAME", ["txt.example."], 300),
    r"\"a\@b\".example.": ("A", ["192.0.2.3"], 300),
    r"b\195\188cher.example.": ("A", ["192.0.2.4"], 300),
}


class Server:
    """Answers by ZONE. empty.* has no records, servfail.* is SERVFAIL, silent.* gets no answer, others are NXDOMAIN."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.asked: list[str] = []

    def run(self) -> None:
        while True:
            data, peer = self.socket.recvfrom(4096)
            if data == b"end":
                return
            query = dns.message.from_wire(data)
            name = query.question[0].name.to_text()
            self.asked.append(name)
            answer = dns.message.make_response(query)
            kind, values, ttl = ZONE.get(name.lower(), ("", [], 0))
            if name.startswith("silent."):
                continue
            if name.startswith("servfail."):
                answer.set_rcode(dns.rcode.SERVFAIL)
            elif values:
                answer.answer.append(dns.rrset.from_text(name, ttl, "IN", kind, *values))
                if kind == "CNAME":
                    target, (kind, values, ttl) = values[0], ZONE[values[0]]
                    answer.answer.append(dns.rrset.from_text(target, ttl, "IN", kind, *values))
            elif not name.startswith("empty."):
                answer.set_rcode(dns.rcode.NXDOMAIN)
            self.socket.sendto(answer.to_wire(), peer)


@pytest.fixture
def server() -> Iterator[Server]:
    there = Server()
    thread = threading.Thread(target=there.run)
    thread.start()
    yield there
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.sendto(b"end", there.socket.getsockname())
    thread.join()
    there.socket.close()


@pytest.fixture
def ours(server) -> resolver.Resolver:
    made = resolver.Resolver(["127.0.0.1"])
    made._resolver.port = server.socket.getsockname()[1]
    return made


ANSWERS = {
    ("txt.example", "TXT"): [(b"v=spf1 -all",), (b"other",)],
    ("TXT.Example", "TXT"): [(b"v=spf1 -all",), (b"other",)],
    ("txt.example.", "TXT"): [(b"v=spf1 -all",), (b"other",)],
    ("alias.example", "TXT"): [(b"v=spf1 -all",), (b"other",)],
    ("a.example", "A"): ["192.0.2.1", "192.0.2.2"],
    ("aaaa.example", "AAAA"): ["2001:db8::1"],
    ("mx.example", "MX"): [(0, "."), (10, "Mail.example")],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["host.example"],
    # The name as it stands: no escapes, any octets.
    ('"a@b".example', "A"): ["192.0.2.3"],
    ("bücher.example", "A"): ["192.0.2.4"],
    ("empty.example", "TXT"): [],
    ("absent.example", "TXT"): [],
    # Names that DNS cannot have.
    ("", "TXT"): [],
    (".", "TXT"): [],
    ("a..example", "TXT"): [],
    (".example", "TXT"): [],
    ("a" * 64 + ".example", "TXT"): [],
    (".".join(["a" * 60] * 5), "TXT"): [],
}


@pytest.mark.parametrize("question", ANSWERS, ids=lambda question: f"{question[0][:30]} {question[1]}")
def test_dns_says(ours, question):
    found = ours.ask(*question)
    assert sorted(found) == sorted(ANSWERS[question])


@pytest.mark.parametrize("name", ["servfail.example", "silent.example"])
def test_no_answer_is_no_record(ours, name):
    began = time.monotonic()
    with pytest.raises(Unanswered):
        ours.ask(name, "TXT", 0.3)
    with pytest.raises(Unanswered):
        ours.missing(name, 0.3)
    assert time.monotonic() - began < 2


def test_nobody_is_asked_when_no_time_is_left(ours, server):
    with pytest.raises(Unanswered):
        ours.ask("txt.example", "TXT", 0)
    assert server.asked == []


def test_nobody_listens():
    nowhere = resolver.Resolver(["127.0.0.1"])
    nowhere._resolver.port = 9
    with pytest.raises(Unanswered):
        nowhere.ask("txt.example", "TXT", 0.3)


def test_a_name_is_missing_only_if_nothing_has_it(ours):
    assert ours.missing("absent.example")
    assert not ours.missing("empty.example")
    assert not ours.missing("txt.example")


def test_records_are_kept_and_what_is_absent_is_asked_again(ours, server):
    for _time in range(3):
        ours.ask("txt.example", "TXT")
        ours.ask("TXT.example", "TXT")
        ours.ask("absent.example", "TXT")
        ours.ask("brief.example", "TXT")
    assert server.asked.count("txt.example.") == 1
    assert server.asked.count("absent.example.") == 3
    assert server.asked.count("brief.example.") == 3


def test_no_more_than_so_many_records_are_kept(ours, monkeypatch):
    monkeypatch.setattr(resolver, "ENTRIES", 2)
    for name in ("txt.example", "alias.example", "TXT.example", "a.example"):
        ours.ask(name, "A" if name.startswith("a.") else "TXT")
        assert len(ours._known) <= 2


def test_what_is_large_is_answered_and_not_kept(ours, monkeypatch):
    monkeypatch.setattr(resolver, "LARGEST", 4)
    assert sorted(ours.ask("txt.example", "TXT")) == sorted(ANSWERS["txt.example", "TXT"])
    assert ours._known == {}
