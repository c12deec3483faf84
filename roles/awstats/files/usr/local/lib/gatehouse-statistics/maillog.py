# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From Postfix' log to the nine columns that awstats reads for mail. One pass; only the standard library.

A line comes out for each recipient: once when it was refused, once when it was handed over or given up, and once when
it had to wait for the first time. The columns are time, sender, recipient, client, next hop, "SMTP", "-", code, octets.

Sources: postfix(1), smtpd(8), cleanup(8), qmgr(8), postscreen(8), and what they write in Postfix 3.5 to 3.10; RFC 3164
for the time stamp, which has no year; awstats' LogFormat
"%time2 %email %email_r %host %host_r %method %url %code %bytesd".
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import functools
import re
from collections.abc import Iterable, Iterator
from typing import Dict, NamedTuple, Optional, Tuple

NULL = "<>"  # the sender of a bounce
UNKNOWN = "-"
REMEMBERED = 100_000  # messages; each is forgotten when Postfix removes it, or when so many came after it
NAMED, SHOWN = 10, 500  # lines that could not be read, and characters of each

STAMP = 15  # characters
_STAMP = re.compile(r"(?P<month>[A-Z][a-z]{2}) (?P<day>[ \d]\d) (?P<time>\d\d:\d\d:\d\d)")
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
# Most lines are matched once: what says something of a message, and what else a line may be.
_EVENT = re.compile(
    rf".{{{STAMP}}} \S+ postfix/(?:[^\s\[:/]+/)*(?P<program>[^\s\[:/]+)\[\d+\]: "
    r"(?P<id>[0-9A-F]{5,}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,}|NOQUEUE): "
    r"(?P<event>(?P<kind>client=|from=<|to=<|removed$|reject: |milter-reject: ).*)"
)
_LINE = re.compile(rf".{{{STAMP}}} \S+ [^\s\[:]+(?:\[\d+\])?: ")
_CLIENT = re.compile(r"client=(?P<client>\S+?\[\S+?\])(?:,|$)")
_FROM = re.compile(r"from=<(?P<sender>.*)>, size=(?P<size>\d+), nrcpt=\d+")
_EXPIRED = re.compile(r"from=<.*>, status=(?:expired|force-expired), ")
_DELIVERY = re.compile(
    r"to=<(?P<to>.*?)>, (?:orig_to=<(?P<original>.*?)>, )?relay=(?P<relay>[^,]+), .*?"
    r"dsn=(?P<dsn>[245])\.\d+\.\d+, status=(?P<status>\w+)(?: \((?P<text>.*)\))?"
)
# What clients write stands in refusals as it came, so these are taken apart step by step: no expression tries twice.
_HOST = r"[^\s\[]*\[[^\s\]]+\]"
_REFUSED = re.compile(rf"(?:milter-)?reject: [A-Z-]+ from (?P<client>{_HOST})(?::\d+)?: (?:(?P<code>[45]\d\d) )?")
_FILTERED = re.compile(r"reject: (?:header|mime-header|nested-header|body|content) ")  # cleanup(8), by its own tables
_STATUS = re.compile(r"([45])\.\d+\.\d+ ")
_REASON = re.compile(r">: ([45]\.\d+\.\d+ )")
# Before there is a sender; whoever goes on is refused once more, and counted then.
_TOO_EARLY = re.compile(r"(?:milter-)?reject: (?:CONNECT|HELO|EHLO|STARTTLS|AUTH|VRFY|ETRN|UNKNOWN) from ")
_SAID = re.compile(r"said: (?P<code>[245]\d\d)[ -]")
_UNSAFE = re.compile(r"[^!#$%()*+,./0-9:;=?@A-Z\[\]^_a-z{|}~-]")  # in a word and in HTML


class Record(NamedTuple):
    """One line for awstats. Addresses as Postfix wrote them; a code of SMTP; octets, 0 where they are not known."""

    when: datetime.datetime
    sender: str
    recipient: str
    client: str
    relay: str
    code: int
    size: int

    def __str__(self) -> str:
        when, sender, *words, code, size = self
        words.insert(0, "" if sender == NULL else sender)
        if _UNSAFE.search("".join(words)):
            words = [_UNSAFE.sub("_", word) for word in words]
        # One word each, without what a browser would take for more than text: awstats writes it into a page.
        return f"{when} {words[0] or NULL} {words[1]} {words[2]} {words[3]} SMTP - {code} {size}"


@dataclasses.dataclass
class Message:
    """What is known of a message that is on its way."""

    client: str = UNKNOWN
    sender: str = UNKNOWN
    size: int = 0
    waiting: set[str] = dataclasses.field(default_factory=set)


#: By queue id, the oldest first.
Messages = Dict[str, Message]
Columns = Tuple[str, str, str, str, int, int]


@dataclasses.dataclass
class Unread:
    """Lines of Postfix that should have said something and could not be read: how many, and the first of them."""

    count: int = 0
    lines: list[str] = dataclasses.field(default_factory=list)

    def add(self, line: str) -> None:
        self.count += 1
        if len(self.lines) < NAMED:
            self.lines.append(line[:SHOWN])


def year_of(month: int, day: int, now: datetime.date) -> int:
    """The year of a stamp that has none: this one, unless that were more than a day ahead."""
    try:
        ahead = datetime.date(now.year, month, day) > now + datetime.timedelta(days=1)
    except ValueError:  # 29 February
        return now.year - 1
    return now.year - 1 if ahead else now.year


