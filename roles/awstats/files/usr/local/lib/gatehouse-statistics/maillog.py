# Copyright: (c) 2026, the gatehouse.mail contributors
# GNU General Public License v3.0 or later (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
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
import re
from collections.abc import Iterable, Iterator

NULL = "<>"  # the sender of a bounce
UNKNOWN = "-"
REMEMBERED = 100_000  # messages; each is forgotten when Postfix removes it, or when so many came after it
NAMED = 10  # lines that could not be read

_LINE = re.compile(
    r"(?P<month>[A-Z][a-z]{2}) {1,2}(?P<day>\d{1,2}) (?P<time>\d\d:\d\d:\d\d) "
    r"\S+ (?P<program>[^\s\[:]+)(?:\[\d+\])?: (?P<said>.*)"
)
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_ENTRY = re.compile(r"(?P<id>[0-9A-F]{5,}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,}|NOQUEUE): (?P<event>.*)")
_CLIENT = re.compile(r"client=(?P<client>\S+?\[\S+?\])(?:,|$)")
_FROM = re.compile(r"from=<(?P<sender>.*)>, size=(?P<size>\d+), nrcpt=\d+")
_EXPIRED = re.compile(r"from=<.*>, status=(?:expired|force-expired), ")
_DELIVERY = re.compile(
    r"to=<(?P<to>.*?)>, (?:orig_to=<(?P<original>.*?)>, )?relay=(?P<relay>[^,]+), .*?"
    r"dsn=(?P<dsn>[245])\.\d+\.\d+, status=(?P<status>\w+)(?: \((?P<text>.*)\))?"
)
_REFUSED = re.compile(
    r"(?:milter-)?reject: [A-Z-]+ from (?P<client>\S*?\[\S+?\])(?::\d+)?: "
    r"(?:(?P<code>[45]\d\d) )?(?P<text>.*); from=<(?P<sender>.*?)>,? (?:to=<(?P<to>.*?)>,? )?proto="
)
# What cleanup(8) refuses by its own tables has the reason at the end.
_FILTERED = re.compile(
    r"reject: (?:header|mime-header|nested-header|body|content) .* from (?P<client>\S*?\[\S+?\]); "
    r"from=<(?P<sender>.*?)> (?:to=<(?P<to>.*?)> )?proto=\S+(?: helo=<.*>)?: (?P<text>[45]\.\d+\.\d+ .*)"
)
# Before there is a sender; whoever goes on is refused once more, and counted then.
_TOO_EARLY = re.compile(r"(?:milter-)?reject: (?:CONNECT|HELO|EHLO|STARTTLS|AUTH|VRFY|ETRN|UNKNOWN) from ")
_SAID = re.compile(r"said: (?P<code>[245]\d\d)[ -]")
_EVENTS = ("client=", "from=<", "to=<", "reject: ", "milter-reject: ")


@dataclasses.dataclass(frozen=True)
class Record:
    """One line for awstats. Addresses as Postfix wrote them; a code of SMTP; octets, 0 where they are not known."""

    when: datetime.datetime
    sender: str
    recipient: str
    client: str
    relay: str
    code: int
    size: int

    def __str__(self) -> str:
        words = (self.sender, self.recipient, self.client, self.relay)
        safe = " ".join(_column(word) for word in words)
        return f"{self.when:%Y-%m-%d %H:%M:%S} {safe} SMTP - {self.code} {self.size}"


@dataclasses.dataclass
class _Message:
    """What is known of a message that is on its way."""

    client: str = UNKNOWN
    sender: str = UNKNOWN
    size: int = 0
    waiting: set[str] = dataclasses.field(default_factory=set)


@dataclasses.dataclass
class Unread:
    """Lines of Postfix that should have said something and could not be read: how many, and the first of them."""

    count: int = 0
    lines: list[str] = dataclasses.field(default_factory=list)

    def add(self, line: str) -> None:
        self.count += 1
        if len(self.lines) < NAMED:
            self.lines.append(line)


def year_of(month: int, day: int, now: datetime.date) -> int:
    """The year of a stamp that has none: this one, unless that were more than a day ahead."""
    try:
        ahead = datetime.date(now.year, month, day) > now + datetime.timedelta(days=1)
    except ValueError:  # 29 February
        return now.year - 1
    return now.year - 1 if ahead else now.year


