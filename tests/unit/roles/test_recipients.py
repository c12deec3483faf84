# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of pushed recipients: what is in the spool cannot hurt root, and tables stay whole."""

from __future__ import annotations

import fcntl
import importlib.util
import io
import itertools
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ansible_collections.gatehouse.mail.plugins.module_utils import _aside
from ansible_collections.gatehouse.mail.plugins.module_utils import _recipients as core

ROLES = Path(__file__).parents[3] / "roles"
STORE = "store.example.org"
OTHER = "other.example.org"
FAKE_POSTMAP = """#!/bin/sh
case $1 in
-q) sed 's/ /\\t/' "${3#*:}" ;;
*) [ ! -e "$BROKEN" ] && cp "${1#*:}" "${1#*:}.lmdb" ;;
esac
"""


def program(path):
    sys.modules.update(_recipients=core, _aside=_aside)
    specification = importlib.util.spec_from_file_location(Path(path).stem.replace("-", "_"), ROLES / path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class Gateway:
    """The receiver, in folders of its own, with what stands for Postfix' postmap."""

    def __init__(self, folder, monkeypatch):
        self.receiver = program("pushed_recipients/files/usr/local/sbin/gatehouse-receiver.py")
        self.folder = folder
        self.said = []
        for name in ("state", "spool/in", "spool/making", "spool/answers", "tables", "bin"):
            (folder / name).mkdir(parents=True)
        (folder / "bin/postmap").write_text(FAKE_POSTMAP)
        (folder / "bin/postmap").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
        monkeypatch.setenv("BROKEN", f"{folder}/broken")
        monkeypatch.setattr(self.receiver, "say", self.said.append)
        for name, path in (("SETTINGS", "settings.json"), ("STATE", "state"), ("SPOOL", "spool"), ("TABLES", "tables")):
            monkeypatch.setattr(self.receiver, name, str(folder / path))
        self.settings = {
            "user": pwd.getpwuid(os.getuid()).pw_name,
            "max_age": 24,
            "shrink": 50,
            "grace": 0,
            "delimiter": "+",
            "mail_hosts": [
                {
                    "name": STORE,
                    "pushes": True,
                    "domains": ["example.org"],
                    "mailboxes": ["alice@example.org", "bob@example.org"],
                    "needed": ["alice@example.org"],
                },
                {
                    "name": OTHER,
                    "pushes": False,
                    "domains": ["example.net"],
                    "mailboxes": ["carol@example.net"],
                    "needed": [],
                },
            ],
            "aliases": {
                "info@example.org": ["alice@example.org"],
                "sales@example.org": ["bob@example.org"],
                "both@example.org": ["bob@example.org", "carol@example.net"],
            },
        }
        self.refresh()

    def refresh(self):
        (self.folder / "settings.json").write_text(json.dumps(self.settings))
        self.receiver.refresh()

    def table(self, name=STORE):
        return self.receiver.lines_of(self.folder / "tables" / name)

    def push(self, serial, addresses, word="keep", name=STORE, key=STORE, aliases=None):
        """Through the shell of the ssh user, while root's part is at work."""
        header, body = core.stream(name, serial, core.Lists(addresses, aliases or {}).lines(), word)
        working = threading.Event()

        def root():
            while not working.is_set():
                if os.listdir(self.folder / "spool/in"):
                    self.receiver.accept()

        worker = threading.Thread(target=root)
        worker.start()
        try:
            return self.receiver.spool(key, io.BytesIO(header.line() + body))
        except core.Refused as refused:
            return {"accepted": False, "code": refused.code}
        finally:
            working.set()
            worker.join()


@pytest.fixture
def gateway(tmp_path, monkeypatch):
    return Gateway(tmp_path, monkeypatch)


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in (folder / "tables").glob("[a-z]*")}


