# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the recipients that a mail host pushes, and keep Postfix' tables of them.

    -c MAIL-HOST  as the shell of the ssh user: put the stream on standard input into the spool, and print the answer
    accept        as root, by a path unit: check what is in the spool, and put it into place
    refresh       as root, by the run of Ansible: what the inventory says where no push counts, and the aliases
    status        which list each mail host pushed last; the exit code is 1 where one is too old, or there is none yet
    watch         by a timer: log the lists that are too old, or missing

A table is built aside, asked for all it has, and renamed. Nothing that the ssh user may write is ever a table, and what
is in the spool is read once, from a file that nobody else can have put there.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import syslog
import time

sys.path.insert(0, "/usr/local/lib/gatehouse-recipients")

import _aside
import _recipients as core

SETTINGS = "/etc/gatehouse/recipients/settings.json"
STATE = "/var/lib/gatehouse-recipients"  # root's
SPOOL = "/var/spool/gatehouse-recipients"  # its folders: making and in, where the ssh user writes; answers
TABLES = "/etc/postfix/recipients"
# Beside the tables of mail hosts, whose names have a dot and no "_"
ALIASES = "virtual_alias"
DEFERRED = "deferred"
ASIDE = ".aside"  # where tables are built
KIND = "lmdb"  # in which Postfix looks it up
PATIENCE = 60  # seconds for an answer, and one more for so many lines
LINES_A_SECOND = 5000
MOST = 16  # pushes of a mail host in the spool at a time; it may be on the file system of Postfix' queue
LONGEST_PUSH = 300  # seconds
SPOOLED = re.compile(r"([a-z0-9.-]{1,253})_[0-9a-f]{32}")


def say(words):
    syslog.syslog(words)


# The shell of the ssh user


def spool(host, stream):
    """Put a checked stream into the spool, and wait for the answer to it."""
    header = core.read_header(stream)
    if header.host != host:
        raise core.Refused("host", f"the list is that of {header.host}, and came from {host}")
    body = core.read_body(stream, header)
    # Most pushes are of the list that is there.
    if text_of(f"{SPOOL}/{host}.taken") != f"{header.digest} {header.count}":
        core.lists_of(body, header)
    if spooled(host) >= MOST:
        raise OSError("there are too many pushes in the spool")
    name = f"{host}_{secrets.token_hex(16)}"
    making = f"{SPOOL}/making/{name}"
    try:
        with open(making, "xb") as file:
            os.fchmod(file.fileno(), 0o644)  # nobody else gets into the folder
            file.write(header.line() + body)
            file.flush()
            os.fsync(file.fileno())
        os.rename(making, f"{SPOOL}/in/{name}")
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(making)
    return answer_to(name, PATIENCE + header.count // LINES_A_SECOND)


def spooled(host):
    """How many pushes of a mail host wait, or are being written. One that was killed is neither."""
    begun = time.time() - LONGEST_PUSH
    found = 0
    for place, oldest in (("in", 0), ("making", begun)):
        for entry in os.scandir(f"{SPOOL}/{place}"):
            with contextlib.suppress(FileNotFoundError):
                own = entry.name.rpartition("_")[0] == host
                found += own and entry.stat(follow_symlinks=False).st_mtime >= oldest
    return found


def answer_to(name, patience):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError), open(f"{SPOOL}/answers/{name}", encoding="utf-8") as file:
            return json.load(file)
        time.sleep(0.02)
    return {"accepted": False, "code": "late", "reason": f"no answer within {patience} s"}


def shell(host, stream):
    signal.alarm(LONGEST_PUSH)
    try:
        answer = spool(host, stream)
    except core.Refused as refused:
        say(f"{host}: refused a push: {refused}")
        answer = {"accepted": False, "code": refused.code, "reason": str(refused)}
    except OSError as error:
        say(f"{host}: could not spool a push: {error}")
        answer = {"accepted": False, "code": "trouble", "reason": str(error)}
    print(json.dumps(answer, sort_keys=True), flush=True)
    return 0 if answer["accepted"] else 1


# Root's part


