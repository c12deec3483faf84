"""A million lines of the mail log: the converter against a loop that splits each line, a whole update, and its memory.

The log is what a gateway writes: eleven lines a message that is handed over, three a client that is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import measure
from throwaway import host

ROLE = Path(__file__).resolve().parents[2] / "roles/awstats"
LIBRARY = "/usr/local/lib/gatehouse-statistics"
LINES = 1_000_000
SHARE = 8  # of what splitting takes
SECONDS, MEMORY = 180, 256  # of an update; MB of the largest of its processes
NAMES = {"awstats_site_domain": "mx1.example.org", "__awstats_lang": "/usr/share/awstats/lang"}
SETTINGS = {
    "name": "mx1.example.org", "user": "", "log": "/root/log/mail.log", "state": "/root/state/history",
    "pages": "/root/pages", "configuration": "/root", "awstats": "/usr/lib/cgi-bin/awstats.pl",
    "build": "/usr/share/awstats/tools/awstats_buildstaticpages.pl", "icons": "/usr/share/awstats/icon",
}  # fmt: skip
SPLIT = """
for line in open("/root/log/mail.log"):
    line.split()
"""
CONVERT = f"""
import datetime, sys
sys.path.insert(0, "{LIBRARY}")
import maillog
unread = maillog.Unread()
for record in maillog.records(open("/root/log/mail.log"), datetime.date.today(), unread):
    str(record)
assert unread.count == 0, unread.lines
"""
UPDATE = f"""
import resource, sys
sys.path.insert(0, "{LIBRARY}")
import counting
assert counting.main("/root/settings.json", "update") is None
used = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
open("/root/memory", "w").write(str(max(used)))
"""


def log() -> Iterator[str]:
    """Lines of a day in the year before, of some thousand senders and clients."""
    number = 0
    while True:
        number += 1
        second, queue_id = number // 8 % 86400, f"4{number:013d}z1"
        head = f"Jan 31 {second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d} mx1 "
        client = f"out{number % 5000}.sender.example[198.18.{number % 250}.{number // 250 % 20}]"
        sender, recipient = f"user{number % 7000}@sender.example", f"user{number % 900}@example.org"
        tls = "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)"
        yield f"{head}postfix/smtpd[11]: connect from {client}"
        if number % 3 == 0:
            yield (
                f"{head}postfix/smtpd[11]: NOQUEUE: reject: RCPT from {client}: 550 5.1.1 <x{recipient}>: Recipient "
                f"address rejected: User unknown in relay recipient table; from=<{sender}> to=<x{recipient}> "
                "proto=ESMTP helo=<out.sender.example>"
            )
            yield f"{head}postfix/smtpd[11]: disconnect from {client} ehlo=1 mail=1 rcpt=0/1 quit=1 commands=3/4"
            continue
        yield f"{head}postfix/smtpd[11]: Anonymous TLS connection established from {client}: {tls}"
        yield f"{head}postfix/smtpd[11]: {queue_id}: client={client}"
        yield f"{head}postfix/cleanup[12]: {queue_id}: message-id=<{number}@sender.example>"
        yield f"{head}opendkim[13]: {queue_id}: no signature data"
        yield f"{head}gatehouse-dmarc[14]: {queue_id}: from=sender.example spf=pass dkim=none dmarc=pass"
        yield f"{head}postfix/qmgr[15]: {queue_id}: from=<{sender}>, size={1000 + number}, nrcpt=1 (queue active)"
        yield f"{head}postfix/smtpd[11]: disconnect from {client} ehlo=2 starttls=1 mail=1 rcpt=1 data=1 commands=6"
        yield f"{head}postfix/lmtp[16]: Verified TLS connection established to store.example.org[10.8.0.31]:24: {tls}"
        yield (
            f"{head}postfix/lmtp[16]: {queue_id}: to=<{recipient}>, relay=mx1[/run/gatehouse-lmtp/store], delay=0.3, "
            f"delays=0.1/0/0.1/0.1, dsn=2.0.0, status=sent (250 2.0.0 <{recipient}> a1b2 Saved)"
        )
        yield f"{head}postfix/qmgr[15]: {queue_id}: removed"


def main() -> str | int:
    with host("awstats") as there:
        there.run("mkdir", "-p", LIBRARY, "/root/log", "/root/state/history", "/root/pages")
        for path in (ROLE / f"files{LIBRARY}").glob("*.py"):
            there.put(f"{LIBRARY}/{path.name}", path.read_bytes())
        template = (ROLE / "templates/etc/gatehouse/statistics/awstats.conf.j2").read_text()
        configuration = re.sub(r"\{\{ (\w+)(?: \| comment)? \}\}", lambda match: NAMES.get(match[1], ""), template)
        there.put("/root/awstats.gatehouse.conf", configuration.encode())
        there.put("/root/settings.json", json.dumps(SETTINGS).encode())
        lines = log()
        there.put("/root/log/mail.log", "".join(f"{next(lines)}\n" for _number in range(LINES)).encode())
        for name, script in (("split", SPLIT), ("convert", CONVERT), ("update", UPDATE)):
            there.put(f"/root/{name}.py", script.encode())
        split, convert = measure.seconds(there, *(("", f"python3 /root/{name}.py") for name in ("split", "convert")))
        measure.row(
            f"statistics: converter, 1,000,000 lines; {SHARE} loops that split each line", convert, SHARE * split
        )
        (update,) = measure.seconds(there, ("rm -rf /root/state/history/*", "python3 /root/update.py"), times=1)
        measure.row("statistics: converter and awstats, 1,000,000 lines", update, SECONDS)
        kilobytes = int(there.run("cat", "/root/memory").stdout)
        measure.row("statistics: memory of the largest process of it, MB", kilobytes / 1024, MEMORY)
    return measure.report()


if __name__ == "__main__":
    raise SystemExit(main())
