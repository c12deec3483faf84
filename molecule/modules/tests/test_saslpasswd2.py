"""Module saslpasswd2 with the host's own SASL. Postfix' smtpd asks the database, on Debian from its chroot."""

from __future__ import annotations

import base64

import pytest

MODULE = "gatehouse.mail.saslpasswd2"

ALICE = {"user": "alice", "realm": "example.org", "password": "correct horse alice"}
BOB = {"user": "bob", "realm": "example.net", "password": "Ünïcode 'and' \"quotes\" %s $(id) \\"}
CAROL = {"user": "carol", "realm": "example.org", "password": "correct horse carol"}


def users(*listed, **options):
    return {MODULE: {"users": list(listed), **options}}


@pytest.fixture
def start(platform, run):
    """start(user, ...): a database with just these users; gives the options that every task needs."""

    def begin(*listed):
        place = {"copy": platform.lab_sasldb_copy}
        result = run(platform, MODULE, users=list(listed), purge=True, **place)
        assert "failed" not in result, result
        return place

    return begin


@pytest.fixture
def log_in(platform):
    """log_in(user): the code of Postfix' reply to AUTH PLAIN; 235 is yes, 535 is no."""

    def attempt(user, password=None):
        words = f"\0{user['user']}@{user['realm']}\0{password or user['password']}"
        lines = ["EHLO client.example.org", f"AUTH PLAIN {base64.b64encode(words.encode()).decode()}", "QUIT"]
        order = {"host": "127.0.0.1", "port": 25, "source": None, "send": lines}
        return int(platform.python("smtp_client.py", order)[2][1][-1][:3])

    return attempt


def listed(platform):
    lines = platform.out("sasldblistusers2", "-f", platform.lab_sasldb).splitlines()
    return sorted(line.partition(":")[0] for line in lines)


def status(platform, *paths):
    return platform.out("stat", "--format=%i %y %U:%G %a", *paths).splitlines()


def test_users_log_in_with_their_passwords_and_with_no_other(platform, start, log_in):
    start(ALICE, BOB)
    assert [log_in(ALICE), log_in(BOB)] == [235, 235]
    assert [log_in(ALICE, BOB["password"]), log_in(CAROL), log_in({**ALICE, "realm": "example.net"})] == [535] * 3


def test_a_second_run_leaves_the_file_alone(platform, run, start):
    place = start(ALICE, BOB)
    before = status(platform, platform.lab_sasldb)
    assert run(platform, MODULE, users=[BOB, ALICE], **place)["changed"] is False
    assert status(platform, platform.lab_sasldb) == before


def test_one_password_changes_and_the_others_stay(platform, run, start, log_in):
    place = start(ALICE, BOB)
    new = {**ALICE, "password": "battery staple alice"}
    result = run(platform, MODULE, "--diff", users=[new, BOB], **place)
    assert result["counts"] == {"added": 0, "removed": 0, "changed": 1}
    assert result["diff"]["after"] == "alice@example.org (new password)\nbob@example.net\n"
    assert [log_in(new), log_in(ALICE), log_in(BOB)] == [235, 535, 235]


def test_on_create_gives_a_password_to_new_users_only(platform, run, start, log_in):
    place = start(ALICE)
    other = {**ALICE, "password": "battery staple alice"}
    result = run(platform, MODULE, users=[other, CAROL], update_password="on_create", **place)
    assert result["counts"] == {"added": 1, "removed": 0, "changed": 0}
    assert [log_in(ALICE), log_in(other), log_in(CAROL)] == [235, 535, 235]


def test_users_stay_unless_they_are_purged_or_absent(platform, run, start):
    place = start(ALICE, BOB, CAROL)
    absent = {"user": "bob", "realm": "example.net"}
    results = run.tasks(platform, [
        users(ALICE, **place),
        users(absent, state="absent", **place),
        users(absent, state="absent", **place),
    ])  # fmt: skip
    assert [result["changed"] for result in results] == [False, True, False]
    assert listed(platform) == ["alice@example.org", "carol@example.org"]
    assert run(platform, MODULE, users=[CAROL], purge=True, **place)["counts"]["removed"] == 1
    assert listed(platform) == ["carol@example.org"]
    assert run(platform, MODULE, users=[], purge=True, **place)["count"] == 0
    assert listed(platform) == []


def test_check_mode_tells_what_would_change_and_changes_nothing(platform, run, start):
    place = start(ALICE)
    before = status(platform, platform.lab_sasldb)
    result = run(platform, MODULE, "--check", "--diff", users=[BOB], purge=True, **place)
    assert result["changed"] is True
    assert (result["diff"]["before"], result["diff"]["after"]) == ("alice@example.org\n", "bob@example.net\n")
    assert status(platform, platform.lab_sasldb) == before


