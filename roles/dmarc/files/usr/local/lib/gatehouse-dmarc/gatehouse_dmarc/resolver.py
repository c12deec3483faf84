# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS by this host's resolver, with a small cache of records that exist."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import dns.exception
import dns.flags
import dns.name
import dns.resolver

from gatehouse_dmarc.policy import Unanswered

PATIENCE = 5.0  # seconds for one question
# The host's resolver has a cache; ours spares the way to it while many messages come from one domain.
KEPT = 60.0  # seconds at most, whatever the TTL
ENTRIES = 5000
# What a stranger makes larger is not kept.
MOST = 32  # records
LARGEST = 4096  # octets of their text

_VALUES = {
    "A": lambda record: record.address,
    "AAAA": lambda record: record.address,
    "MX": lambda record: (record.preference, record.exchange.to_text(omit_final_dot=True)),
    "PTR": lambda record: record.target.to_text(omit_final_dot=True),
    "TXT": lambda record: (b"".join(record.strings),),  # a stranger may send thousands of pieces
}


class Resolver:
    """Shared by all threads."""

    def __init__(self, nameservers: Sequence[str]) -> None:
        self._resolver = dns.resolver.Resolver(configure=False)
        self._resolver.nameservers = list(nameservers)
        self._resolver.timeout = PATIENCE
        self._resolver.use_edns(0, 0, 1232)
        self._known: dict[tuple[str, str], tuple[float, list[Any]]] = {}

    def ask(self, name: str, qtype: str, seconds: float = PATIENCE) -> list[Any]:
        """The records of a name: addresses and names as str, MX as (preference, name), TXT as a tuple of one bytes.

        An empty list where the name or the type does not exist, or where DNS cannot have such a name. The name is what
        it says: no search list, no escapes. Raises Unanswered.
        """
        key = (name.lower(), qtype)
        until, records = self._known.get(key, (0.0, []))
        if time.monotonic() < until:
            return records
        answer = self._resolve(name, qtype, seconds)
        if answer is None or answer.rrset is None:
            return []
        records = [_VALUES[qtype](record) for record in answer]
        if len(records) > MOST or sum(len(str(record)) for record in records) > LARGEST:
            return records
        if len(self._known) >= ENTRIES:
            self._known = {}
        self._known[key] = (time.monotonic() + min(answer.rrset.ttl, KEPT), records)
        return records

    def missing(self, name: str, seconds: float = PATIENCE) -> bool:
        """Whether the name does not exist at all (NXDOMAIN, RFC 8020). Raises Unanswered."""
        return self._resolve(name, "A", seconds) is None

    def _resolve(self, name: str, qtype: str, seconds: float) -> dns.resolver.Answer | None:
        if seconds <= 0:
            raise Unanswered("no time left")
        try:
            labels = [label.encode("utf-8", "surrogateescape") for label in name.rstrip(".").split(".")]
            asked = dns.name.Name([*labels, b""])
            return self._resolver.resolve(asked, qtype, search=False, lifetime=seconds, raise_on_no_answer=False)
        except (dns.resolver.NXDOMAIN, dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel):
            return None
        except (dns.exception.DNSException, OSError) as error:
            raise Unanswered(type(error).__name__) from error
