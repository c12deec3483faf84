"""SPF: RFC 7208's suite, and what pyspf would do otherwise."""

from __future__ import annotations

import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import spf
import yaml
from gatehouse_dmarc import sender
from gatehouse_dmarc.policy import Unanswered
from gatehouse_dmarc.reading import sender_of

SOURCES = Path(__file__).parents[4] / ".cache/pyspf"
PATIENCE = 8


@pytest.fixture(autouse=True)
def _pyspf_afterwards(monkeypatch):
    monkeypatch.setattr(spf, "DNSLookup", spf.DNSLookup)


def scenarios() -> list[dict[str, Any]]:
    found = list(SOURCES.glob("pyspf-*.tar.gz"))
    assert found, "`make tools` fetches pyspf's source, which has the suite"
    with tarfile.open(found[0]) as archive:
        name = next(name for name in archive.getnames() if name.endswith("/test/rfc7208-tests.yml"))
        return list(yaml.safe_load_all(archive.extractfile(name).read()))


def suite() -> Iterator[tuple[str, str, dict[str, Any], Zone]]:
    for scenario in scenarios():
        zone = Zone(scenario["zonedata"])
        for name, case in scenario["tests"].items():
            yield scenario["description"], name, case, zone


class Zone:
    """A resolver that has the suite's zone data.

    TIMEOUT alone: no other type of this name is answered. What has type SPF is TXT too, unless TXT records are given.
    """

    def __init__(self, data: dict[str, list[Any]]) -> None:
        self.names = {name.lower(): records for name, records in data.items()}

    def ask(self, name: str, qtype: str, seconds: float) -> list[Any]:
        assert seconds <= PATIENCE
        if any(not 0 < len(label) < 64 for label in name.split(".")):
            return []
        for _hop in range(20):
            records = self.names.get(name.lower(), [])
            typed = [next(iter(record.items())) for record in records if record != "TIMEOUT"]
            if qtype == "TXT" and all(key != "TXT" for key, _value in typed):
                typed = [("TXT" if key == "SPF" else key, value) for key, value in typed]
            values = [value for key, value in typed if key == qtype and value != "NONE"]
            if "TIMEOUT" in values or (not values and "TIMEOUT" in records):
                raise Unanswered("the suite says so")
            alias = dict(typed).get("CNAME")
            if values or not alias:
                return [self.value(qtype, value) for value in values]
            name = alias
        raise Unanswered("a loop of CNAMEs")

    @staticmethod
    def value(qtype: str, value: Any) -> Any:
        if qtype == "TXT":
            return tuple(part.encode() for part in ([value] if isinstance(value, str) else value))
        return tuple(value) if qtype == "MX" else value


def test_the_suite_of_rfc_7208_holds():
    wrong, count = {}, 0
    for description, name, case, zone in suite():
        count += 1
        sender.use(zone.ask)
        # The suite's senders are without brackets.
        _identity, address, domain = sender_of(case["mailfrom"], case["helo"])
        result = sender.check(case["host"], address, case["helo"], "receiver.example") if domain else "none"
        allowed = case["result"] if isinstance(case["result"], list) else [case["result"]]
        if result not in allowed:
            wrong[f"{description}: {name}"] = f"{result}, not {allowed}"
    assert wrong == {}
    assert count == 203