def lines_of(path):
    """The first words of a table's source; none where there is no table."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return [line.split(" ", 1)[0].rstrip("\n") for line in file]
    except FileNotFoundError:
        return []


def entries_of(path):
    """A table's source as {key: value}."""
    return dict(line.split(" ", 1) for line in (text_of(path) or "").splitlines())


def text_of(path):
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return None


def write_table(name, entries):
    """Write a table of {key: value} unless it is there already; whether it was written."""
    path = f"{TABLES}/{name}"
    text = "".join(f"{key} {value}\n" for key, value in sorted(entries.items()))
    record = f"{STATE}/{name}.table"
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    if text_of(path) == text and built(name) == f"{digest} {identity(path)}":
        return False
    # In a folder that is root's alone, as folder_aside locks it, and whoever may read a folder can lock it for ever.
    os.makedirs(f"{TABLES}/{ASIDE}", mode=0o700, exist_ok=True)
    with _aside.folder_aside(f"{TABLES}/{ASIDE}/{name}") as aside:
        new = f"{aside}/table"
        with open(new, "w", encoding="utf-8") as file:
            file.write(text)
        subprocess.run(["postmap", f"{KIND}:{new}"], check=True, stdin=subprocess.DEVNULL)
        asked = subprocess.run(
            ["postmap", "-q", "-", f"{KIND}:{new}"],
            input="".join(f"{key}\n" for key in sorted(entries)),
            stdout=subprocess.PIPE,
            encoding="utf-8",
            check=bool(entries),
        )
        if asked.stdout != "".join(f"{key}\t{value}\n" for key, value in sorted(entries.items())):
            raise OSError(f"the new table of {name} does not answer with what it has")
        # Without its record the table is not whole: who is killed from here on leaves it to be built again.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(record)
        for suffix in (f".{KIND}", ""):
            os.chmod(new + suffix, 0o644)
            _aside.go_live(new + suffix, path + suffix)
    _aside.write(record, f"{digest} {identity(path)}")
    return True


def built(name):
    """What write_table wrote of a table, None where it did not come to its end."""
    return text_of(f"{STATE}/{name}.table")


def identity(path):
    """What changes whenever the index is written or replaced."""
    try:
        found = os.stat(f"{path}.{KIND}")
    except FileNotFoundError:
        return "none"
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"


def state_of(host):
    """What was taken last from a mail host; serial 0 before the first push."""
    with contextlib.suppress(FileNotFoundError, ValueError), open(f"{STATE}/{host}.json", encoding="utf-8") as file:
        found = json.load(file)
        if isinstance(found.get("serial"), int):
            return {"aliases": {}, "gone": {}, **found}
    return {"serial": 0, "aliases": {}, "gone": {}}


def keep(host, state):
    _aside.write(f"{STATE}/{host['name']}.json", json.dumps(state))


def awaited(host, state):
    """The domains of which the mail host has pushed nothing yet: all of them, or those that came to it since."""
    if not host["pushes"]:
        return set()
    return set(host["domains"]).difference(state.get("domains", host["domains"] if state["serial"] else ()))


def settings():
    with open(SETTINGS, encoding="utf-8") as file:
        return json.load(file)