@functools.lru_cache(maxsize=64)  # a busy log has many lines a second
def when(stamp: str, now: datetime.date) -> Optional[datetime.datetime]:
    """The time of a line by its first characters; None where these are no stamp."""
    parts = _STAMP.fullmatch(stamp)
    try:
        month, day = _MONTHS.index(parts["month"]) + 1, int(parts["day"])
        date = datetime.date(year_of(month, day, now), month, day)
        return datetime.datetime.combine(date, datetime.time.fromisoformat(parts["time"]))
    except (TypeError, ValueError):
        return None


def records(
    lines: Iterable[str], now: datetime.date, unread: Unread, messages: Optional[Messages] = None
) -> Iterator[Record]:
    """The records of a log that ends at ``now``, in the log's order; what cannot be read is added to ``unread``.

    ``messages`` are those that were on their way when the log was read before, and afterwards those that are now.
    """
    messages = collections.OrderedDict() if messages is None else messages
    for line in lines:
        entry = _EVENT.match(line)
        if entry is None:
            if _LINE.match(line) is None:
                unread.add(line)
            continue
        program, number, event, kind = entry.groups()
        try:
            if kind == "to=<":
                found = _delivered(number, event, messages)
            elif kind == "client=":
                found = _begun(number, event, messages)
            elif kind == "from=<":
                found = _queued(number, event, messages)
            elif kind == "removed":
                messages.pop(number, None)
                continue
            else:
                found = _refused(number, event, program, messages)
            if not found:
                continue
            time = when(line[:STAMP], now)
            if time is None:
                raise ValueError(line)
        except ValueError:
            unread.add(line)
            continue
        for columns in found:
            yield Record(time, *columns)


# What an event says of its message, and the columns after the time of what it makes of it; ValueError where it cannot
# be read.


def _refused(number: str, event: str, program: str, messages: Messages) -> list[Columns]:
    if _TOO_EARLY.match(event):
        return []
    if _FILTERED.match(event):  # what it was, the client, the addresses, and the reason at the end
        before, envelope = _cut(event, event.rfind("; from=<"))
        client = before.rpartition(" from ")[2]
        if not re.fullmatch(_HOST, client):
            raise ValueError(event)
        code = _class("".join(_REASON.findall(envelope)[-1:]))
    else:
        refused = _match(_REFUSED, event)
        client = refused["client"]
        text, envelope = _cut(event[refused.end() :], event.find("; from=<", refused.end()) - refused.end())
        code = int(refused["code"] or _class(text))
    sender, recipient = _addresses(envelope)
    size = messages[number].size if number in messages else 0
    if program == "cleanup":
        messages.pop(number, None)
    return [(sender or NULL, recipient, client, UNKNOWN, code, size)]


def _cut(text: str, place: int) -> tuple[str, str]:
    """What is before the envelope, and the envelope."""
    if place < 0:
        raise ValueError(text)
    return text[:place], text[place + len("; from=<") :]


def _addresses(envelope: str) -> tuple[str, str]:
    """Sender and recipient of "SENDER> to=<RECIPIENT> proto=", with commas where postscreen wrote it; none at MAIL."""
    addresses, proto, _rest = envelope.partition(" proto=")
    if not proto:
        raise ValueError(envelope)
    sender, to, recipient = addresses.rstrip(",").rstrip(">").replace(">, to=<", "> to=<").partition("> to=<")
    return sender, recipient if to else UNKNOWN


def _begun(number: str, event: str, messages: Messages) -> list[Columns]:
    client = _match(_CLIENT, event)["client"]
    messages.pop(number, None)  # a short queue id comes again
    _message(number, messages).client = client
    return []


def _queued(number: str, event: str, messages: Messages) -> list[Columns]:
    message = _message(number, messages)
    if _EXPIRED.match(event):
        return [
            (message.sender, recipient, message.client, UNKNOWN, 554, message.size)
            for recipient in sorted(message.waiting)
        ]
    sender, size = _match(_FROM, event).groups()
    message.sender, message.size = sender or NULL, int(size)
    return []


def _delivered(number: str, event: str, messages: Messages) -> list[Columns]:
    recipient, _original, relay, dsn, status, text = _match(_DELIVERY, event).groups()
    if status in ("deliverable", "undeliverable"):  # a probe, and no mail (verify(8))
        return []
    message = _message(number, messages)
    if status in ("deferred", "SOFTBOUNCE"):
        if recipient in message.waiting:
            return []
        message.waiting.add(recipient)
    else:
        message.waiting.discard(recipient)
    return [(message.sender, recipient, message.client, relay, _code(dsn, text or ""), message.size)]


def _match(pattern: re.Pattern[str], event: str) -> re.Match[str]:
    found = pattern.match(event)
    if found is None:
        raise ValueError(event)
    return found


def _message(number: str, messages: Messages) -> Message:
    message = messages.get(number)
    if message is None:
        message = messages[number] = Message()
        if len(messages) > REMEMBERED:
            messages.popitem(last=False)
    return message


def _class(text: str) -> int:
    """The code of a refusal that is written by its enhanced status alone, as milters' are: 550 or 451."""
    status = _match(_STATUS, text)
    return 550 if status[1] == "5" else 451


def _code(dsn: str, text: str) -> int:
    """What the next hop said; where Postfix found the reason itself, the code that SMTP has for the class."""
    if dsn == "2":
        return 250
    said = _SAID.search(text)
    return int(said["code"]) if said and said["code"][0] != "2" else {"4": 451, "5": 554}[dsn]