CASES = {
    "the domain behind the last @": (
        '"a@reject.example"@sender.example',
        {"sender.example/TXT": [(b"v=spf1 ip4:192.0.2.1 -all",)], "reject.example/TXT": [(b"v=spf1 -all",)]},
        "pass",
    ),
    "not the domain behind the first": (
        '"a@pass.example"@sender.example',
        {"pass.example/TXT": [(b"v=spf1 +all",)], "sender.example/TXT": [(b"v=spf1 -all",)]},
        "fail",
    ),
    "the local part, with its @": (
        '"a@b"@sender.example',
        {"sender.example/TXT": [(b"v=spf1 exists:%{l}.u.%{o} -all",)], '"a@b".u.sender.example/A': ["127.0.0.2"]},
        "pass",
    ),
    "HELO in a macro": (
        "a@sender.example",
        {
            "sender.example/TXT": [(b"v=spf1 exists:%{h}.h.%{d} -all",)],
            "helo.example.h.sender.example/A": ["127.0.0.2"],
        },
        "pass",
    ),
    "a record in strings": (
        "a@sender.example",
        {"sender.example/TXT": [(b"v=spf1 ip4:192.", b"0.2.1 -a", b"ll")]},
        "pass",
    ),
    "1,000 octets": (
        "a@sender.example",
        {"sender.example/TXT": [(b"v=spf1 " + b"ip4:198.51.100.255 " * 60 + b"ip4:192.0.2.1 -all",)]},
        "pass",
    ),
    "no record": ("a@sender.example", {}, "none"),
    "no answer": ("a@sender.example", {"sender.example/TXT": Unanswered("")}, "temperror"),
    "no answer about an include": (
        "a@sender.example",
        {"sender.example/TXT": [(b"v=spf1 include:b.example -all",)], "b.example/TXT": Unanswered("")},
        "temperror",
    ),
    "no answer behind what passes": (
        "a@sender.example",
        {"sender.example/TXT": [(b"v=spf1 ip4:192.0.2.1 include:b.example -all",)], "b.example/TXT": Unanswered("")},
        "pass",
    ),
    "a record that is wrong": ("a@sender.example", {"sender.example/TXT": [(b"v=spf1 nonsense -all",)]}, "permerror"),
    "two records": ("a@sender.example", {"sender.example/TXT": [(b"v=spf1 +all",), (b"v=spf1 -all",)]}, "permerror"),
    "a record that is not ASCII": ("a@sender.example", {"sender.example/TXT": [(b"v=spf1 \xff -all",)]}, "permerror"),
}


@pytest.mark.parametrize("name", CASES)
def test_spf_says(name):
    address, records, expected = CASES[name]

    def ask(asked: str, qtype: str, _seconds: float) -> list[Any]:
        found = records.get(f"{asked}/{qtype}", [])
        if isinstance(found, Exception):
            raise found
        return found

    sender.use(ask)
    assert sender.check("192.0.2.1", address, "helo.example", "mx1.example.org") == expected


def test_no_question_waits_for_more_than_its_time():
    waits = []

    def ask(_name: str, _qtype: str, seconds: float) -> list[Any]:
        waits.append(seconds)
        return [(b"v=spf1 a mx include:b.example -all",)] if len(waits) == 1 else []

    sender.use(ask)
    sender.check("192.0.2.1", "a@sender.example", "helo.example", "mx1.example.org")
    assert len(waits) > 2
    assert max(waits) <= PATIENCE


HUGE = {
    "a term of many labels": "v=spf1 exists:" + "a." * 4000 + "%{d} -all",
    "a term that is no name": "v=spf1 a:." + "a" * 8000 + "! -all",
    "a long record": "v=spf1 " + "ip4:192.0.2.1 " * 5000 + "-all",
}


@pytest.mark.parametrize("name", HUGE)
def test_a_strangers_record_takes_no_long_time(name):
    sender.use(lambda asked, qtype, _seconds: [(HUGE[name].encode(),)] if qtype == "TXT" else [])
    began = time.process_time()
    assert sender.check("192.0.2.1", "a@sender.example", "mail.sender.example", "mx1.example.org") == "permerror"
    assert time.process_time() - began < 1


def test_a_number_that_is_none_is_an_error_of_the_record():
    record = f"v=spf1 a/{'1' * 480} -all"
    sender.use(lambda asked, qtype, _seconds: [(record.encode(),)] if qtype == "TXT" else ["192.0.2.9"])
    assert sender.check("192.0.2.1", "a@sender.example", "mail.sender.example", "mx1.example.org") == "permerror"


def test_an_honest_long_record_is_read():
    record = "v=spf1 " + "ip4:192.0.2.1 " * 200 + "ip4:192.0.2.2 -all"
    sender.use(lambda asked, qtype, _seconds: [(record.encode(),)] if qtype == "TXT" else [])
    assert sender.check("192.0.2.2", "a@sender.example", "mail.sender.example", "mx1.example.org") == "pass"