@contextlib.contextmanager
def alone():
    """One at a time: the run of Ansible and the path unit."""
    with open(f"{STATE}/lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def derived(site, coming=None):
    """What follows from all lists: the aliases that have an end, those of which a target is unknown, and the table of
    whom Postfix tells to come again. `coming`, {mail host: (recipients, state)}, stands for what is there."""
    recipients, domains, gone, waiting = set(), set(), set(), set()
    aliases = dict(site["aliases"])  # which no mail host can change
    for host in site["mail_hosts"]:
        present, state = (coming or {}).get(host["name"]) or (
            lines_of(f"{TABLES}/{host['name']}"),
            state_of(host["name"]),
        )
        recipients.update(present)
        domains.update(host["domains"])
        gone.update(still_gone(site, host, state))
        waiting.update(awaited(host, state))
        for alias, targets in state["aliases"].items():
            if core.domain_of(alias) in host["domains"]:
                aliases.setdefault(alias, targets)
    live = core.ends(aliases, domains, recipients)
    lost = sorted(alias for alias, targets in aliases.items() if len(live.get(alias, ())) < len(targets))
    later = core.deferred(waiting, gone - recipients, aliases, live, recipients)
    return {alias: ", ".join(targets) for alias, targets in live.items()}, lost, later


def still_gone(site, host, state):
    """{recipient or alias: since when} of those that were removed within the time of grace."""
    now = int(time.time())
    return {
        address: at
        for address, at in state["gone"].items()
        if core.domain_of(address) in host["domains"] and abs(now - at) < site["grace"] * 3600
    }


def put(lists, live, later):
    """Write the tables, those of `lists` as {mail host: recipients}; whether one was written.

    Aliases come before recipients: mail for one whose end goes would be taken and returned, and one whose end comes is
    early by a moment. Who is told to come again before or after is so in between as well.
    """
    changed = write_table(DEFERRED, {**entries_of(f"{TABLES}/{DEFERRED}"), **later})
    changed |= write_table(ALIASES, live)
    for name, recipients in lists.items():
        changed |= write_table(name, dict.fromkeys(recipients, "OK"))
    return changed | write_table(DEFERRED, later)


def mark_taken(name, text):
    """Say which list is there. Not by _aside, which locks the folder: whoever may read it can do so for ever."""
    new = f"{SPOOL}/{name}.taken.new"
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
    _aside.go_live(new, f"{SPOOL}/{name}.taken")


def identities(host):
    """Of the tables that follow from a push."""
    return {name: identity(f"{TABLES}/{name}") for name in (DEFERRED, ALIASES, host["name"])}


def take(site, host, header, lists):
    """Put lists into place that are to be there; the answer.

    The state is written twice. Before the tables it loses its digest and learns who goes, and after them all it says
    which tables it stands for. So what was begun and not ended is taken anew when it comes again.
    """
    path = f"{TABLES}/{host['name']}"
    before, last = lines_of(path), state_of(host["name"])
    known = core.Known(
        host["name"],
        host["domains"],
        last["serial"],
        before,
        site["shrink"],
        host["needed"],
        site["delimiter"],
        last["aliases"],
    )
    core.judge(header, lists, known)
    present, now = set(lists.recipients), int(time.time())
    going = {*before, *last["aliases"]} - present - set(lists.aliases)
    gone = {**dict.fromkeys(going, now), **still_gone(site, host, last)} if site["grace"] else {}
    state = {
        "serial": header.serial,
        "count": len(lists.recipients),
        "lines": header.count,
        "digest": header.digest,
        "settings": settings_digest(site),
        "at": now,
        "domains": sorted(host["domains"]),
        "aliases": lists.aliases,
        "gone": {
            address: at
            for address, at in sorted(gone.items())
            if address not in present and address not in lists.aliases
        },
    }
    live, lost, later = derived(site, {host["name"]: (lists.recipients, state)})
    state["said"] = {
        "accepted": True,
        "count": len(lists.recipients),
        "aliases_without_end": lost[: core.NAMED],
        "only_in_inventory": sorted(set(host["mailboxes"]) - present)[: core.NAMED],
    }
    if header.word != "compare":
        keep(host, {**last, "gone": {**last["gone"], **gone}, "digest": None})
        put({host["name"]: lists.recipients}, live, later)
        keep(host, {**state, "tables": identities(host)})
        mark_taken(host["name"], f"{header.digest} {header.count}")
    return {
        **state["said"],
        "serial": header.serial,
        **core.difference(before, lists.recipients),
        "aliases_changed": sorted(
            alias for alias in {*known.aliases, *lists.aliases} if known.aliases.get(alias) != lists.aliases.get(alias)
        )[: core.NAMED],
    }


def repeated(site, host, header):
    """The answer to a list that is there already, in the tables that the state stands for, and was judged by the same
    settings; None for any other. By far most pushes are such ones."""
    state = state_of(host["name"])
    known = tuple(map(state.get, ("digest", "lines", "settings")))
    same = (header.digest, header.count, settings_digest(site)) == known
    if not same or state["gone"] or header.word == "compare" or state.get("tables") != identities(host):
        return None
    core.judge_header(header, host["name"], state["serial"])
    keep(host, {**state, "serial": header.serial, "at": int(time.time())})
    return {**state["said"], "serial": header.serial, **core.difference((), ()), "aliases_changed": []}


def settings_digest(site):
    return hashlib.sha256(json.dumps(site, sort_keys=True).encode()).hexdigest()


def open_spooled(folder, name, user):
    """A spooled file as the ssh user's program writes it; OSError for whatever else stands there."""
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != user or found.st_nlink != 1:
            raise OSError("it is no file of the ssh user's own")
        if found.st_size > core.LONGEST + core.LONGEST_HEADER:
            raise OSError(f"it has {found.st_size} octets")
        return os.fdopen(handle, "rb")
    except OSError:
        os.close(handle)
        raise


def judged(site, folder, name, user):
    """The answer to one file in the spool."""
    match = SPOOLED.fullmatch(name)
    host = next((host for host in site["mail_hosts"] if match and host["name"] == match[1] and host["pushes"]), None)
    if host is None:
        say(f"removed {ascii(name)[:100]} from the spool: nobody's push")
        return None
    try:
        with open_spooled(folder, name, user) as file:
            clear(folder, name)  # before it is read: what is too much for this host is not to come again and again
            header = core.read_header(file)
            body = core.read_body(file, header)
        answer = repeated(site, host, header) or take(site, host, header, core.lists_of(body, header))
        if header.word != "compare" and (answer["added"] or answer["removed"] or answer["aliases_changed"]):
            less = f"{answer['added']} more and {answer['removed']} less"
            lost = ", ".join(answer["aliases_without_end"]) or "none"
            say(f"{host['name']}: took serial {answer['serial']}, {answer['count']} recipients, {less}")
            say(f"{host['name']}: aliases of which a target is unknown: {lost}")
    except core.Refused as refused:
        say(f"{host['name']}: refused a push, the table stays as it was: {refused}")
        answer = {"accepted": False, "code": refused.code, "reason": str(refused)}
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        say(f"{host['name']}: could not take a push, the recipients stay as they were: {error}")
        answer = {"accepted": False, "code": "trouble", "reason": str(error)}
    return {**answer, "last": state_of(host["name"])["serial"]}


def reply(name, answer):
    # Readable for its folder's group; nobody reads it before it has its name. Not by _aside, which locks the folder: so
    # could the ssh user.
    new = f"{SPOOL}/answers/.{name}"
    with open(new, "w", encoding="utf-8") as file:
        json.dump(answer, file, sort_keys=True)
    os.rename(new, f"{SPOOL}/answers/{name}")


def clear(folder, name):
    """Remove whatever it is, and never what a link leads to."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        shutil.rmtree(f"{SPOOL}/in/{name}")  # follows no link
    except FileNotFoundError:
        pass


def accept():
    user = pwd.getpwnam(settings()["user"]).pw_uid
    folder = os.open(f"{SPOOL}/in", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    with alone():
        site = settings()
        seen = set()
        while names := sorted(set(os.listdir(folder)) - seen):
            seen.update(names)
            for name in names:
                answer = judged(site, folder, name, user)
                clear(folder, name)
                if answer is not None:
                    with contextlib.suppress(OSError):  # on a full disk nobody hears it
                        reply(name, answer)
        old = time.time() - 2 * LONGEST_PUSH
        for place in ("answers", "making"):
            for entry in os.scandir(f"{SPOOL}/{place}"):
                with contextlib.suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime >= old:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path)
                    else:
                        os.unlink(entry.path)
    return 0


def current(host):
    """The recipients of a mail host and its state: in domains of which it has pushed what was pushed, in others those
    of the inventory. A domain that left it is one of the others, should it come back."""
    state = state_of(host["name"])
    pushed = lines_of(f"{TABLES}/{host['name']}") if state["serial"] else []
    if state["serial"] and not pushed:  # the table was lost
        os.unlink(f"{STATE}/{host['name']}.json")
        state = state_of(host["name"])
    if state["serial"]:
        domains = sorted(set(state.get("domains", host["domains"])).intersection(host["domains"]))
        if domains != state.get("domains"):
            state = {**state, "domains": domains, "digest": None}
            keep(host, state)
    others = awaited(host, state) if state["serial"] else set(host["domains"])
    domains = set(host["domains"]) - others
    recipients = {address for address in pushed if core.domain_of(address) in domains}
    recipients.update(address for address in host["mailboxes"] if core.domain_of(address) in others)
    return recipients, state


def refresh():
    with alone():
        site = settings()
        changed = False
        names = {host["name"] for host in site["mail_hosts"]}
        pushing = {host["name"] for host in site["mail_hosts"] if host["pushes"]}
        for name in os.listdir(STATE):
            if name.endswith(".json") and name[: -len(".json")] not in pushing:
                os.unlink(f"{STATE}/{name}")
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{SPOOL}/{name[: -len('.json')]}.taken")
                changed = True
        coming = {host["name"]: current(host) for host in site["mail_hosts"]}
        live, lost, later = derived(site, coming)
        changed |= put({name: recipients for name, (recipients, _state) in coming.items()}, live, later)
        kept = {f"{name}{suffix}" for name in (*names, ALIASES, DEFERRED) for suffix in ("", f".{KIND}")}
        for name in sorted(set(os.listdir(TABLES)) - kept):
            if not name.startswith("."):  # the record of module postmap, which began the table
                os.unlink(f"{TABLES}/{name}")
                changed = True
        differing = differences(site)
    print(json.dumps({"changed": bool(changed), "aliases_without_end": lost, "only_in_inventory": differing}))
    return 0


def differences(site):
    """{mail host: the first of the recipients that only the inventory has}"""
    found = {
        host["name"]: sorted(set(host["mailboxes"]) - set(lines_of(f"{TABLES}/{host['name']}")))[: core.NAMED]
        for host in site["mail_hosts"]
        if state_of(host["name"])["serial"]
    }
    return {name: only for name, only in found.items() if only}


def ages(site):
    """[(words about a mail host's list, whether that is an alarm)]"""
    found = []
    for host in site["mail_hosts"]:
        state = state_of(host["name"])
        if not host["pushes"]:
            found.append((f"{host['name']}: the inventory's list", False))
            continue
        domains = sorted(awaited(host, state))
        if domains:
            words = f"no push yet of {', '.join(domains)}; whom the inventory does not know there is told to come again"
            found.append((f"{host['name']}: {words}", True))
        if state["serial"]:
            age = int(time.time()) - state["at"]
            late = abs(age) > site["max_age"] * 3600  # or of a time to come
            words = f"serial {state['serial']}, {state['count']} recipients, {age} s old"
            found.append((f"{host['name']}: {words}{' (TOO OLD)' if late else ''}", late))
    return found


def status():
    site = settings()
    rows = ages(site)
    for words, _late in rows:
        print(words)
    for name, only in differences(site).items():
        print(f"{name}: only in the inventory, and refused: {', '.join(only)}")
    _live, lost, _later = derived(site)
    if lost:
        print(f"aliases of which a target is unknown: {', '.join(lost[: core.NAMED])}")
    return 1 if any(late for _words, late in rows) else 0


def watch():
    for words, late in ages(settings()):
        if late:
            say(words)
    return 0


def main(arguments):
    syslog.openlog("gatehouse-recipients", syslog.LOG_PID, syslog.LOG_MAIL)
    commands = {"accept": accept, "refresh": refresh, "status": status, "watch": watch}
    if len(arguments) == 2 and arguments[0] == "-c":
        return shell(arguments[1], sys.stdin.buffer)
    if len(arguments) == 1 and arguments[0] in commands:
        os.umask(0o022)
        return commands[arguments[0]]()
    sys.exit("this account takes pushes of recipients, and nothing else")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