def test_until_the_first_push_the_inventory_serves_and_then_the_pushed_list(gateway):
    assert gateway.table() == ["alice@example.org", "bob@example.org"]
    assert gateway.table(OTHER) == ["carol@example.net"]
    answer = gateway.push(1, ["alice@example.org", "dora@example.org"])
    assert (answer["accepted"], answer["added"], answer["removed"], answer["last"]) == (True, 1, 1, 1)
    assert answer["only_in_inventory"] == ["bob@example.org"]
    assert gateway.table() == ["alice@example.org", "dora@example.org"]
    gateway.settings["mail_hosts"][0]["mailboxes"].append("late@example.org")
    gateway.settings["mail_hosts"][1]["mailboxes"].append("late@example.net")
    gateway.refresh()
    assert gateway.table() == ["alice@example.org", "dora@example.org"]
    assert gateway.table(OTHER) == ["carol@example.net", "late@example.net"]
    gateway.settings["mail_hosts"][0]["pushes"] = False
    gateway.refresh()
    assert gateway.table() == ["alice@example.org", "bob@example.org", "late@example.org"]


def deferred(gateway):
    return {key: value[:5] for key, value in gateway.receiver.entries_of(f"{gateway.folder}/tables/deferred").items()}


def test_until_the_first_push_nobody_is_refused_for_good(gateway):
    known = dict.fromkeys([*gateway.table(), "info@example.org", "sales@example.org", "both@example.org"], "DUNNO")
    assert deferred(gateway) == {"example.org": "450 4", **known}
    gateway.push(1, ["alice@example.org", "dora@example.org"], "compare")
    assert deferred(gateway) == {"example.org": "450 4", **known}
    gateway.push(1, ["alice@example.org", "dora@example.org"])
    assert deferred(gateway) == {}


def test_who_was_removed_is_told_to_come_again_for_the_time_of_grace(gateway, monkeypatch):
    gateway.settings["grace"] = 2
    gateway.refresh()
    gateway.push(1, ["alice@example.org", "bob@example.org", "dora@example.org"])
    gateway.push(2, ["alice@example.org", "dora@example.org"])
    hers = ["bob@example.org", "both@example.org", "sales@example.org"]  # also where another target is known
    assert deferred(gateway) == dict.fromkeys(hers, "450 4")
    gateway.push(3, ["alice@example.org", "bob@example.org"])
    assert deferred(gateway) == {"dora@example.org": "450 4"}
    now = gateway.receiver.time.time()
    for hours, there in ((1, {"dora@example.org": "450 4"}), (3, {}), (-9000, {})):
        monkeypatch.setattr(gateway.receiver.time, "time", lambda: now + hours * 3600)  # noqa: B023
        gateway.refresh()
        assert deferred(gateway) == there
    gateway.push(4, ["alice@example.org"])
    gateway.settings["grace"] = 0
    gateway.refresh()
    assert deferred(gateway) == {}


def test_a_comparison_changes_nothing(gateway):
    assert gateway.push(1, ["alice@example.org", "bob@example.org"])["accepted"]
    octets = bytes_of(gateway.folder)
    answer = gateway.push(2, ["alice@example.org", "dora@example.org"], "compare")
    assert (answer["names_added"], answer["names_removed"]) == (["dora@example.org"], ["bob@example.org"])
    assert (bytes_of(gateway.folder), answer["last"]) == (octets, 1)
    assert gateway.push(2, [], "compare")["code"] == "empty"


def test_aliases_of_a_mail_host_are_beside_those_of_the_inventory(gateway):
    people = ["alice@example.org", "bob@example.org"]
    pushed = {
        "team@example.org": people,
        "info@example.org": ["bob@example.org"],  # which the inventory says otherwise
        "lost@example.org": ["zoe@example.org"],
    }
    answer = gateway.push(1, people, aliases=pushed)
    assert answer["aliases_changed"] == ["info@example.org", "lost@example.org", "team@example.org"]
    assert answer["aliases_without_end"] == ["lost@example.org"]
    table = gateway.receiver.entries_of(f"{gateway.folder}/tables/virtual_alias")
    assert table["team@example.org"] == "alice@example.org, bob@example.org"
    assert table["info@example.org"] == "alice@example.org"
    assert "lost@example.org" not in table
    gateway.refresh()
    assert gateway.receiver.entries_of(f"{gateway.folder}/tables/virtual_alias") == table
    assert gateway.push(2, people, aliases={"sales@example.net": people})["code"] == "domain"
    assert gateway.push(2, people)["accepted"]
    assert "team@example.org" not in gateway.table("virtual_alias")


class Killed(BaseException):
    """What no part of the program catches."""


