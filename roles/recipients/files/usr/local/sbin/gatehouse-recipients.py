# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Push this mail host's recipients to the gateways.

push [--accept-shrink] [--json]   to every gateway now, once, and print what each answers
compare [--json]         ask every gateway what a push would change, and change nothing
status                   how old the list of each gateway is; the exit code is 1 where one is too old
list                     print what would be pushed
start                    by the units: begin a job for each gateway
serve GATEWAY            by the units: push to one gateway, again and again until it has answered
"""

import concurrent.futures
import contextlib
import fcntl
import grp
import json
import os
import pwd
import subprocess
import sys
import time
from typing import NamedTuple, Optional

sys.path.insert(0, "/usr/local/lib/gatehouse-recipients")

import _aside
import _recipients as core

SETTINGS = "/etc/gatehouse/recipients/settings.json"
GATEWAYS = "/etc/gatehouse/recipients/gateways"  # an ssh configuration for each, written by the gateway's run
STATE = "/var/lib/gatehouse-recipients"
WAITS = (1, 2, 4, 8, 15, 30)  # seconds between attempts, the last one again and again
WRITING = 0.2  # seconds within which who writes a source writes on
SETTLING = 2  # seconds until the sources are looked at once more
LONGEST_COMMAND = 60  # seconds
LISTING_WAITS = (0.5, 1, 2, 4)  # seconds between attempts to list Dovecot's users, before they cannot be read
LONGEST_PUSH = 300  # seconds
LARGEST_SOURCE = core.LONGEST


class Away(Exception):
    """No answer from a gateway, and why."""


class Found(NamedTuple):
    """What the sources have, or why nothing can be sent; and the last serial of each gateway before they were read."""

    lists: Optional[core.Lists]
    reason: str
    serials: dict

    def is_as(self, other):
        return (self.lists, self.reason) == (other.lists, other.reason)


class Outcome(NamedTuple):
    """What came of one attempt at a gateway: its answer, where it took the list; why it did not, or what hindered the
    push, in words; and whether the next attempt should come soon."""

    answer: Optional[dict]
    reason: str = ""
    again: bool = False

    def __str__(self):
        return self.reason if self.answer is None else json.dumps(self.answer, sort_keys=True)

    def changed(self):
        return self.answer is not None and any(self.answer.get(key) for key in ("added", "removed", "aliases_changed"))


def settings():
    with open(SETTINGS, encoding="utf-8") as file:
        return json.load(file)


# Sources


def collect(site):
    """All recipients and aliases of all sources. Whatever cannot be read is an error: a source that is away must remove
    nobody."""
    found, pairs = [], []
    for source in site["sources"]:
        kind, value, domain = source["kind"], source["value"], source["domain"] or None
        if kind == "aliases_file":
            pairs += core.of_aliases_file(read(kind, value), domain, f"{kind} {value}")
        else:
            found += addresses_of(kind, value, domain)
    addresses = core.collected(found, site["domains"], site["delimiter"])
    core.deliverable(addresses, users())
    return core.Lists(addresses, core.resolved(pairs, set(addresses), site["domains"]))


def found(site):
    serials = {gateway: state_of(gateway)["serial"] for gateway in site["gateways"]}
    try:
        return Found(collect(site), "", serials)
    except core.Refused as refused:
        return Found(None, f"nothing was sent: {refused}", serials)


def users():
    """All whom Dovecot knows."""
    try:
        return users_like("*").split()
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as error:
        raise core.Refused("source", f"Dovecot does not say whom it knows: {error}") from None


def addresses_of(kind, value, domain):
    if kind == "unix_group":
        return [f"{name}@{domain}" for name in read(kind, value)]
    text = read(kind, value)
    return (core.of_list if kind == "doveadm" else core.TEXTS[kind])(text, domain, where(kind, value))


def where(kind, value):
    # A command may have a secret among its words, so neither they nor its error are shown.
    return f"{kind} {value[0] if kind == 'command' else value}"


def read(kind, value):
    """The text of a source, and of a group its accounts."""
    try:
        if kind == "unix_group":
            return members(value)
        if kind == "doveadm":
            return users_like(value)
        return output(value) if kind == "command" else content(value)
    except subprocess.CalledProcessError as error:
        reason = f"it ends with {error.returncode}"
    except subprocess.TimeoutExpired:
        reason = f"no end within {LONGEST_COMMAND} s"
    except (OSError, KeyError, UnicodeDecodeError) as error:
        reason = str(error)
    raise core.Refused("source", f"{where(kind, value)} cannot be read: {reason}")


def content(path):
    with open(path, "rb") as file:
        before = os.fstat(file.fileno())
        octets = file.read(LARGEST_SOURCE + 1)
        time.sleep(WRITING)
        after = os.fstat(file.fileno())
    if len(octets) > LARGEST_SOURCE:
        raise OSError(f"it has more than {LARGEST_SOURCE} octets")
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(octets) != after.st_size:
        raise OSError("somebody writes it")
    if octets and not octets.endswith(b"\n"):
        raise OSError("its last line has no end")
    return octets.decode()


def output(words):
    done = subprocess.run(
        words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=LONGEST_COMMAND, encoding="utf-8"
    )
    return done.stdout


def users_like(mask):
    """Dovecot's users. doveadm ends with EX_TEMPFAIL where Dovecot let go of the worker that reads them, as 2.4 does
    now and then where a second user database is long: it ends those that it takes for idle, for a second or so."""
    for wait in LISTING_WAITS:
        try:
            return output(["doveadm", "user", mask])
        except subprocess.CalledProcessError as error:
            if error.returncode != os.EX_TEMPFAIL:
                raise
        time.sleep(wait)
    return output(["doveadm", "user", mask])


def members(group):
    """The accounts of a group: those that it lists, and those whose first group it is."""
    found = grp.getgrnam(group)
    return {*found.gr_mem, *(user.pw_name for user in pwd.getpwall() if user.pw_gid == found.gr_gid)}


# What is known of each gateway


def state_of(gateway):
    with contextlib.suppress(FileNotFoundError, ValueError), open(f"{STATE}/{gateway}.json", encoding="utf-8") as file:
        found = json.load(file)
        if isinstance(found, dict) and isinstance(found.get("serial"), int):
            return found
    return {"serial": 0, "at": 0, "count": 0, "last_error": ""}


def write_state(gateway, state):
    _aside.write(f"{STATE}/{gateway}.json", json.dumps(state, sort_keys=True))


@contextlib.contextmanager
def alone(gateway):
    """One push at a time to a gateway."""
    with open(f"{STATE}/{gateway}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# Pushing


def push(site, gateway, lists, word):
    """Push once; the gateway's answer. A serial that it does not take is one that this host does not know of: the host
    was rebuilt, or an answer was lost. So it is taken from the answer."""
    serial = state_of(gateway)["serial"] + 1
    answer = sent(site, gateway, serial, lists, word)
    if answer.get("code") == "serial" and isinstance(answer.get("last"), int):
        answer = sent(site, gateway, answer["last"] + 1, lists, word)
    return answer


def sent(site, gateway, serial, lists, word):
    header, body = core.stream(site["name"], serial, lists.lines(), word)
    configuration = f"{GATEWAYS}/{gateway}.conf"
    if not os.path.exists(configuration):
        raise Away("its run of site.yml has not come by here")
    try:
        done = subprocess.run(
            ["ssh", "-T", "-F", configuration, gateway],
            input=header.line() + body,
            capture_output=True,
            timeout=LONGEST_PUSH,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Away(f"no answer within {LONGEST_PUSH} s") from None
    try:
        answer = json.loads(done.stdout)
        if not isinstance(answer["accepted"], bool):
            raise TypeError
        if answer["accepted"] and not (isinstance(answer["serial"], int) and isinstance(answer["count"], int)):
            raise TypeError
    except (ValueError, TypeError, KeyError):
        words = done.stderr.decode("utf-8", "replace").strip().split("\n")[-1]
        raise Away(f"no answer: {words[:200] or f'ssh ends with {done.returncode}'}") from None
    return answer


def tried(site, gateway, sources, word="keep"):
    """The outcome of a push of what the sources have, which the state keeps. Where another push came in between, they
    are read again, since that one may have had a newer list."""
    try:
        with alone(gateway):
            if state_of(gateway)["serial"] != sources.serials.get(gateway):
                sources = found(site)
            outcome = attempt(site, gateway, sources, word)
            if word == "compare":
                return outcome
            state = {**state_of(gateway), "last_error": outcome.reason}
            if outcome.answer:
                state.update(serial=outcome.answer["serial"], count=outcome.answer["count"], at=int(time.time()))
            write_state(gateway, state)
            return outcome
    except OSError as error:  # a full disk, too
        return Outcome(None, str(error), again=True)


def attempt(site, gateway, sources, word):
    if sources.lists is None:
        return Outcome(None, sources.reason)
    try:
        answer = push(site, gateway, sources.lists, word)
    except Away as away:
        return Outcome(None, str(away), again=True)
    if answer["accepted"]:
        return Outcome(answer)
    again = answer.get("code") in ("late", "trouble", "serial")
    return Outcome(None, f"refused: {answer.get('reason')}", again)


def push_all(site, word="keep", as_json=False):
    gateways, sources = site["gateways"], found(site)
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, len(gateways))) as pool:
        outcomes = dict(zip(gateways, pool.map(lambda gateway: tried(site, gateway, sources, word), gateways)))
    if as_json:
        said = {
            "changed": any(outcome.changed() for outcome in outcomes.values()),
            "answers": {gateway: outcome.answer for gateway, outcome in outcomes.items() if outcome.answer},
            "refused": [
                f"gateway {gateway}: {outcome.reason}" for gateway, outcome in outcomes.items() if outcome.reason
            ],
        }
        print(json.dumps(said, sort_keys=True))
    else:
        for gateway, outcome in outcomes.items():
            print(f"{gateway}: {outcome}")
    return 0 if all(outcome.answer for outcome in outcomes.values()) else 1


def serve(gateway):
    """Until the gateway has the list, or refuses it. Each attempt is of what the sources have by then.

    At the end they are looked at once more: systemd sees no change while gatehouse-recipients.service runs.
    """
    said, attempts, sources = "", 0, found(settings())
    while True:
        site = settings()
        if gateway not in site["gateways"]:  # it left
            return 0
        outcome = tried(site, gateway, sources)
        if outcome.changed() or outcome.reason not in ("", said):
            print(f"{gateway}: {outcome}", flush=True)
        said = outcome.reason
        time.sleep(WAITS[min(attempts, len(WAITS) - 1)] if outcome.again else SETTLING)
        attempts = attempts + 1 if outcome.again else 0
        before, sources = sources, found(settings())
        if not outcome.again and sources.is_as(before):
            return 0


# Age


def ages(site):
    """[(gateway, words, whether that is an alarm)]"""
    found = []
    for gateway in site["gateways"]:
        state = state_of(gateway)
        age = time.time() - state["at"]
        old = not state["at"] or abs(age) > site["max_age"] * 3600  # or of a time to come
        words = (
            f"{state['count']} recipients, serial {state['serial']}, {max(0, int(age))} s old"
            if state["at"]
            else "no list yet"
        )
        error = f"; last attempt: {state['last_error']}" if state["last_error"] else ""
        found.append((gateway, f"{words}{' (TOO OLD)' if old else ''}{error}", old))
    return found


def status(site):
    rows = ages(site)
    for gateway, words, _old in rows:
        print(f"{gateway}: {words}")
    return 1 if any(old for _gateway, _words, old in rows) else 0


def start(site):
    """A job that runs begins anew, since it may have read the sources before they changed. Of a gateway that left,
    nothing is kept."""
    for name in os.listdir(STATE):
        gateway, dot, suffix = name.rpartition(".")
        if dot and suffix in ("json", "lock") and gateway not in site["gateways"]:
            os.unlink(f"{STATE}/{name}")
    for gateway, words, old in ages(site):
        if old:
            print(f"{gateway}: {words}")
        subprocess.run(["systemctl", "--no-block", "restart", f"gatehouse-recipients@{gateway}.service"], check=False)
    return 0


def listed(site):
    print("\n".join(collect(site).lines()))
    return 0


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "serve":
        return serve(arguments[1])
    command, options = (arguments or [""])[0], arguments[1:]
    allowed = {"push": {"--accept-shrink", "--json"}, "compare": {"--json"}}
    if command in allowed and allowed[command].issuperset(options):
        word = "compare" if command == "compare" else "shrink" if "--accept-shrink" in options else "keep"
        return push_all(settings(), word, "--json" in options)
    commands = {"list": listed, "status": status, "start": start}
    if command not in commands or options:
        sys.exit(__doc__)
    return commands[command](settings())


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except core.Refused as refused:
        sys.exit(str(refused))
