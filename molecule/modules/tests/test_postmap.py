"""Module postmap with the host's own Postfix: what it writes, postmap and postalias find."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[3] / "tests"
sys.path.append(str(TESTS))

import throwaway  # noqa: E402

MODULE = "gatehouse.mail.postmap"
TABLE = "/etc/postfix/tables/recipients"
ENTRIES = {"alice@example.org": "OK", "Bob@example.org": "two words", "spammer.example": "554 5.7.1 Not here"}
SUFFIX = {"lmdb": "lmdb", "cdb": "cdb", "hash": "db", "btree": "db"}


def table(**options):
    return {MODULE: {"path": TABLE, "type": "lmdb", **options}}


def shell(text):
    return {"ansible.builtin.command": {"argv": ["bash", "-ec", text]}}


@pytest.fixture
def folder(platform):
    """A new and empty folder for the table."""
    platform.run("rm", "-rf", "/etc/postfix/tables")
    platform.run("mkdir", "/etc/postfix/tables")
    return "/etc/postfix/tables"


def ask(platform, kind, *keys, tool="postmap", path=TABLE):
    """What Postfix finds for these keys, a line each."""
    return platform.run(
        tool, "-q", "-", f"{kind}:{path}", given="".join(f"{key}\n" for key in keys), check=False
    ).stdout


# EL 10's Postfix has no Berkeley DB.
LACKING = {"el10": {"hash", "btree"}}


def test_postfix_finds_just_what_was_asked_for_in_every_type(platform, run, folder):
    for kind in SUFFIX.keys() - LACKING.get(platform.name, set()):
        platform.run("find", folder, "-mindepth", "1", "-delete")
        first, second = run.tasks(platform, [table(type=kind, entries=ENTRIES)] * 2, "--diff")
        assert (first["changed"], second["changed"]) == (True, False), kind
        assert first["counts"] == {"added": 3, "removed": 0, "changed": 0}
        assert (first["index_state"], second["index_state"]) == ("missing", "current")
        assert first["index"] == f"{TABLE}.{SUFFIX[kind]}"
        assert ask(platform, kind, "ALICE@example.org", "bob@example.org", "spammer.example", "carol@example.org") == (
            "ALICE@example.org\tOK\nbob@example.org\ttwo words\nspammer.example\t554 5.7.1 Not here\n"
        )


@pytest.mark.parametrize("kind", sorted(LACKING["el10"]))
def test_a_type_that_the_host_lacks_is_refused(el10, run, kind):
    path = "/etc/postfix/refused"
    assert f"a Postfix without tables of type {kind}" in run(el10, MODULE, path=path, type=kind, entries=ENTRIES)["msg"]
    asked = el10.run("postmap", "-q", "a", f"{kind}:/etc/postfix/main.cf", check=False)
    assert f"unsupported dictionary type: {kind}" in asked.stderr  # the stand-in's programs agree
    assert el10.out("find", "/etc/postfix", "-name", "*refused*") == ""


def test_the_hosts_best_type_is_lmdb(platform, run, folder):
    assert run(platform, MODULE, path=TABLE, entries=[["a", "1"], {"key": "b", "value": "2"}])["type"] == "lmdb"
    assert ask(platform, "lmdb", "a", "b") == "a\t1\nb\t2\n"


DRIFT = {
    "the index is gone": (f"rm {TABLE}.lmdb", "missing"),
    "the index is older": (f"touch --date='2 minutes' {TABLE}", "older"),
    "somebody added an entry": (f"echo carol OK >> {TABLE}; postmap lmdb:{TABLE}", "foreign"),
    "somebody built the index": (f"postmap lmdb:{TABLE}", "foreign"),
    "the index is of another table": (
        f"echo x y > /tmp/x; postmap lmdb:/tmp/x; cp /tmp/x.lmdb {TABLE}.lmdb", "foreign",
    ),
    "the index has a wrong octet": (
        f"printf X | dd of={TABLE}.lmdb bs=1 seek=9000 conv=notrunc; touch -r {TABLE} {TABLE}.lmdb", "foreign",
    ),
    "the record is gone": ("rm /etc/postfix/tables/.recipients.built", "foreign"),
    "a killed run left something": ("mkdir /etc/postfix/tables/.recipients.aside-x", "current"),
    "the mode is another": (f"chmod 600 {TABLE}.lmdb", "current"),
}  # fmt: skip


def test_drift_is_reported_and_mended(platform, run, folder):
    good = table(entries=ENTRIES)
    look = f"postmap -s lmdb:{TABLE} | wc -l; ls -A {folder}; stat --format=%a {TABLE} {TABLE}.lmdb"
    tasks = [[shell(drift), {**good, "check_mode": True}, good, good, shell(look)] for drift, _state in DRIFT.values()]
    results = run.tasks(platform, [good, *(task for group in tasks for task in group)])[1:]
    for number, (name, (_drift, state)) in enumerate(DRIFT.items()):
        _drifted, checked, mended, again, looked = results[5 * number : 5 * number + 5]
        assert (checked["changed"], mended["changed"], again["changed"]) == (True, True, False), name
        assert (mended["index_state"], again["index_state"]) == (state, "current"), name
        files = [".recipients.built", "recipients", "recipients.lmdb"]
        assert looked["stdout"].split() == [str(len(ENTRIES)), *files, "644", "644"], name


def test_what_is_only_touched_is_not_changed(platform, run, folder):
    run.tasks(platform, [table(entries=ENTRIES)])
    platform.run("bash", "-ec", f"cp -p {TABLE}.lmdb /tmp/i; rm {TABLE}.lmdb; cp -p /tmp/i {TABLE}.lmdb")
    assert run.tasks(platform, [table(entries=ENTRIES)])[0]["changed"] is False


def test_a_large_file_is_a_table_and_its_diff_is_short(platform, run, folder):
    keys = [f"user{number:06}@example.org" for number in range(100_000)]
    platform.run("tee", "/root/src", given="".join(f"{key} OK\n" for key in reversed(keys)))
    first, second = run.tasks(platform, [table(src="/root/src")] * 2, "--diff")
    assert (first["changed"], second["changed"], second["count"]) == (True, False, 100_000)
    assert first["diff"]["added"] == keys[:50]
    assert len(str(first["diff"])) < 10_000
    assert ask(platform, "lmdb", *keys).count("\n") == 100_000
    platform.run(
        "bash", "-ec", "sed -i 's/^user000007@/new@/; s/^user000008@.* OK/user000008@example.org no/' /root/src"
    )
    changed = run.tasks(platform, [table(src="/root/src")], "--check", "--diff")[0]
    assert changed["counts"] == {"added": 1, "removed": 1, "changed": 1}
    assert [changed["diff"][what] for what in ("added", "removed", "changed")] == [
        ["new@example.org"],
        [keys[7]],
        [keys[8]],
    ]
    assert ask(platform, "lmdb", keys[7]) == f"{keys[7]}\tOK\n"


@pytest.mark.parametrize(
    "line", ["#carol@example.org OK", " carol@example.org OK", "carol@example.org", "alice@example.org no"]
)
def test_a_bad_line_leaves_the_old_table(platform, run, folder, line):
    run.tasks(platform, [table(entries=ENTRIES)])
    platform.run("tee", "/root/src", given=f"alice@example.org OK\n{line}\n")
    refused = run.tasks(platform, [table(src="/root/src")])[0]
    assert refused["failed"]
    assert line.split()[0] in refused["msg"]
    assert ask(platform, "lmdb", *ENTRIES).count("\n") == len(ENTRIES)
    assert run.tasks(platform, [table(entries=ENTRIES)])[0]["changed"] is False


def test_postalias_writes_alias_files(platform, run, folder):
    path = f"{folder}/aliases"
    aliases = {"Postmaster": "root", "list": '"|/usr/bin/list request", /dev/null', "team": "alice,bob@example.org"}
    task = {MODULE: {"path": path, "tool": "postalias", "entries": aliases}}
    first, second = run.tasks(platform, [task] * 2)
    assert (first["changed"], second["changed"]) == (True, False)
    assert ask(platform, "lmdb", "postmaster", "list", "team", "other", tool="postalias", path=path) == (
        'postmaster:\troot\nlist:\t"|/usr/bin/list request", /dev/null\nteam:\talice, bob@example.org\n'
    )


def test_a_table_without_an_index_is_read_by_postfix_first(platform, run, folder):
    good = table(type="pcre", entries=[["/^Subject: /", "DUNNO"], ["/./", "IGNORE"]])
    bad = table(type="pcre", entries=[["/(/", "DUNNO"]])
    results = run.tasks(platform, [good, good, bad])
    assert [result["changed"] for result in results[:2]] == [True, False]
    assert "missing" in results[2]["msg"]
    assert platform.out("cat", TABLE) == "/^Subject: / DUNNO\n/./ IGNORE\n"


def test_several_tables_are_written_in_one_go(platform, run, folder):
    def tables(*entries, **options):
        names = ("recipients", "checks")
        kinds = ("lmdb", "pcre")
        each = [{"path": f"{folder}/{n}", "type": k, "entries": e} for n, k, e in zip(names, kinds, entries)]
        return {MODULE: {"tables": each, **options}}

    checks = [["/^Subject: /", "DUNNO"]]
    first, second, third, refused = run.tasks(
        platform,
        [
            tables(ENTRIES, checks, mode="0640"),
            tables(ENTRIES, checks, mode="0640"),
            tables(ENTRIES, [*checks, ["/./", "IGNORE"]], mode="0640"),
            tables({"carol@example.org": "OK"}, [["no pattern", "DUNNO"]], mode="0640"),
        ],
        "--diff",
    )
    assert [result["changed"] for result in (first, second, third)] == [True, False, True]
    assert [table["changed"] for table in third["tables"]] == [False, True]
    assert [diff["after_header"] for diff in third["diff"]] == [f"{folder}/checks"]
    assert "no pattern" in refused["msg"]
    # Nothing of what was refused has been written, not what came before the mistake either.
    assert ask(platform, "lmdb", "alice@example.org", "carol@example.org") == "alice@example.org\tOK\n"
    assert platform.out("stat", "--format=%a", f"{folder}/recipients", f"{folder}/checks").split() == ["640"] * 2


def test_what_cannot_be_meant_of_several_tables_is_refused(platform, run, folder):
    table = {"path": TABLE, "entries": {}}
    for options in ({}, {"tables": [table], "path": TABLE}, {"tables": [table], "state": "absent"}, {"path": TABLE}):
        assert run.tasks(platform, [{MODULE: options}])[0]["failed"], options


def test_a_sensitive_table_is_shown_nowhere(platform, run, folder):
    secret = f"canary-{uuid.uuid4()}"  # the journal remembers other runs
    result = run.tasks(
        platform, [table(sensitive=True, entries={"[smtp.example.net]:587": f"user:{secret}"})], "--diff", "-vvv"
    )
    assert "diff" not in result[0]
    assert (
        platform.out("stat", "--format=%a", TABLE, f"{TABLE}.lmdb", f"{folder}/.recipients.built").split()
        == ["600"] * 3
    )
    assert secret not in platform.journal()
    assert ask(platform, "lmdb", "[smtp.example.net]:587").endswith(f"user:{secret}\n")


def test_absent_leaves_nothing(platform, run, folder):
    absent = {MODULE: {"path": TABLE, "state": "absent"}}
    results = run.tasks(platform, [table(entries=ENTRIES), absent, absent])
    assert [result["changed"] for result in results] == [True, True, False]
    assert platform.out("ls", "-A", folder) == ""


def test_a_killed_run_costs_no_key_and_the_next_one_repairs_all(platform):
    """As tests/stress/test_postmap.py, which kills more often, and tables of each type."""
    there = throwaway.Host(platform.container)
    there.install_modules()
    path = "/root/tables/t"
    command = there.command_of("postmap", {"path": path, "type": "lmdb", "src": "/root/src"})
    order = {
        "do": "kill",
        "type": "lmdb",
        "path": path,
        "command": command,
        "entries": 60_000,
        "rounds": 20,
        "in_place": False,
    }
    found = there.python(TESTS / "stress/postmap_on_host.py", order)
    assert sum(kill["after_first_write"] for kill in found["kills"]) >= 10
    assert [kill for kill in found["kills"] if kill["missed"] or not kill["repaired"]] == []
    assert not found["left"]