def postmap(words, **_more):
    """As FAKE_POSTMAP, without a process."""
    path = words[-1].partition(":")[2]
    if words[1] == "-q":
        lines = Path(path).read_text().splitlines(keepends=True)
        return subprocess.CompletedProcess(words, 0, "".join(line.replace(" ", "\t", 1) for line in lines), "")
    shutil.copyfile(path, f"{path}.lmdb")
    return subprocess.CompletedProcess(words, 0, "", "")


PEOPLE = [f"{name}@example.org" for name in ("alice", "bob", "dora")]
TEAM = {"team@example.org": PEOPLE[:2], "old@example.org": PEOPLE[:1]}
PUSHES = {
    # what changes: (grace, the pushes before as (recipients, aliases), the push that is killed)
    "the first push": (0, [], (PEOPLE, {})),
    "one comes": (0, [(PEOPLE[:2], {})], (PEOPLE, {})),
    "one goes": (0, [(PEOPLE, {})], (PEOPLE[:2], {})),
    "one goes, with grace": (24, [(PEOPLE, TEAM)], (PEOPLE[:2], TEAM)),
    "one comes back, with grace": (24, [(PEOPLE, {}), (PEOPLE[:2], {})], (PEOPLE, {})),
    "aliases change": (0, [(PEOPLE, TEAM)], (PEOPLE, {"team@example.org": PEOPLE[1:]})),
    "an alias goes, with grace": (24, [(PEOPLE, TEAM)], (PEOPLE, {"team@example.org": PEOPLE})),
}


@pytest.mark.parametrize("grace, before, last", PUSHES.values(), ids=PUSHES)
def test_a_push_that_was_killed_at_any_write_is_mended_by_the_same_list(tmp_path, monkeypatch, grace, before, last):
    monkeypatch.setattr(subprocess, "run", postmap)

    def tables_after(number, fatal):
        """The tables after the push, which is killed at this write and comes again; and whether it was."""
        gateway = Gateway(tmp_path / str(number), monkeypatch)
        gateway.settings["grace"] = grace
        gateway.refresh()
        here, writes = gateway.settings["mail_hosts"][0], itertools.count(1)

        def push(serial, recipients, aliases):
            header, body = core.stream(STORE, serial, core.Lists(recipients, aliases).lines())
            taken = gateway.receiver.repeated(gateway.settings, here, header) or gateway.receiver.take(
                gateway.settings, here, header, core.lists_of(body, header)
            )
            assert taken["accepted"]

        def or_killed(call):
            def called(*words, **more):
                if next(writes) == fatal:
                    raise Killed
                return call(*words, **more)

            return called

        for serial, lists in enumerate(before, 1):
            push(serial, *lists)
        known = {*gateway.table(), *gateway.table("virtual_alias")}
        killed = False
        with monkeypatch.context() as patch:
            patch.setattr(_aside, "go_live", or_killed(_aside.go_live))
            patch.setattr(subprocess, "run", or_killed(postmap))
            try:
                push(8, *last)
            except Killed:
                killed = True
        if not grace:  # who is known before and after is so in between
            known &= {*last[0], *last[1]}
        found = {*gateway.table(), *gateway.table("virtual_alias"), *gateway.table("deferred")}
        assert found >= known
        push(9, *last)
        return {path.name: path.read_text() for path in (gateway.folder / "tables").glob("[a-z]*")}, killed

    undisturbed, _killed = tables_after(0, 0)
    assert "virtual_alias.lmdb" in undisturbed
    for number in itertools.count(1):
        found, killed = tables_after(number, number)
        assert found == undisturbed, f"killed at write {number}"
        if not killed:
            break
    assert number > 3


def test_a_domain_that_was_away_for_a_moment_has_its_people_again(gateway):
    domains, everybody = gateway.settings["mail_hosts"][0]["domains"], [*PEOPLE, "eve@example.com"]
    domains.append("example.com")
    gateway.refresh()
    assert gateway.push(1, everybody)["accepted"]
    domains.remove("example.com")
    gateway.refresh()
    assert (gateway.table(), deferred(gateway)) == (PEOPLE, {})
    domains.append("example.com")
    gateway.refresh()
    assert (gateway.table(), deferred(gateway)) == (PEOPLE, {"example.com": "450 4"})
    assert gateway.push(2, everybody)["accepted"]
    assert (gateway.table(), deferred(gateway)) == (everybody, {})


