# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks name servers, and tells them what to change, by dnspython. Every way to fail is a ServerError with words."""

from __future__ import annotations

import errno
import ipaddress
import traceback
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Optional

from ansible_collections.gatehouse.mail.plugins.module_utils import _dns
from ansible_collections.gatehouse.mail.plugins.module_utils._dns import Alias, Place, Strings

try:
    import dns.dnssec
    import dns.exception
    import dns.flags
    import dns.message
    import dns.name
    import dns.query
    import dns.rcode
    import dns.rdataclass
    import dns.rdatatype
    import dns.resolver
    import dns.rrset
    import dns.tsigkeyring
    import dns.update
except ImportError:
    DNSPYTHON_ERROR: Optional[str] = traceback.format_exc()
else:
    DNSPYTHON_ERROR = None

AT_ONCE = 20  # questions under way to one server
CHANGES = 200  # names changed by one update message, whose limit is 64 KiB
PAYLOAD = 1232  # octets of an answer over UDP: what passes without fragments


class ServerError(Exception):
    """A server did not say what it was asked for: a problem in one word, and the same for people."""

    def __init__(self, problem: str, words: str) -> None:
        super().__init__(words)
        self.problem = problem
        self.words = words


class Server(NamedTuple):
    """An authoritative server, as its name (or address) and one of its addresses."""

    name: str
    address: str
    port: int = 53

    def __str__(self) -> str:
        where = self.address if self.port == 53 else f"{self.address}@{self.port}"
        return where if self.name == self.address else f"{self.name} ({where})"


def _exchange(message: Any, server: Server, timeout: float, tcp: bool = False) -> Any:
    """The answer, or ServerError."""
    try:
        if tcp:
            return dns.query.tcp(message, server.address, timeout=timeout, port=server.port)
        answer, _over_tcp = dns.query.udp_with_fallback(message, server.address, timeout=timeout, port=server.port)
        return answer
    except dns.exception.Timeout:
        raise ServerError("timeout", f"did not answer within {timeout:g} s") from None
    except OSError as error:
        far = error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)
        raise ServerError(
            "no route" if far else "unreachable", f"cannot be reached: {error.strerror or error}"
        ) from None
    except dns.exception.DNSException as error:  # an answer that is none, or whose signature is wrong
        raise ServerError("garbage", f"did not answer in DNS: {type(error).__name__}: {error}") from None


def _authoritative(server: Server, name: str, rdtype: str, timeout: float, dnssec: bool = False) -> Any:
    query = dns.message.make_query(name, rdtype, use_edns=0, want_dnssec=dnssec, payload=PAYLOAD)
    query.flags &= ~dns.flags.RD
    answer = _exchange(query, server, timeout)
    if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        problem = dns.rcode.to_text(answer.rcode()).lower()
        raise ServerError(problem, f"answers {problem.upper()}")
    if not answer.flags & dns.flags.AA:
        raise ServerError("lame", "knows nothing of the zone, though it should")
    return answer


def serial(server: Server, zone: str, timeout: float) -> int:
    """The serial of the zone at the server."""
    for rrset in _authoritative(server, zone, "SOA", timeout).answer:
        if rrset.rdtype == dns.rdatatype.SOA and rrset.name == dns.name.from_text(zone):
            return rrset[0].serial
    raise ServerError("lame", "has no such zone")


def ask(
    server: Server, places: Sequence[Place], resolver: Resolver, timeout: float
) -> tuple[dict[Place, list[Strings]], dict[Place, Alias], dict[Place, int]]:
    """What the server has at each place, at which of them that is another name's, and the TTL of what is not;
    ServerError when it stops to answer."""

    def one(place: Place) -> tuple[list[Strings], Optional[Alias], int]:
        answer = _authoritative(server, *place, timeout)
        cname = _cname(answer, place[0])
        if cname is None:
            own = answer.resolve_chaining().answer
            return _strings(own) if own else [], None, own.ttl if own else 0
        found, target, trouble = resolver.followed(answer, place[1], cname)
        dname = _dname(answer, place[0])
        if dname:
            return found, Alias("DNAME", dname, target, trouble=trouble), 0
        # Below a name that is there no wildcard from above has effect (RFC 4592 2.2.1), below one that is not it has.
        below = f"x.{place[0]}"
        wildcard = _cname(_authoritative(server, below, place[1], timeout), below) == cname
        return found, Alias("CNAME", place[0], target, wildcard, trouble), 0

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = dict(zip(places, pool.map(one, places)))
    return (
        {place: found for place, (found, _alias, _ttl) in answers.items()},
        {place: alias for place, (_found, alias, _ttl) in answers.items() if alias},
        {place: ttl for place, (_found, _alias, ttl) in answers.items() if ttl},
    )


def _cname(answer: Any, name: str) -> Optional[str]:
    """Where a CNAME of this name leads; a server makes one of a DNAME above (RFC 6672 3.1)."""
    rrset = answer.get_rrset(answer.answer, dns.name.from_text(name), dns.rdataclass.IN, dns.rdatatype.CNAME)
    return rrset[0].target.to_text(omit_final_dot=True) if rrset else None


def _dname(answer: Any, name: str) -> Optional[str]:
    """The name above this one that has a DNAME."""
    full = dns.name.from_text(name)
    owners = [
        rrset.name
        for rrset in answer.answer
        if rrset.rdtype == dns.rdatatype.DNAME and full != rrset.name and full.is_subdomain(rrset.name)
    ]
    return owners[0].to_text(omit_final_dot=True) if owners else None