def records(lines: Iterable[str], now: datetime.date, unread: Unread) -> Iterator[Record]:
    """The records of a log that ends at ``now``, in the log's order; what cannot be read is added to ``unread``."""
    messages: collections.OrderedDict[str, _Message] = collections.OrderedDict()
    for line in lines:
        parts = _LINE.fullmatch(line.rstrip("\n"))
        if parts is None:
            unread.add(line)
            continue
        program = parts["program"].split("/")
        entry = _ENTRY.fullmatch(parts["said"]) if program[0] == "postfix" else None
        if entry is None or not entry["event"].startswith((*_EVENTS, "removed")):
            continue
        try:
            month, day = _MONTHS.index(parts["month"]) + 1, int(parts["day"])
            clock = datetime.time.fromisoformat(parts["time"])
            when = datetime.datetime.combine(datetime.date(year_of(month, day, now), month, day), clock)
            found = list(_read(entry["id"], entry["event"], program[-1], when, messages))
        except ValueError:
            unread.add(line)
            continue
        yield from found


def _read(
    number: str, event: str, program: str, when: datetime.datetime, messages: collections.OrderedDict[str, _Message]
) -> Iterator[Record]:
    """The records of one event. Raises ValueError where it cannot be read."""
    if event == "removed":
        messages.pop(number, None)
    elif _TOO_EARLY.match(event):
        return
    elif event.startswith(("reject: ", "milter-reject: ")):
        refused = _FILTERED.fullmatch(event) or _match(_REFUSED, event)
        code = int(refused.groupdict().get("code") or _class(refused["text"]))
        recipient = refused["to"] if refused["to"] is not None else UNKNOWN
        size = messages[number].size if number in messages else 0
        yield Record(when, refused["sender"] or NULL, recipient, refused["client"], UNKNOWN, code, size)
        if program == "cleanup":
            messages.pop(number, None)
    elif event.startswith("client="):
        _message(number, messages).client = _match(_CLIENT, event)["client"]
    elif event.startswith("from=<"):
        message = _message(number, messages)
        if _EXPIRED.match(event):
            for recipient in sorted(message.waiting):
                yield Record(when, message.sender, recipient, message.client, UNKNOWN, 554, message.size)
            return
        queued = _match(_FROM, event)
        message.sender, message.size = queued["sender"] or NULL, int(queued["size"])
    else:
        delivery = _match(_DELIVERY, event)
        message, recipient = _message(number, messages), delivery["to"]
        waits = delivery["status"] in ("deferred", "SOFTBOUNCE", "undeliverable")
        if waits and recipient in message.waiting:
            return
        (message.waiting.add if waits else message.waiting.discard)(recipient)
        code = _code(delivery["dsn"], delivery["text"] or "")
        yield Record(when, message.sender, recipient, message.client, delivery["relay"], code, message.size)


def _match(pattern: re.Pattern[str], event: str) -> re.Match[str]:
    found = pattern.match(event)
    if found is None:
        raise ValueError(event)
    return found


def _message(number: str, messages: collections.OrderedDict[str, _Message]) -> _Message:
    message = messages.setdefault(number, _Message())
    if len(messages) > REMEMBERED:
        messages.popitem(last=False)
    return message


def _class(text: str) -> int:
    """The code of a refusal that is written by its enhanced status alone, as cleanup(8) does: 550 or 451."""
    if not re.match(r"[45]\.\d+\.\d+ ", text):
        raise ValueError(text)
    return 550 if text[0] == "5" else 451


def _code(dsn: str, text: str) -> int:
    """What the next hop said; where Postfix found the reason itself, the code that SMTP has for the class."""
    said = _SAID.search(text)
    if dsn == "2":
        return 250
    return int(said["code"]) if said and said["code"][0] != "2" else {"4": 451, "5": 554}[dsn]


def _column(word: str) -> str:
    """One word, without what a browser would take for more than text: awstats writes it into a page."""
    return re.sub(r"[^!-~]|[<>\"'&`\\]", "_", word) if word != NULL else NULL
