"""Six canary passwords appear nowhere but in what they were given to: output, journal, processes, files.

Module semanage takes no secret, so the modules here are saslpasswd2, postmap and files.
"""

from __future__ import annotations

import base64
import json
import secrets

from lab.canaries import Canaries

ROUND = secrets.token_hex(6)
PASSWORDS = [
    f"{ROUND}-plain-password",
    f"{ROUND} with spaces and %s {{braces}}",
    f"{ROUND}'single' \"double\" `back`",
    f"{ROUND}Ünïcödé-пароль",
    f"{ROUND}\\back\\slash$(id)&;|#",
    f"{ROUND}+/=AGFsaWNl:?@%40",
]
CANARIES = Canaries(PASSWORDS, ROUND)


def journal(host):
    return host.journal(since="@0", output="verbose").encode()


SASL, POSTMAP, FILES = (f"gatehouse.mail.{name}" for name in ("saslpasswd2", "postmap", "files"))
USERS = [{"user": f"user{n}", "realm": "example.org", "password": canary} for n, canary in enumerate(PASSWORDS)]
ENTRIES = [{"key": f"[relay{n}.example.org]:587", "value": f"user{n}:{c}"} for n, c in enumerate(PASSWORDS)]
TABLE = {"path": "/etc/postfix/canaries", "sensitive": True}
FILE = {"path": "/var/tmp/canaries", "content": "\n".join(PASSWORDS), "mode": "0600", "secret": True}


def worse(change, listed):
    """The list with a mistake in each item."""
    return [{**item, **{key: spoil(item) for key, spoil in change.items()}} for item in listed]


SUCCESSES = [
    {SASL: {"users": worse({"password": lambda _user: "another password"}, USERS)}},
    {SASL: {"users": USERS}, "check_mode": True},
    {SASL: {"users": USERS}},
    {SASL: {"users": USERS, "copy": "/var/tmp/sasldb2-copy"}},
    {POSTMAP: {**TABLE, "entries": ENTRIES}, "check_mode": True},
    {POSTMAP: {**TABLE, "entries": ENTRIES}},
    {FILES: {"files": [FILE]}, "check_mode": True},
    {FILES: {"files": [{**FILE, "content": f"former {FILE['content']}"}]}},
    {FILES: {"files": [FILE, {**FILE, "path": "/var/tmp/seen", "content": "x", "secret": False}]}},
]
FAILURES = {
    "too short": {SASL: {"users": USERS, "minimum_length": 99}},
    "newline": {SASL: {"users": worse({"password": lambda user: user["password"] + "\n"}, USERS)}},
    "NUL": {SASL: {"users": worse({"password": lambda user: user["password"] + "\0"}, USERS)}},
    "bad user": {SASL: {"users": worse({"user": lambda _user: "a:b"}, USERS)}},
    "twice": {SASL: {"users": USERS + USERS}},
    "no realm": {SASL: {"users": [{"user": user["user"], "password": user["password"]} for user in USERS]}},
    "misspelt suboption": {SASL: {"users": [{"user": "u", "realm": "r", "passwd": c} for c in PASSWORDS]}},
    "misspelt option": {SASL: {"users": [], "user": USERS}},
    "a list for a text": {SASL: {"users": [{"user": "u", "realm": "r", "password": [c]} for c in PASSWORDS]}},
    "texts for users": {SASL: {"users": PASSWORDS}},
    "one text for users": {SASL: {"users": PASSWORDS[0]}},
    "bad choice": {SASL: {"users": USERS, "state": "prsent"}},
    "no folder": {SASL: {"users": USERS, "path": "/nonesuch/sasldb2"}},
    "a folder": {SASL: {"users": USERS, "path": "/etc"}},
    "no database": {SASL: {"users": USERS, "path": "/etc/passwd"}},
    "no group": {SASL: {"users": USERS, "path": "/var/tmp/sasldb2", "group": "nonesuch"}},
    "newline in a table": {POSTMAP: {**TABLE, "entries": worse({"value": lambda e: e["value"] + "\nx"}, ENTRIES)}},
    "space in a key": {POSTMAP: {**TABLE, "entries": worse({"key": lambda e: "a b"}, ENTRIES)}},
    "no such entry": {POSTMAP: {**TABLE, "entries": worse({"valeu": lambda e: e["value"]}, ENTRIES)}},
    "refused content": {
        FILES: {"files": [{**FILE, "content": FILE["content"] + "x", "validate": "/bin/grep -v none %s x"}]}
    },
    "refused contents": {
        FILES: {
            "files": [{**FILE, "content": "x"}, {**FILE, "path": "/var/tmp/other"}],
            "validate": "/bin/grep -r - %s x",
        }
    },
    "no folder for a file": {FILES: {"files": [{**FILE, "path": "/nonesuch/file"}]}},
    "no path": {FILES: {"files": [{"content": FILE["content"]}]}},
    "misspelt field": {FILES: {"files": [{**FILE, "modes": "0600"}]}},
    "a list for a content": {FILES: {"files": [{**FILE, "content": PASSWORDS}]}},
    "no such user": {FILES: {"files": [{**FILE, "owner": "nonesuch"}]}},
    "no such state": {FILES: {"files": [{**FILE, "state": "fil"}]}},
    "no folder for a table": {POSTMAP: {**TABLE, "path": "/nonesuch/table", "entries": ENTRIES}},
}