def test_postfix_alone_may_read_the_database_and_drift_is_mended(platform, run, start):
    place = start(ALICE)
    files = [path for path in (platform.lab_sasldb, place["copy"]) if path]
    assert {line.split(" ", 4)[4] for line in status(platform, *files)} == {"root:postfix 640"}
    platform.run("chmod", "644", *files)
    assert run(platform, MODULE, users=[ALICE], **place)["changed"] is True
    assert {line.split(" ", 4)[4] for line in status(platform, *files)} == {"root:postfix 640"}


def test_a_copy_that_fell_behind_is_brought_in_step(platform, run, start, log_in):
    copy = start(ALICE)["copy"] or "/var/tmp/sasldb2"
    run(platform, MODULE, users=[ALICE], copy=copy)
    platform.run("saslpasswd2", "-p", "-c", "-f", platform.lab_sasldb, "-u", "example.org", "carol",
                 given=CAROL["password"])  # fmt: skip
    results = run.tasks(platform, [users(ALICE, copy=copy), users(ALICE, copy=copy)])
    assert [result["changed"] for result in results] == [True, False]
    platform.run("cmp", platform.lab_sasldb, copy)
    assert log_in(CAROL) == 235


def test_what_a_killed_run_left_behind_goes_away(platform, run, start):
    place = start(ALICE)
    leftover = f"{platform.lab_sasldb.replace('sasldb2', '.sasldb2')}.aside-killed"
    platform.run("mkdir", leftover)
    platform.run("cp", platform.lab_sasldb, leftover)
    before = status(platform, platform.lab_sasldb)
    results = run.tasks(platform, [users(ALICE, **place), users(ALICE, **place)])
    assert [result["changed"] for result in results] == [True, False]
    assert platform.run("test", "-e", leftover, check=False).returncode == 1
    assert status(platform, platform.lab_sasldb) == before


def test_readers_see_a_whole_database_while_users_come_and_go(platform, run, start):
    """A reader lists the database all the time; at no moment does it lack alice, or see a half."""
    start(ALICE)
    crowd = [{"user": f"u{n}", "realm": "example.org", "password": f"correct horse {n}"} for n in range(60)]
    watch = """
import subprocess, sys, os
seen = set()
while not os.path.exists("/run/enough"):
    out = subprocess.run(["sasldblistusers2", "-f", sys.argv[1]], capture_output=True, text=True).stdout
    seen.add(("alice@example.org: userPassword" in out, out.count("@")))
print(sorted(seen))
"""
    platform.run("rm", "-f", "/run/enough")
    platform.run("systemd-run", "--quiet", "--unit=watch", "--property=StandardOutput=file:/run/watched",
                 "python3", "-c", watch, platform.lab_sasldb)  # fmt: skip
    results = run.tasks(platform, [users(*crowd), users(ALICE, purge=True)])
    platform.run("touch", "/run/enough")
    platform.run("bash", "-c", "while systemctl is-active --quiet watch; do sleep 0.05; done")
    assert [result["changed"] for result in results] == [True, True]
    assert platform.out("cat", "/run/watched").strip() == "[(True, 1), (True, 61)]"


REFUSED = {
    "empty": ({**ALICE, "password": ""}, "'alice@example.org': found an empty password"),
    "none": ({**ALICE, "password": None}, "'alice@example.org': found no password"),
    "short": ({**ALICE, "password": "short horse"}, "'alice@example.org': found a password of 11 characters"),
    "newline": ({**ALICE, "password": "correct\nhorse alice"}, "'alice@example.org': found a newline"),
    "nul": ({**ALICE, "password": "correct\0horse alice"}, "'alice@example.org': found a NUL"),
    "colon": ({**ALICE, "user": "al:ice"}, "user 2 ('al:ice@example.org'): found ':' in the user"),
    "no realm": ({**ALICE, "realm": ""}, "user 2 ('alice@'): found no realm"),
    "twice": (BOB, "'bob@example.net': found the same user twice"),
}


def test_what_saslpasswd2_would_misread_is_refused_by_name(platform, run, start):
    place = start(CAROL)
    before = status(platform, platform.lab_sasldb)
    tasks = [{**users(BOB, user, **place), "ignore_errors": True} for user, _words in REFUSED.values()]
    results = run.tasks(platform, tasks)
    for result, (user, words) in zip(results, REFUSED.values(), strict=True):
        assert words in result["msg"]
        assert not user["password"] or user["password"] not in result["msg"]
    assert status(platform, platform.lab_sasldb) == before


def test_a_database_that_is_none_is_refused_and_kept(platform, run):
    platform.run("tee", "/var/tmp/notes", given="not a database\n")
    result = run(platform, MODULE, users=[ALICE], path="/var/tmp/notes")
    assert "/var/tmp/notes: found a file that sasldblistusers2 cannot list" in result["msg"]
    assert platform.out("cat", "/var/tmp/notes") == "not a database\n"
