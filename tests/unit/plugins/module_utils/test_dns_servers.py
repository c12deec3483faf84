# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a name server on loopback, which answers as Knot 3.2 did with the same zone."""

from __future__ import annotations

import socket
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from ansible_collections.gatehouse.mail.plugins.module_utils import _dns_servers
from ansible_collections.gatehouse.mail.plugins.modules import dns_info, dns_update

REJECT = 'text.example.org. 60 IN TXT "v=DMARC1; p=reject"'
# The name asked for: the answer, a line a record
ANSWERS = {
    "example.org": ["example.org. 60 IN SOA ns.example.org. hostmaster.example.org. 1 3600 600 86400 60"],
    "plain.example.org": ['plain.example.org. 60 IN TXT "v=DMARC1; p=reject"'],
    "mx.example.org": ["mx.example.org. 86400 IN MX 10 mx1.example.org."],
    "alias.example.org": ["alias.example.org. 60 IN CNAME text.example.org.", REJECT],
    "two.example.org": [
        "two.example.org. 60 IN CNAME alias.example.org.", "alias.example.org. 60 IN CNAME text.example.org.", REJECT,
    ],
    "away.example.org": ["away.example.org. 60 IN CNAME text.example.net."],
    "circle.example.org": [
        "circle.example.org. 60 IN CNAME round.example.org.", "round.example.org. 60 IN CNAME circle.example.org.",
    ],
    "a.below.example.org": [
        "below.example.org. 60 IN DNAME other.example.org.", "a.below.example.org. 60 IN CNAME a.other.example.org.",
        'a.other.example.org. 60 IN TXT "v=DMARC1; p=reject"',
    ],
    "any.wild.example.org": ["any.wild.example.org. 60 IN CNAME text.example.org.", REJECT],
    "x.any.wild.example.org": ["x.any.wild.example.org. 60 IN CNAME text.example.org.", REJECT],
}  # fmt: skip