def test_a_domain_that_comes_to_a_mail_host_waits_for_its_next_push(gateway, capsys):
    store, other = gateway.settings["mail_hosts"]
    other["pushes"] = True
    gateway.refresh()
    assert gateway.push(1, PEOPLE)["accepted"]
    assert gateway.push(1, ["carol@example.net", "eve@example.net"], name=OTHER, key=OTHER)["accepted"]
    assert (gateway.receiver.status(), deferred(gateway)) == (0, {})
    store["domains"].append("example.net")
    store["mailboxes"].append("carol@example.net")
    other["domains"], other["mailboxes"] = [], []
    gateway.refresh()
    assert gateway.table() == [*PEOPLE[:2], "carol@example.net", PEOPLE[2]]
    assert deferred(gateway) == {"example.net": "450 4", "carol@example.net": "DUNNO"}
    capsys.readouterr()
    assert gateway.receiver.status() == 1
    assert "no push yet of example.net;" in capsys.readouterr().out
    gateway.refresh()  # a second one says the same
    assert not json.loads(capsys.readouterr().out)["changed"]
    assert gateway.push(2, [*PEOPLE, "eve@example.net"])["accepted"]
    assert (gateway.table(), deferred(gateway)) == ([*PEOPLE, "eve@example.net"], {})


def test_leftovers_and_another_mail_host_s_pushes_shut_nobody_out(gateway):
    making, answers = gateway.folder / "spool/making", gateway.folder / "spool/answers"
    old = gateway.receiver.time.time() - 3 * gateway.receiver.LONGEST_PUSH
    for number in range(gateway.receiver.MOST):
        for host in (STORE, OTHER):
            (making / f"{host}_{number:032x}").touch()
        os.utime(making / f"{STORE}_{number:032x}", (old, old))
    (answers / ".killed").mkdir()
    (answers / ".killed/new").touch()
    os.utime(answers / ".killed", (old, old))
    assert gateway.push(1, PEOPLE)["accepted"]
    assert not (answers / ".killed").exists()
    assert {path.name.partition("_")[0] for path in making.iterdir()} == {OTHER}
    for number in range(gateway.receiver.MOST):
        (making / f"{STORE}_{number:032x}").touch()
    with pytest.raises(OSError, match="too many pushes"):
        gateway.push(2, PEOPLE)


def test_only_what_is_root_s_alone_is_locked(gateway, monkeypatch):
    """Whoever may read a folder can lock it for ever."""
    locked, real = set(), fcntl.flock

    def flock(handle, how):
        number = handle if isinstance(handle, int) else handle.fileno()
        locked.add(os.path.relpath(os.readlink(f"/proc/self/fd/{number}"), gateway.folder))
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert gateway.push(1, PEOPLE)["accepted"]
    assert locked == {"state", "state/lock", "tables/.aside"}
    assert stat.S_IMODE((gateway.folder / "tables/.aside").stat().st_mode) == 0o700


def test_a_domain_that_moves_leaves_the_pushed_list(gateway):
    gateway.settings["mail_hosts"][0]["domains"].append("example.com")
    gateway.refresh()
    gateway.push(1, ["alice@example.org", "bob@example.org", "eve@example.com"])
    assert gateway.table() == ["alice@example.org", "bob@example.org", "eve@example.com"]
    gateway.settings["mail_hosts"][0]["domains"].remove("example.com")
    gateway.refresh()
    assert gateway.table() == ["alice@example.org", "bob@example.org"]


def test_an_alias_goes_with_its_end_and_comes_back_with_it(gateway):
    assert gateway.table("virtual_alias") == ["both@example.org", "info@example.org", "sales@example.org"]
    answer = gateway.push(1, ["alice@example.org"])
    assert answer["aliases_without_end"] == ["both@example.org", "sales@example.org"]
    assert gateway.table("virtual_alias") == ["both@example.org", "info@example.org"]
    gateway.push(2, ["alice@example.org", "bob@example.org"])
    assert gateway.table("virtual_alias") == ["both@example.org", "info@example.org", "sales@example.org"]


