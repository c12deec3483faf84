# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Push this mail host's recipients to the gateways.

push [--accept-shrink]   to every gateway now, once, and print what each answers
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
import tempfile
import time

sys.path.insert(0, "/usr/local/lib/gatehouse-recipients")

import _recipients as core

SETTINGS = "/etc/gatehouse/recipients/settings.json"
GATEWAYS = "/etc/gatehouse/recipients/gateways"  # an ssh configuration for each, written by the gateway's run
STATE = "/var/lib/gatehouse-recipients"
WAITS = (1, 2, 4, 8, 15, 30)  # seconds between attempts, the last one again and again
WRITING = 0.2  # seconds within which who writes a source writes on
SETTLING = 2  # seconds until the sources are looked at once more
LONGEST_COMMAND = 60  # seconds
LONGEST_PUSH = 300  # seconds
LARGEST_SOURCE = core.LONGEST


class Away(Exception):
    """No answer from a gateway, and why."""


def settings():
    with open(SETTINGS, encoding="utf-8") as file:
        return json.load(file)


# Sources


def collect(site):
    """All addresses of all sources. Whatever cannot be read is an error: a source that is away must remove nobody."""
    found = []
    for source in site["sources"]:
        found += addresses_of(source["kind"], source["value"], source["domain"] or None)
    addresses = core.collected(found, site["domains"], site["delimiter"])
    core.deliverable(addresses, users())
    return addresses


def users():
    """All whom Dovecot knows."""
    try:
        return output(["doveadm", "user", "*"]).split()
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as error:
        raise core.Refused("source", f"Dovecot does not say whom it knows: {error}") from None


def addresses_of(kind, value, domain):
    # A command may have a secret among its words, so neither they nor its error are shown.
    where = f"{kind} {value[0] if kind == 'command' else value}"
    try:
        if kind == "unix_group":
            return [f"{name}@{domain}" for name in members(value)]
        if kind == "doveadm":
            return core.of_list(output(["doveadm", "user", value]), domain, where)
        text = output(value) if kind == "command" else content(value)
    except subprocess.CalledProcessError as error:
        raise core.Refused("source", f"{where} cannot be read: it ends with {error.returncode}") from None
    except subprocess.TimeoutExpired:
        raise core.Refused("source", f"{where} cannot be read: no end within {LONGEST_COMMAND} s") from None
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise core.Refused("source", f"{where} cannot be read: {error}") from None
    return core.TEXTS[kind](text, domain, where)


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
    handle, new = tempfile.mkstemp(dir=STATE, prefix=".new.")
    with open(handle, "w", encoding="utf-8") as file:
        json.dump(state, file, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    os.rename(new, f"{STATE}/{gateway}.json")
    handle = os.open(STATE, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def alone(gateway):
    """One push at a time to a gateway."""
    with open(f"{STATE}/{gateway}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# Pushing


def push(site, gateway, shrink=False):
    """Push once; the gateway's answer. A serial that it does not take is one that this host does not know of: the host
    was rebuilt, or an answer was lost. So it is taken from the answer."""
    with alone(gateway):
        for name in os.listdir(STATE):  # of who was killed
            if name.startswith(".new.") and os.stat(f"{STATE}/{name}").st_mtime < time.time() - LONGEST_PUSH:
                os.unlink(f"{STATE}/{name}")
        state = state_of(gateway)
        try:
            addresses = collect(site)
            answer = sent(site, gateway, state["serial"] + 1, addresses, shrink)
            if answer.get("code") == "serial" and isinstance(answer.get("last"), int):
                answer = sent(site, gateway, answer["last"] + 1, addresses, shrink)
        except (Away, core.Refused) as error:
            write_state(gateway, {**state, "last_error": str(error)})
            raise
        if answer["accepted"]:
            state = {"serial": answer["serial"], "at": int(time.time()), "count": answer["count"], "last_error": ""}
        else:
            state = {**state, "last_error": f"refused: {answer.get('reason')}"}
        write_state(gateway, state)
        return answer


def sent(site, gateway, serial, addresses, shrink):
    header, body = core.stream(site["name"], serial, addresses, shrink)
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


def tried(site, gateway, shrink=False):
    """(whether it took the list, whether it should be tried again soon, words)."""
    try:
        answer = push(site, gateway, shrink)
    except Away as away:
        return False, True, str(away)
    except core.Refused as refused:
        return False, False, f"nothing was sent: {refused}"
    except OSError as error:
        return False, True, str(error)
    if answer["accepted"]:
        return True, False, json.dumps(answer, sort_keys=True)
    return False, answer.get("code") in ("late", "trouble", "serial"), f"refused: {answer.get('reason')}"


def push_all(site, shrink):
    gateways = site["gateways"]
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, len(gateways))) as pool:
        results = list(pool.map(lambda gateway: tried(site, gateway, shrink), gateways))
    for gateway, (_done, _again, words) in zip(gateways, results):
        print(f"{gateway}: {words}")
    return 0 if all(done for done, _again, _words in results) else 1


def listed(site):
    """What would be pushed; None where nothing would."""
    try:
        return collect(site)
    except core.Refused:
        return None


def serve(gateway):
    """Until the gateway has the list, or refuses it. Each attempt reads the sources anew.

    At the end they are looked at once more: systemd sees no change while gatehouse-recipients.service runs.
    """
    said, attempt = "", 0
    while True:
        site = settings()
        if gateway not in site["gateways"]:  # it left
            return 0
        before = listed(site)
        done, again, words = tried(site, gateway)
        news = not done or '"added": 0,' not in words or '"removed": 0,' not in words
        if words != said and news:
            print(f"{gateway}: {words}", flush=True)
        said = words
        if again:
            time.sleep(WAITS[min(attempt, len(WAITS) - 1)])
            attempt += 1
            continue
        attempt = 0
        time.sleep(SETTLING)
        if listed(settings()) == before:
            return 0


# Age


def ages(site):
    """[(gateway, words, whether that is an alarm)]"""
    found = []
    for gateway in site["gateways"]:
        state = state_of(gateway)
        age = time.time() - state["at"]
        old = not state["at"] or age > site["max_age"] * 3600
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


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "serve":
        return serve(arguments[1])
    if arguments in (["push"], ["push", "--accept-shrink"]):
        return push_all(settings(), len(arguments) == 2)
    if arguments == ["list"]:
        print("\n".join(collect(settings())))
        return 0
    commands = {"status": status, "start": start}
    if len(arguments) != 1 or arguments[0] not in commands:
        sys.exit(__doc__)
    return commands[arguments[0]](settings())


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except core.Refused as refused:
        sys.exit(str(refused))