@pytest.fixture(scope="module")
def server():
    """A name server over UDP alone, so that nobody can send it an update."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.bind(("127.0.0.1", 0))

    def serve():
        while True:
            octets, client = listening.recvfrom(4096)
            if octets == b"end":
                return
            query = dns.message.from_wire(octets)
            name = query.question[0].name.to_text(omit_final_dot=True)
            response = dns.message.make_response(query)
            response.flags |= dns.flags.AA
            if name not in ANSWERS:
                response.set_rcode(dns.rcode.NXDOMAIN)
            for line in ANSWERS.get(name, ()):
                owner, ttl, klass, kind, data = line.split(maxsplit=4)
                response.answer.append(dns.rrset.from_text(owner, ttl, klass, kind, data))
            listening.sendto(response.to_wire(), client)

    thread = threading.Thread(target=serve)
    thread.start()
    yield _dns_servers.Server("127.0.0.1", *listening.getsockname())
    listening.sendto(b"end", listening.getsockname())
    thread.join()
    listening.close()


class Elsewhere(_dns_servers.Resolver):
    """What the rest of the world has: one text, and a name that nobody can resolve."""

    def __init__(self, *_arguments):
        pass

    def _find(self, name, rdtype):
        if name == "text.example.net":
            return dns.rrset.from_text("text.example.net.", 60, "IN", rdtype, '"v=DMARC1; p=none"')
        raise _dns_servers.ServerError("unresolved", f"{name} {rdtype} cannot be resolved")


ALIASES = {
    "alias": ("CNAME", "alias.example.org", "text.example.org", False, ""),
    "two": ("CNAME", "two.example.org", "text.example.org", False, ""),
    "away": ("CNAME", "away.example.org", "text.example.net", False, ""),
    "circle": ("CNAME", "circle.example.org", "round.example.org", False, "and from there in a circle"),
    "a.below": ("DNAME", "below.example.org", "a.other.example.org", False, ""),
    "any.wild": ("CNAME", "any.wild.example.org", "text.example.org", True, ""),
}


def test_an_alias_is_told_apart_from_a_record_of_its_own_and_a_wildcard_from_both(server):
    places = [(f"{name}.example.org", "TXT") for name in ("plain", "nothing", *ALIASES)]
    found, aliases, ttls = _dns_servers.ask(server, places, Elsewhere(), 5)
    assert {place[0]: tuple(alias) for place, alias in aliases.items()} == {
        f"{name}.example.org": alias for name, alias in ALIASES.items()
    }
    assert ttls == {("plain.example.org", "TXT"): 60}
    texts = {place[0].partition(".example")[0]: ["".join(text) for text in there] for place, there in found.items()}
    reject = ["v=DMARC1; p=reject"]
    assert texts == {
        "plain": reject, "nothing": [], "alias": reject, "two": reject, "away": ["v=DMARC1; p=none"], "circle": [],
        "a.below": reject, "any.wild": reject,
    }  # fmt: skip


def record(name, value):
    return {
        "zone": "example.org", "name": f"{name}.example.org", "type": "TXT", "kind": "DMARC", "ttl": 60, "value": value,
    }  # fmt: skip


def published(server, tmp_path, monkeypatch, *records):
    monkeypatch.setattr(dns_update, "Resolver", _resolver)
    zone = {"name": "example.org", "server": server.address, "port": server.port, "key": "k", "servers": None}
    return dns_update.publish(
        {
            "records": records, "former": [], "zones": [zone], "timeout": 5, "memory": str(tmp_path / "published.json"),
            "keys": {"k": {"algorithm": "hmac-sha256", "secret": "bm90IGEgc2VjcmV0"}},
        },
        False,
        dns_update.os.replace,
    )  # fmt: skip


def _resolver(*_arguments):
    resolver = Elsewhere()
    resolver.addresses_of = lambda name: [name]
    return resolver


@pytest.mark.parametrize("name", ["alias", "two", "away", "circle", "a.below"])
def test_beside_an_alias_nothing_is_sent_nothing_is_said_to_be_changed_and_the_alias_is_named(
    server, tmp_path, monkeypatch, name
):
    result = published(server, tmp_path, monkeypatch, record(name, "v=DMARC1; p=quarantine"))
    assert (result["changed"], result["changes"], result["failures"]) == (False, [], [])
    (line,) = result["aliases"]
    kind, owner, target = ALIASES[name][:3]
    assert f"the {kind} at {owner} leads to {target}" in line
    assert f"remove that {kind}, then add v=DMARC1; p=quarantine" in line


def test_an_alias_to_the_right_text_is_well_and_beside_a_wildcard_the_record_is_sent(server, tmp_path, monkeypatch):
    right = published(server, tmp_path, monkeypatch, record("two", "v=DMARC1; p=reject"))
    assert (right["changed"], right["aliases"], right["failures"]) == (False, [], [])
    (tried,) = published(server, tmp_path, monkeypatch, record("any.wild", "v=DMARC1; p=quarantine"))["failures"]
    assert "server 127.0.0.1 cannot be reached" in tried  # no server takes updates here


def test_what_the_module_says_is_the_same(server, monkeypatch):
    monkeypatch.setattr(dns_info, "Resolver", _resolver)
    zones = [{"name": "example.org", "servers": [f"{server.address}@{server.port}"]}]
    wanted = [record("alias", "v=DMARC1; p=quarantine"), record("two", "v=DMARC1; p=reject")]
    params = {"records": wanted, "former": [], "zones": zones, "resolvers": [], "timeout": 5}
    monkeypatch.setattr(dns_info.Zone, "_check_dnssec", lambda self: None)
    (difference,) = dns_info.check(params)["differences"]
    assert (difference["problem"], difference["name"]) == ("alias", "alias.example.org")
    assert difference["words"] == (
        "alias.example.org: the DMARC record is not to be changed here, since the CNAME at alias.example.org leads to "
        'text.example.org, where "v=DMARC1; p=reject" is found'
    )


def test_the_module_says_by_which_ttl_mx_records_are_known(server, monkeypatch):
    monkeypatch.setattr(dns_info, "Resolver", _resolver)
    monkeypatch.setattr(dns_info.Zone, "_check_dnssec", lambda self: None)
    zones = [{"name": "example.org", "servers": [f"{server.address}@{server.port}"]}]
    mx = {**record("mx", "10 mx1.example.org."), "type": "MX", "kind": "MX"}
    for wanted, ttl in (([record("plain", "v=DMARC1; p=reject"), mx], 86400), ([record("plain", "v=DMARC1")], 0)):
        params = {"records": wanted, "former": [], "zones": zones, "resolvers": [], "timeout": 5}
        assert dns_info.check(params)["mx_ttl"] == ttl