RAILS = {
    "serial": (5, ["alice@example.org", "bob@example.org"], {}),
    "empty": (6, [], {"word": "shrink"}),
    "shrunk": (6, ["alice@example.org"], {}),
    "domain": (6, ["alice@example.org", "bob@example.org", "carol@example.net"], {}),
    "postmaster": (6, ["bob@example.org", "carl@example.org", "dora@example.org"], {}),
    "host": (6, ["carol@example.net"], {"name": OTHER}),
}


@pytest.mark.parametrize("code", RAILS)
def test_what_is_refused_leaves_every_table_as_it_was(gateway, code):
    before = ["alice@example.org", "bob@example.org", "carl@example.org", "dora@example.org"]
    assert gateway.push(5, before)["accepted"]
    octets = bytes_of(gateway.folder)
    serial, addresses, more = RAILS[code]
    gateway.said.clear()
    answer = gateway.push(serial, addresses, **more)
    assert (answer["accepted"], answer["code"]) == (False, code)
    assert bytes_of(gateway.folder) == octets
    if code != "host":  # which the shell refuses, and logs as the ssh user
        assert [words for words in gateway.said if "the table stays as it was" in words]
        assert answer["last"] == 5
    assert gateway.push(6, before[:1], "shrink")["accepted"]
    assert gateway.table() == before[:1]


def test_who_does_not_push_cannot(gateway):
    header, body = core.stream(OTHER, 1, ["carol@example.net", "eve@example.net"])
    (gateway.folder / "spool/in" / f"{OTHER}_{'0' * 32}").write_bytes(header.line() + body)
    gateway.receiver.accept()
    assert gateway.table(OTHER) == ["carol@example.net"]


def test_a_table_that_cannot_be_built_stays(gateway):
    octets = bytes_of(gateway.folder)
    (gateway.folder / "broken").touch()
    answer = gateway.push(1, ["alice@example.org", "eve@example.org"])
    assert (answer["accepted"], answer["code"], answer["last"]) == (False, "trouble", 0)
    assert bytes_of(gateway.folder) == octets
    (gateway.folder / "broken").unlink()
    assert gateway.push(1, ["alice@example.org", "eve@example.org"])["accepted"]


def odd(path, kind, secret):
    if kind == "link":
        path.symlink_to(secret)
    elif kind == "hard link":
        path.hardlink_to(secret)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
        (path / "within").symlink_to(secret)
    elif kind == "link to a folder":
        path.symlink_to(secret.parent)
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(1 << 40)


@pytest.mark.parametrize("named", [True, False], ids=["a name of a push", "another name"])
@pytest.mark.parametrize("kind", ["link", "hard link", "fifo", "folder", "link to a folder", "huge"])
def test_what_is_no_push_is_removed_and_hurts_nobody(gateway, kind, named):
    """The secret is a whole push, which would be taken if a link were followed."""
    header, body = core.stream(STORE, 1, ["alice@example.org", "eve@example.org"])
    (gateway.folder / "private").mkdir()
    secret = gateway.folder / "private/secret"
    secret.write_bytes(header.line() + body)
    octets = bytes_of(gateway.folder)
    name = f"{STORE}_{'a' * 32}" if named else "../private/secret".replace("/", "_")
    odd(gateway.folder / "spool/in" / name, kind, secret)
    gateway.receiver.accept()
    assert os.listdir(gateway.folder / "spool/in") == []
    assert secret.read_bytes() == header.line() + body
    assert bytes_of(gateway.folder) == octets
    (gateway.folder / "spool/in" / f"{STORE}_{'b' * 32}").write_bytes(header.line() + body)
    gateway.receiver.accept()
    assert gateway.table() == ["alice@example.org", "eve@example.org"]


def test_a_file_of_somebody_else_is_no_push(gateway):
    header, body = core.stream(STORE, 1, ["alice@example.org", "eve@example.org"])
    gateway.settings["user"] = "daemon"
    gateway.refresh()
    (gateway.folder / "spool/in" / f"{STORE}_{'b' * 32}").write_bytes(header.line() + body)
    gateway.receiver.accept()
    assert gateway.table() == ["alice@example.org", "bob@example.org"]


