"""Module saslpasswd2 with a thousand users: what a run costs that sets them all, and one that changes nothing."""

from __future__ import annotations

import measure
from throwaway import host

USERS = 1000
PLAIN = """
for n in {1..%d}; do saslpasswd2 -p -c -f /root/plain -u example.org user$n <<< "correct horse $n"; done
"""

with host("sasl2-bin", "libsasl2-modules-db") as there:
    users = [
        {"user": f"user{n}", "realm": "example.org", "password": f"correct horse {n}"} for n in range(1, USERS + 1)
    ]
    run = there.command_of("saslpasswd2", {"users": users, "path": "/root/sasldb2", "group": "root"})
    module, plain = measure.seconds(there, ("rm -f /root/sasldb2", run), ("rm -f /root/plain", PLAIN % USERS), times=3)
    measure.row("saslpasswd2, 1000 users, all new: 1.5 times a thousand plain saslpasswd2", module, 1.5 * plain)
    module, nothing = measure.seconds(there, ("", run), ("", there.command_of("empty", {})))
    measure.row("saslpasswd2, 1000 users, no change: 0.2 s + empty module", module, 0.2 + nothing)
raise SystemExit(measure.report())