def test_passwords_appear_nowhere_but_in_what_they_were_given_to(platform, run):
    tasks = [*SUCCESSES, *({**task, "ignore_errors": True} for task in FAILURES.values())]
    with CANARIES.watch() as watch:
        results = run.tasks(platform, tasks, "-vvvv", "--diff")
    assert ["failed" in result for result in results] == [False] * len(SUCCESSES) + [True] * len(FAILURES)
    assert watch.samples > 20
    assert CANARIES.within(run.printed.encode()) == []
    assert CANARIES.within(journal(platform)) == []
    assert watch.seen == set()
    assert CANARIES.files(platform) == {
        platform.lab_sasldb, "/var/tmp/sasldb2-copy", "/var/tmp/canaries",
        "/etc/postfix/canaries", "/etc/postfix/canaries.lmdb",
    }  # fmt: skip


def test_the_search_finds_what_is_there(platform, run):
    """The control: each form in a file and in the journal, each password printed and in a short-lived process."""
    folder = "/var/tmp/control"
    plant = """
import json, os, subprocess, sys
folder, forms = json.load(sys.stdin)
os.mkdir(folder)
for number, form in enumerate(forms):
    with open(f"{folder}/{number}", "w") as file:
        file.write(f"before {form} after")
    subprocess.run(["logger", "--", form], check=True)
"""
    platform.run("python3", "-c", plant, given=json.dumps([folder, [form.decode() for form in CANARIES.forms]]))
    assert {name for name in CANARIES.files(platform) if name.startswith(folder)} == {
        f"{folder}/{number}" for number in range(len(CANARIES.forms))
    }
    platform.run("rm", "-r", folder)
    assert CANARIES.within(journal(platform)) == sorted(PASSWORDS)
    run(platform, "ansible.builtin.debug", msg=PASSWORDS)
    assert CANARIES.within(run.printed.encode()) == sorted(PASSWORDS)
    for canary in PASSWORDS:
        for login in (f"\0user@example.org\0{canary}", f"user\0user\0{canary}"):
            assert CANARIES.within(base64.b64encode(login.encode())) == [canary]
    with CANARIES.watch() as watch:
        shown = 'for n in {1..50}; do sasldblistusers2 -f "$@" > /dev/null 2>&1 || true; done'
        platform.run("bash", "-c", shown, "-", *PASSWORDS)
    assert watch.seen == set(PASSWORDS)