def test_the_account_is_good_for_nothing_else(gateway):
    for arguments in ([], ["-c"], ["-c", "a", "b"], ["sh"], ["-l"]):
        with pytest.raises(SystemExit):
            gateway.receiver.main(arguments)


@pytest.fixture
def sender(tmp_path, monkeypatch):
    module = program("recipients/files/usr/local/sbin/gatehouse-recipients.py")
    for name in ("mail-host", "mail-host/gateways"):
        (tmp_path / name).mkdir()
    (tmp_path / "mail-host/gateways/mx1.example.org.conf").touch()
    (tmp_path / "list").write_text("alice@example.org\nBob@example.org\n")
    (tmp_path / "known").write_text("".join(f"{name}@example.org\n" for name in ("alice", "bob", "carol", "dora")))
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs/doveadm").write_text(f'#!/bin/sh\n[ "$2" = "*" ] && cat {tmp_path}/known\n')
    (tmp_path / "programs/doveadm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/programs:{os.environ['PATH']}")
    monkeypatch.setattr(module, "WRITING", 0)
    monkeypatch.setattr(module, "STATE", str(tmp_path / "mail-host"))
    monkeypatch.setattr(module, "GATEWAYS", str(tmp_path / "mail-host/gateways"))
    return module


def site(folder, *sources):
    return {
        "name": STORE,
        "domains": ["example.org"],
        "gateways": ["mx1.example.org"],
        "max_age": 24,
        "delimiter": "+",
        "sources": [*sources, {"kind": "list", "value": str(folder / "list"), "domain": ""}],
    }


def answering(sender, monkeypatch, answer):
    """ssh gives this to what it is sent."""
    real = sender.subprocess.run

    def run(words, **more):
        if words[0] != "ssh":
            return real(words, **more)
        stream = io.BytesIO(more["input"])
        said = answer(*core.read(stream))
        return sender.subprocess.CompletedProcess(words, 0, said if isinstance(said, bytes) else json.dumps(said), b"x")

    monkeypatch.setattr(sender.subprocess, "run", run)


def test_a_mail_host_that_was_rebuilt_goes_on_where_the_gateway_is(gateway, sender, monkeypatch):
    assert gateway.push(700, ["alice@example.org", "bob@example.org"])["accepted"]
    answering(sender, monkeypatch, lambda header, lists: gateway.push(header.serial, lists.recipients, header.word))
    here = site(gateway.folder)
    assert sender.status(here) == 1
    assert sender.push_all(here) == 0
    assert sender.state_of("mx1.example.org")["serial"] == 701
    assert sender.status(here) == 0
    here["max_age"] = -1
    assert sender.status(here) == 1


def test_a_change_while_a_push_is_under_way_is_pushed_too(gateway, sender, monkeypatch):
    pushed = []

    def answer(header, lists):
        pushed.append(lists.recipients)
        if len(pushed) == 1:
            (gateway.folder / "list").write_text("alice@example.org\n")
        return {"accepted": True, "serial": header.serial, "count": header.count}

    monkeypatch.setattr(sender, "SETTLING", 0)
    monkeypatch.setattr(sender, "settings", lambda: site(gateway.folder))
    answering(sender, monkeypatch, answer)
    assert sender.serve("mx1.example.org") == 0
    assert pushed == [["alice@example.org", "bob@example.org"], ["alice@example.org"]]


def attempt(sender, here):
    return sender.tried(here, "mx1.example.org", sender.found(here))


AWAY = {"nothing": b"", "no JSON": b"Hello", "no answer": b"{}", "another type": b'{"accepted": "yes"}'}


@pytest.mark.parametrize("said", AWAY.values(), ids=AWAY)
def test_what_is_no_answer_is_tried_again(gateway, sender, monkeypatch, said):
    answering(sender, monkeypatch, lambda _header, _addresses: said)
    assert attempt(sender, site(gateway.folder))[::2] == (None, True)
    assert sender.state_of("mx1.example.org")["serial"] == 0