def _strings(rrset: Any) -> list[Strings]:
    """Each record of a set as text: of TXT its strings, of others the RDATA."""
    if rrset.rdtype == dns.rdatatype.TXT:
        return [tuple(map(_dns.escaped, rdata.strings)) for rdata in rrset]
    return [(rdata.to_text().lower() if rrset.rdtype != dns.rdatatype.CAA else rdata.to_text(),) for rdata in rrset]


class Resolver:
    """The way to servers that are not known by address yet."""

    def __init__(self, addresses: Sequence[str], timeout: float) -> None:
        self._resolver = dns.resolver.Resolver(configure=not addresses)
        if addresses:
            self._resolver.nameservers = list(addresses)
        self._resolver.lifetime = self._resolver.timeout = timeout

    def _find(self, name: str, rdtype: str) -> Any:
        """The set of records, or None where there is none; ServerError where nobody can say."""
        try:
            return self._resolver.resolve(name, rdtype, raise_on_no_answer=False, search=False).rrset
        except dns.resolver.NXDOMAIN:
            return None
        except dns.exception.DNSException as error:
            raise ServerError("unresolved", f"{name} {rdtype} cannot be resolved: {error}") from None

    def zone_of(self, name: str) -> str:
        """The zone that a name really lies in; ServerError where that would be a top level."""
        try:
            zone = dns.resolver.zone_for_name(name, resolver=self._resolver).to_text().rstrip(".")
        except dns.exception.DNSException as error:
            raise ServerError("unresolved", f"its zone cannot be found: {error}") from None
        if "." not in zone:
            raise ServerError("no zone", "is not in DNS: its parent has no delegation for it")
        return zone

    def servers_of(self, zone: str) -> list[str]:
        """The names of the zone's servers."""
        found = self._find(zone, "NS")
        if found is None:
            raise ServerError("no zone", "has no NS records")
        return sorted(rdata.target.to_text(omit_final_dot=True) for rdata in found)

    def addresses_of(self, server: str) -> list[str]:
        """The addresses of a server by name, or the one that its name is."""
        try:
            return [str(ipaddress.ip_address(server))]
        except ValueError:
            found = [self._find(server, rdtype) for rdtype in ("A", "AAAA")]
            return [rdata.address for rrset in found if rrset for rdata in rrset]

    def followed(self, answer: Any, rdtype: str, target: str) -> tuple[list[Strings], str, str]:
        """The records to which the alias of an authoritative answer leads, the name that has them, and why nobody can
        say, if so. target: the first name on the way."""
        try:
            chain = answer.resolve_chaining()
            rrset = chain.answer
            end = chain.canonical_name
            if rrset is None:
                target = end.to_text(omit_final_dot=True)
                rrset = self._find(target, rdtype)
                end = rrset.name if rrset else end
        except dns.message.ChainTooLong:
            return [], target, "and from there in a circle"
        except ServerError as error:
            return [], target, f"of which nothing is known: {error.words}"
        return _strings(rrset) if rrset else [], end.to_text(omit_final_dot=True), ""

    def dnssec(self, server: Server, zone: str, timeout: float) -> str:
        """Whether the zone is signed: "signed", "unsigned", "no DS" (signed, and the parent does not say so), or
        "broken", when resolvers that validate will not believe it."""
        answer = _authoritative(server, zone, "DNSKEY", timeout, dnssec=True)
        name = dns.name.from_text(zone)
        own = (answer.answer, name, dns.rdataclass.IN)
        keys = answer.get_rrset(*own, dns.rdatatype.DNSKEY)
        signatures = answer.get_rrset(*own, dns.rdatatype.RRSIG, dns.rdatatype.DNSKEY)
        anchors = self._find(zone, "DS")
        if not anchors:
            return "no DS" if keys else "unsigned"
        if not keys or not signatures:
            return "broken"
        try:
            trusted = [key for key in keys for ds in anchors if dns.dnssec.make_ds(name, key, ds.digest_type) == ds]
            dns.dnssec.validate(
                keys, signatures, {name: dns.rrset.from_rdata_list(name, 0, trusted)} if trusted else {}
            )
        except dns.exception.DNSException:
            return "broken"
        return "signed"


def update(
    server: Server,
    zone: str,
    key: Mapping[str, str],
    changes: Iterable[Mapping[str, Any]],
    timeout: float,
) -> None:
    """Send what differences say to add and to remove, and nothing else (RFC 2136); ServerError if it is refused.

    key: name, algorithm and secret of the TSIG key.
    """
    keyring = dns.tsigkeyring.from_text({key["name"]: (key["algorithm"], key["secret"])})
    pending = list(changes)
    while pending:
        some, pending = pending[:CHANGES], pending[CHANGES:]
        message = dns.update.UpdateMessage(zone, keyring=keyring)
        for change in some:
            for strings in change["remove"]:
                rdata = '"' + '" "'.join(strings) + '"' if change["type"] == "TXT" else strings[0]
                message.delete(change["name"] + ".", change["type"], rdata)
            for record in change["add"]:
                rdata = _dns.quoted(record["value"]) if change["type"] == "TXT" else record["value"]
                message.add(change["name"] + ".", record["ttl"], change["type"], rdata)
        answer = _exchange(message, server, timeout, tcp=True)
        if answer.rcode() != dns.rcode.NOERROR:
            said = dns.rcode.to_text(answer.rcode())
            raise ServerError(said.lower(), f"refused the update: {said}")
