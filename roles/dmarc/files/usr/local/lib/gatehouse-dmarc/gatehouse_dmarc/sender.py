# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SPF (RFC 7208), by pyspf with a resolver of ours: its own would use resolv.conf's search list, and wait for long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Callable

import spf

from gatehouse_dmarc.policy import Unanswered

ONE = 8  # seconds for one question
ALL = 20  # seconds for all of a message (RFC 7208 4.6.4)
# Octets of a record, and of one of its terms. pyspf's time grows with the square of them, and meanwhile nobody else is
# judged.
LONGEST = 8192
LONGEST_TERM = 512


def use(ask: Callable[[str, str, float], Sequence[Any]]) -> None:
    """Have pyspf ask this function: ask(name, type, seconds) gives the records, or raises Unanswered."""

    def look_up(name: str, qtype: str, _strict: object = True, timeout: float = ONE) -> Iterator[Any]:
        try:
            # With a limit for all pyspf forgets the one for each.
            records = ask(name, qtype, min(timeout, ONE))
        except Unanswered as error:
            raise spf.TempError(f"DNS: {error}") from error
        if qtype == "TXT":
            for text in map(b"".join, records):
                if text[:7].lower() == b"v=spf1 " and not _is_short(text):
                    raise spf.PermError("a record or a term is too long")
        # Under the very name that was asked for, or pyspf does not find it again.
        return iter([((name, qtype), record) for record in records])

    spf.DNSLookup = look_up


def _is_short(record: bytes) -> bool:
    return len(record) <= LONGEST and max(map(len, record.split(b" "))) <= LONGEST_TERM


def check(address: str, sender: str, helo: str, receiver: str) -> str:
    """SPF's result for a client's address: none, neutral, pass, fail, softfail, temperror, permerror (RFC 7208 2.6).

    sender is an address whose domain stands behind its last @.
    """
    query = spf.query(address, sender, helo, receiver=receiver, timeout=ONE, querytime=ALL)
    # pyspf divides at the first @.
    query.l, _at, query.o = sender.rpartition("@")
    query.d = query.o
    try:
        return query.check()[0]
    except ValueError:  # pyspf's own, at a number that is none
        return "permerror"