def test_a_source_that_cannot_be_read_sends_nothing(gateway, sender, monkeypatch):
    answering(sender, monkeypatch, lambda header, _lists: {"accepted": True, "serial": 1, "count": header.count})
    assert attempt(sender, site(gateway.folder)).answer
    for source in (
        {"kind": "list", "value": "/nonexistent", "domain": ""},
        {"kind": "command", "value": ["/bin/false"], "domain": ""},
        {"kind": "unix_group", "value": "no-such-group", "domain": "example.org"},
        {"kind": "command", "value": ["/bin/echo", "eve@example.com"], "domain": ""},
        {"kind": "command", "value": ["/bin/echo", "www@example.org"], "domain": ""},  # whom Dovecot does not know
    ):
        outcome = attempt(sender, site(gateway.folder, source))
        assert (outcome.answer, outcome.again) == (None, False)
        assert outcome.reason.startswith("nothing was sent: ")


def test_all_sources_are_collected(gateway, sender):
    users = gateway.folder / "users"
    users.write_text("carol:{PLAIN}x:::::\n")
    found = sender.collect(
        site(
            gateway.folder,
            {"kind": "users_file", "value": str(users), "domain": "example.org"},
            {"kind": "command", "value": ["/bin/echo", "dora@example.org"], "domain": ""},
        )
    )
    assert found == (["alice@example.org", "bob@example.org", "carol@example.org", "dora@example.org"], {})
    (gateway.folder / "aliases").write_text("info: alice, bob\n")
    kind = {"kind": "aliases_file", "value": str(gateway.folder / "aliases"), "domain": "example.org"}
    assert sender.collect(site(gateway.folder, kind)).aliases == {
        "info@example.org": ["alice@example.org", "bob@example.org"]
    }


def test_a_secret_of_a_command_is_in_no_message(gateway, sender, monkeypatch):
    monkeypatch.setattr(sender, "LONGEST_COMMAND", 0.05)
    for words, reason in (
        (["/bin/sh", "-c", "exit 3", "hunter2"], "it ends with 3"),
        (["/bin/sh", "-c", "sleep 1", "hunter2"], "no end within"),
        (["/nonexistent/sh", "hunter2"], "No such file"),
    ):
        with pytest.raises(core.Refused) as refused:
            sender.addresses_of("command", words, None)
        assert reason in str(refused.value)
        assert words[0] in str(refused.value)
        assert "hunter2" not in str(refused.value)


def test_a_source_that_is_being_written_is_not_read(gateway, sender, monkeypatch):
    people = gateway.folder / "people"
    people.write_text("alice@example.org\nbo")
    with pytest.raises(core.Refused, match="its last line has no end"):
        sender.addresses_of("list", str(people), "example.org")
    people.write_text("alice@example.org\n")
    assert sender.addresses_of("list", str(people), None) == ["alice@example.org"]

    def more(_seconds):
        with people.open("a") as file:
            file.write("bob@example.org\n")

    monkeypatch.setattr(sender.time, "sleep", more)
    with pytest.raises(core.Refused, match="somebody writes it"):
        sender.addresses_of("list", str(people), None)


def test_a_push_that_is_too_much_is_not_taken_again(gateway, monkeypatch):
    def too_much(_stream):
        raise MemoryError

    header, body = core.stream(STORE, 1, ["alice@example.org", "eve@example.org"])
    spooled = gateway.folder / "spool/in" / f"{STORE}_{'a' * 32}"
    spooled.write_bytes(header.line() + body)
    with monkeypatch.context() as patch:
        patch.setattr(core, "read_header", too_much)
        with pytest.raises(MemoryError):
            gateway.receiver.accept()
    assert not spooled.exists()
    assert gateway.push(1, ["alice@example.org", "eve@example.org"])["accepted"]


def test_the_spool_has_room_for_some_pushes(gateway, monkeypatch):
    monkeypatch.setattr(gateway.receiver, "answer_to", lambda _name, _patience: {"accepted": True})
    header, body = core.stream(STORE, 1, ["alice@example.org"])
    for _number in range(gateway.receiver.MOST):
        gateway.receiver.spool(STORE, io.BytesIO(header.line() + body))
    with pytest.raises(OSError, match="too many pushes"):
        gateway.receiver.spool(STORE, io.BytesIO(header.line() + body))


