"""Passwords made for one test, which are looked for wherever they should not be."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, quote_plus

from .hosts import Host


def forms(password: str) -> set[bytes]:
    """The octets by which a password could be found: as it is, escaped, and in base64 wherever it stands in a text.

    AUTH PLAIN is base64 of NUL, user, NUL, password, so the password starts at any of three positions of a group.
    """
    octets = password.encode()
    found = {octets, json.dumps(password)[1:-1].encode(), repr(password)[1:-1].encode()}
    found |= {quote(password).encode(), quote(password, safe="").encode(), quote_plus(password).encode()}
    for shift, skip in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(b"\0" * shift + octets)
        found.add(encoded[skip : (shift + len(octets)) * 8 // 6])
    return found


class Watch(threading.Thread):
    """Samples the command lines and environments of all processes of this machine, containers included."""

    def __init__(self, canaries: Canaries) -> None:
        super().__init__(daemon=True)
        self.canaries, self.enough = canaries, threading.Event()
        self.seen: set[str] = set()
        self.samples = 0

    def run(self) -> None:
        while not self.enough.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        octets = (process / name).read_bytes()
                    except OSError:  # it is gone
                        continue
                    if any(mark in octets for mark in self.canaries.marks):
                        self.seen.update(self.canaries.within(octets))
            self.samples += 1
            time.sleep(0.002)

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self.enough.set()
        self.join()


class Canaries:
    """These passwords, in each of which one of the marks stands."""

    def __init__(self, passwords: Sequence[str], *marks: str) -> None:
        self.marks, self.started = [mark.encode() for mark in marks], int(time.time()) - 1
        self.forms = {form: password for password in passwords for form in forms(password)}

    def within(self, octets: bytes) -> list[str]:
        return sorted({password for form, password in self.forms.items() if form in octets})

    def watch(self) -> Watch:
        return Watch(self)

    def files(self, host: Host) -> set[str]:
        """Names of all files of a host that hold one in any form (those that changed since)."""
        patterns = "\n".join(form.decode("utf-8", "surrogateescape") for form in self.forms)
        search = (
            "cat > /run/patterns; find / '(' -path /proc -o -path /sys -o -path /run/patterns ')' -prune"
            f" -o -type f -newerct @{self.started} -print0 2> /dev/null"
            " | xargs -0r grep -aFl -f /run/patterns 2> /dev/null || true; rm /run/patterns"
        )
        return set(host.run("env", "LC_ALL=C", "bash", "-c", search, given=patterns).stdout.split("\n")) - {""}

    def journal(self, host: Host) -> list[str]:
        return self.within(host.journal(since=f"@{self.started}", output="verbose").encode())