def test_a_gateway_says_by_its_exit_code_that_a_list_is_old(gateway):
    assert gateway.receiver.status() == 1  # none yet
    gateway.push(1, ["alice@example.org", "bob@example.org"])
    assert gateway.receiver.status() == 0
    assert gateway.receiver.watch() == 0
    assert not [words for words in gateway.said if "TOO OLD" in words]
    gateway.settings["max_age"] = -1
    gateway.refresh()
    assert gateway.receiver.status() == 1
    gateway.receiver.watch()
    assert [words for words in gateway.said if "TOO OLD" in words]


def test_a_job_ends_with_its_gateway(gateway, sender, monkeypatch):
    monkeypatch.setattr(sender, "settings", lambda: site(gateway.folder))
    assert sender.serve("gone.example.org") == 0
    begun = []
    monkeypatch.setattr(sender.subprocess, "run", lambda words, **_more: begun.append(words[-1]))
    for name in ("gone.example.org.json", "gone.example.org.lock", "mx1.example.org.json"):
        (gateway.folder / "mail-host" / name).touch()
    assert sender.start(site(gateway.folder)) == 0
    assert begun == ["gatehouse-recipients@mx1.example.org.service"]
    assert [path.name for path in (gateway.folder / "mail-host").glob("*.*")] == ["mx1.example.org.json"]


def test_the_same_list_again_is_taken_without_a_second_look(gateway, monkeypatch):
    people = ["alice@example.org", "bob@example.org"]
    first = gateway.push(1, people)
    taken = []
    real = gateway.receiver.take
    monkeypatch.setattr(gateway.receiver, "take", lambda *all_of: (taken.append(1), real(*all_of))[1])
    again = gateway.push(2, people)
    assert (taken, again["serial"], again["last"]) == ([], 2, 2)
    assert {**first, "serial": 2, "last": 2, "names_added": [], "names_removed": []} == again
    assert gateway.push(2, people)["code"] == "serial"
    header, body = core.stream(STORE, 3, people)
    with pytest.raises(core.Refused, match="its header says 3"):
        gateway.receiver.spool(STORE, io.BytesIO(header._replace(count=3).line() + body))
    gateway.settings["mail_hosts"][0]["needed"] = ["carol@example.org"]
    gateway.refresh()
    assert gateway.push(3, people)["code"] == "postmaster"
    gateway.settings["mail_hosts"][0]["needed"] = []
    gateway.refresh()
    assert gateway.push(3, people)["accepted"]
    (gateway.folder / "tables" / f"{STORE}.lmdb").write_text("x")  # what Postfix reads is not what was built
    assert gateway.push(4, people)["accepted"]
    assert (gateway.folder / "tables" / f"{STORE}.lmdb").read_text() == (gateway.folder / "tables" / STORE).read_text()
    assert len(taken) == 3


def test_who_was_killed_before_the_end_has_not_taken_the_list(gateway, monkeypatch):
    """Neither that list nor the one before is then taken for the one that is there."""
    one, two = (["alice@example.org", name] for name in ("bob@example.org", "carl@example.org"))
    assert gateway.push(1, one)["accepted"]

    def killed(path, text):
        if path.endswith(f"{STORE}.json") and json.loads(text)["digest"]:  # the last time
            raise MemoryError
        write(path, text)

    write = gateway.receiver._aside.write
    for number, again in ((2, one), (3, two)):
        header, body = core.stream(STORE, number, two)
        (gateway.folder / "spool/in" / f"{STORE}_{'a' * 32}").write_bytes(header.line() + body)
        with monkeypatch.context() as patch:
            patch.setattr(gateway.receiver._aside, "write", killed)
            with pytest.raises(MemoryError):
                gateway.receiver.accept()
        assert gateway.table() == two
        assert gateway.push(number, again)["accepted"]
        assert gateway.table() == again


def test_no_push_brings_back_what_a_newer_one_has_changed(gateway, sender, monkeypatch):
    pushed = []

    def answer(header, lists):
        pushed.append(lists.recipients)
        return {"accepted": True, "serial": header.serial, "count": header.count}

    answering(sender, monkeypatch, answer)
    here = site(gateway.folder)
    early = sender.found(here)
    (gateway.folder / "list").write_text("alice@example.org\n")
    assert attempt(sender, here).answer
    assert sender.tried(here, "mx1.example.org", early).answer
    assert pushed == [["alice@example.org"], ["alice@example.org"]]
