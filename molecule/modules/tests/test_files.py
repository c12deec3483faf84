"""Action files on real hosts: what it writes, what it refuses, and that a refusal changes nothing."""

from __future__ import annotations

import base64
import json
import sys
import uuid
import zlib
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[2] / "tests"))

import throwaway  # noqa: E402

ACTION = "gatehouse.mail.files"
FOLDER = "/srv/files"
FILE = f"{FOLDER}/daemon.conf"
UNIT = "[Service]\nExecStart=/bin/sleep infinity\n"


# Without the second that Ansible's way to the host takes, and compiled once.
MODULES = "/root/modules"
MODULE = ("env", f"PYTHONPATH={MODULES}", "python3", "-m", "ansible_collections.gatehouse.mail.plugins.modules.files")


def install(host):
    throwaway.Host(host.container).install_modules()
    host.out("sh", "-c", f"rm -rf {MODULES} && python3 -m zipfile -e /root/modules.zip {MODULES}")
    return host


@pytest.fixture(scope="module")
def there(platform):
    """The host, with the module on it."""
    return install(platform)


@pytest.fixture
def folder(platform):
    platform.run("rm", "-rf", FOLDER)
    platform.run("mkdir", FOLDER)
    yield FOLDER
    platform.run("rm", "-rf", FOLDER)


def file(content="a\n", path=FILE, **options):
    return {"path": path, "content": content, **options}


def arguments(*files, check=False, diff=False, **options):
    """What the action hands to the module."""
    contents = {
        each["path"]: base64.b64encode(each["content"].encode()).decode() for each in files if "content" in each
    }
    return {
        "files": [{key: value for key, value in each.items() if key != "content"} for each in files],
        "contents": base64.b64encode(zlib.compress(json.dumps(contents).encode())).decode(),
        "_ansible_check_mode": check,
        "_ansible_diff": diff,
        "_ansible_selinux_special_fs": [],
        "_ansible_tmpdir": "/tmp",
        **options,
    }


def order(*files, **options):
    """What the module reads from its standard input."""
    return json.dumps({"ANSIBLE_MODULE_ARGS": arguments(*files, **options)})


def call(there, *files, **options):
    return json.loads(there.run(*MODULE, given=order(*files, **options), check=False).stdout)


def listed(platform):
    """All that is in the folder: names, kinds, permissions, owners, sizes, times of content and of attributes."""
    return platform.out("find", FOLDER, "-mindepth", "1", "-printf", "%p %y %m %u %g %s %T@ %C@\n")


CHANGES = {
    # case: (a command that makes the host so, file, what stat says afterwards)
    "a new file": ("true", file(), "regular file 644 root root"),
    "another text": (f"echo b > {FILE}", file(), "regular file 644 root root"),
    "other permissions": (f"echo a > {FILE}; chmod 666 {FILE}", file(mode="0640"), "regular file 640 root root"),
    "another owner": (f"echo a > {FILE}; chown daemon:daemon {FILE}", file(), "regular file 644 root root"),
    "an owner of its own": ("true", file(owner="daemon", group="daemon"), "regular file 644 daemon daemon"),
    "a new folder": ("true", {"path": FILE, "state": "directory", "mode": "0750"}, "directory 750 root root"),
    "a folder's owner": (
        f"mkdir {FILE}", {"path": FILE, "state": "directory", "group": "daemon"}, "directory 755 root daemon"
    ),
    "no text": ("true", file(""), "regular empty file 644 root root"),
    "octets of all kinds": ("true", file("\0\1é\r\n%s {{ x }}"), "regular file 644 root root"),
}  # fmt: skip


@pytest.mark.parametrize("before, wanted, afterwards", CHANGES.values(), ids=CHANGES)
def test_it_becomes_what_is_wanted_and_stays_so(platform, there, folder, before, wanted, afterwards):
    platform.out("sh", "-c", before)
    was = listed(platform)
    looked = call(there, wanted, check=True, diff=True)
    assert listed(platform) == was
    first = call(there, wanted, diff=True)
    now = listed(platform)
    second = call(there, wanted, diff=True)
    assert listed(platform) == now
    assert (looked["changed"], first["changed"], second["changed"]) == (True, True, False)
    assert (first["files"], second["files"]) == ([FILE], [])
    assert looked["diff"] == first["diff"]
    assert "diff" not in second
    assert platform.out("stat", "--format=%F %a %U %G", FILE).strip() == afterwards
    if "content" in wanted:
        assert there.out("base64", "-w0", FILE) == base64.b64encode(wanted["content"].encode()).decode()
    assert platform.out("ls", "-A", folder).split() == ["daemon.conf"]


def test_a_folder_comes_before_its_files_and_what_goes_goes_last(platform, there, folder):
    platform.out("sh", "-c", f"mkdir {folder}/old; touch {folder}/old/x {folder}/gone; ln -s old {folder}/link")
    gone = [{"path": f"{folder}/{name}", "state": "absent"} for name in ("link", "old", "gone", "never")]
    folders = [{"path": f"{folder}/{name}", "state": "directory"} for name in ("new/deep", "new")]
    wanted = [*gone, file(path=f"{folder}/new/deep/x"), *folders]
    first, second = call(there, *wanted), call(there, *wanted)
    assert (first["changed"], second["changed"]) == (True, False)
    paths = [f"{folder}/{name}" for name in ("new", "new/deep", "new/deep/x", "link", "old", "gone")]
    assert first["files"] == paths
    assert platform.out("find", folder, "-mindepth", "1").split() == paths[:3]


REFUSED = {
    # case: (a command that makes the host so, files, options, words)
    "a symbolic link": (f"ln -s /etc/passwd {FILE}", [file()], {}, f"{FILE}: a symbolic link is in the way"),
    "a folder": (f"mkdir {FILE}", [file()], {}, f"{FILE}: a folder is in the way"),
    "a socket": (
        f"python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"{FILE}\")'", [file()], {},
        f"{FILE}: something that is no file is in the way",
    ),
    "a file where a folder is to be": (
        f"touch {FILE}", [{"path": FILE, "state": "directory"}], {}, f"{FILE}: a file is in the way"
    ),
    "a folder that is not there": ("true", [file(path=f"{FOLDER}/no/x")], {}, "/no/x: its folder is not there"),
    "a file that its daemon refuses": (f"echo b > {FILE}", [file(validate="/bin/false %s")], {}, "/bin/false: refuses"),
    "files that their daemon refuses": (
        f"echo a > {FILE}", [file(), file("b\n", f"{FOLDER}/x")],
        {"validate": "/bin/sh -c 'test $(cat %s/daemon.conf)$(cat %s/x) = aa'"}, "/bin/sh: refuses",
    ),
    "files of one name, checked together": (
        "true", [file(), file("b\n", f"{FOLDER}/y/daemon.conf"), {"path": f"{FOLDER}/y", "state": "directory"}],
        {"validate": "/bin/ls %s"}, f"{FOLDER}/y/daemon.conf: has the last name of {FILE}",
    ),
    "a program that is not there": ("true", [file(validate="/bin/none %s")], {}, "/bin/none: cannot be run"),
    "a command without a place": ("true", [file(validate="/bin/true")], {}, "/bin/true: has no %s"),
    "a path twice": ("true", [file(), file()], {}, f"{FILE}: is there twice"),
    "a path that is relative": ("true", [file(path="daemon.conf")], {}, "daemon.conf: is not an absolute path"),
    "permissions that are a number": ("true", [file(mode=420)], {}, f"{FILE}: its mode 420 is no four octal digits"),
    "an owner that is not there": ("true", [file(owner="no-one")], {}, "no-one, whose it is to be, is not there"),
    "a group that is not there": ("true", [file(group="no-one")], {}, "no-one, whose it is to be, is not there"),
}  # fmt: skip


@pytest.mark.parametrize("before, wanted, options, words", REFUSED.values(), ids=REFUSED)
def test_a_refusal_changes_nothing(platform, there, folder, before, wanted, options, words):
    """Of the call's other files neither, whether they come before or after the one that is refused."""
    platform.out("sh", "-c", f"{before}; echo old > {folder}/0; echo old > {folder}/z; touch {folder}/gone")
    others = [{"path": f"{folder}/new", "state": "directory"}, {"path": f"{folder}/gone", "state": "absent"}]
    was = listed(platform)
    result = call(there, file(path=f"{folder}/0"), *others, *wanted, file(path=f"{folder}/z"), **options)
    assert result["failed"]
    assert words in result["msg"]
    assert listed(platform) == was
    assert platform.run("sh", "-c", "ls -d /tmp/tmp* /tmp/gatehouse*", check=False).stdout == ""


def test_a_whole_that_its_daemon_takes_is_written(platform, there, folder):
    """What stays as it is, is shown to the command, too."""
    platform.out("sh", "-c", f"echo a > {FILE}")
    command = "/bin/sh -c 'test $(cat %s/daemon.conf)$(cat %s/x) = ab'"
    result = call(there, file(), file("b\n", f"{FOLDER}/x", validate="/bin/grep -q b %s"), validate=command)
    assert result["files"] == [f"{FOLDER}/x"]


def test_in_check_mode_a_user_need_not_be_there_yet(platform, there, folder):
    new = file(path=f"{folder}/new", owner="no-one", group="no-one")
    below = file(path=f"{folder}/nowhere/x", owner="no-one", validate="/bin/false %s")
    platform.out("sh", "-c", f"echo a > {FILE}")
    was = listed(platform)
    result = call(there, file(owner="no-one"), new, below, check=True)
    assert result["files"] == [FILE, f"{folder}/new", f"{folder}/nowhere/x"]
    assert listed(platform) == was


def test_a_unit_that_has_not_read_its_files_is_said_to_be_so(platform, there, folder):
    unit = "gatehouse-files.service"
    platform.run("tee", f"/etc/systemd/system/{unit}", given=UNIT)
    platform.out("systemctl", "daemon-reload")
    try:

        def look(**more):
            return call(there, file(), unit=["gatehouse-never-there.service", unit], **more)

        first = look()
        assert (first["files"], first["unread"]) == ([FILE], [])  # it does not run
        platform.out("systemctl", "start", unit)
        assert not look()["changed"]
        platform.out("sh", "-c", f"cp {FILE} {folder}/x && mv {folder}/x {FILE}")
        for more in ({"check": True}, {}):
            late = look(**more)
            assert (late["changed"], late["files"], late["unread"]) == (True, [], [FILE])
        platform.out("systemctl", "restart", unit)
        assert not look()["changed"]
    finally:
        platform.out("systemctl", "stop", unit)
        platform.out("rm", f"/etc/systemd/system/{unit}")
        platform.out("systemctl", "daemon-reload")


def test_a_large_file_is_written_whole(platform, there, folder):
    content = "".join(f"line {number}\n" for number in range(80_000))
    first, second = (call(there, file(content), diff=True) for _turn in range(2))
    assert (first["changed"], second["changed"]) == (True, False)
    assert [(diff["after_header"], diff["after"]) for diff in first["diff"]] == [(f"{FILE} (not shown)", "")]
    assert platform.out("cat", FILE) == content


def test_a_full_disk_leaves_the_old_files(platform, there, folder):
    platform.mount("mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs", folder)
    try:
        platform.run("tee", FILE, given="old\n")
        was = listed(platform)
        result = call(there, file(), {"path": f"{folder}/y", "state": "directory"}, file("x" * 100_000, f"{folder}/x"))
        assert "No space left" in result["msg"]
        assert listed(platform) == was
    finally:
        platform.mount("umount", folder)


def test_a_killed_run_leaves_no_half_of_a_file_and_the_next_one_nothing_of_it(platform, there, folder):
    paths = [f"{folder}/{name}" for name in ("a", "b", "c")]
    orders = [order(*(file(text * 300_000, path, mode="0600") for path in paths)) for text in "xy"]
    given = {"command": MODULE, "orders": orders, "paths": paths, "rounds": 20}
    found = there.python("modules/tests/files_on_host.py", given)
    assert (found["halves"], found["unrepaired"], found["left"]) == (0, 0, 0)
    assert found["before"] >= 1
    assert found["after"] + found["mixed"] >= 1


def test_what_a_killed_run_left_goes_away_also_where_nothing_else_changes(platform, there, folder):
    platform.out(
        "sh", "-c", f"echo a > {FILE}; mkdir -p {folder}/.files.aside-x/0; echo half > {folder}/.files.aside-x/0/y"
    )
    was = listed(platform)
    assert not call(there, file(), check=True)["changed"]
    assert listed(platform) == was
    assert not call(there, file())["changed"]
    assert platform.out("ls", "-A", folder).split() == ["daemon.conf"]


# Without SELinux in the kernel: the policy's answers are the store's own, and labels stand in a dictionary.
LABELLED = """
import json, os, runpy, sys
from ansible.module_utils.compat import selinux
labels = json.loads(sys.argv.pop(1))
selinux.is_selinux_enabled = lambda: 1
selinux.is_selinux_mls_enabled = lambda: 1
selinux.lgetfilecon_raw = lambda path: [0, labels.get(path, "system_u:object_r:unlabeled_t:s0")]
def lsetfilecon(path, context):
    labels[path] = context
    return 0
selinux.lsetfilecon = lsetfilecon
replace = os.replace
def rename(old, new):
    replace(old, new)
    labels[new] = labels.pop(old)
os.replace = rename
try:
    runpy.run_module("ansible_collections.gatehouse.mail.plugins.modules.files", run_name="__main__")
finally:
    print(json.dumps(labels), file=sys.stderr)
"""


def test_a_new_file_has_the_policy_s_context_and_a_replaced_one_keeps_its_own(el9):
    install(el9)
    folder = "/etc/postfix/files"
    el9.out("sh", "-c", f"rm -rf {folder}; echo b > /etc/postfix/old.conf; touch /etc/postfix/same.conf")
    own = "system_u:object_r:etc_t:s0"
    wanted = order(
        {"path": folder, "state": "directory"}, file(path=f"{folder}/x"), file(path="/etc/postfix/old.conf"),
        file("", path="/etc/postfix/same.conf"),
    )  # fmt: skip
    labels = json.dumps({"/etc/postfix/old.conf": own, "/etc/postfix/same.conf": own})
    try:
        result = el9.run(*MODULE[:3], "-c", LABELLED, labels, given=wanted)
        assert json.loads(result.stdout)["changed"]
        of_policy = el9.out("matchpathcon", "-n", f"{folder}/x").strip()
        assert of_policy.split(":")[2] == "postfix_etc_t"
        assert json.loads(result.stderr) == {
            folder: of_policy, f"{folder}/x": of_policy,
            "/etc/postfix/old.conf": own, "/etc/postfix/same.conf": own,
        }  # fmt: skip
    finally:
        el9.out("rm", "-rf", folder, "/etc/postfix/old.conf", "/etc/postfix/same.conf")


# By Ansible


def files(*each, **options):
    return {ACTION: {"files": list(each), **options}}


def test_a_secret_is_seen_nowhere(platform, run, folder):
    """Also that of a file which was none; test_secrets looks at more places."""
    secret, former = f"canary-{uuid.uuid4()}", f"canary-{uuid.uuid4()}"
    platform.run("tee", FILE, given=former)
    wanted = files(file(secret, secret=True, mode="0600"), file("open\n", f"{folder}/open"))
    refused = files(file(secret + "x", secret=True, validate="/bin/cat %s /none"))
    together = files(
        file(secret + "x", secret=True), file(path=f"{folder}/x"), validate="/bin/grep -r canary- %s /none"
    )
    tasks = [wanted, {**refused, "ignore_errors": True}, together]
    written, *failed = run.tasks(platform, tasks, "--diff", "-vvvv")
    assert platform.out("cat", FILE) == secret
    assert [diff["after"] for diff in written["diff"]] == ["", "open\n"]
    assert [result["msg"].partition(":")[2] for result in failed] == [
        " refuses what was to be written: what it said is not shown; nothing was changed"] * 2  # fmt: skip
    for text in (secret, former):
        assert text not in run.printed + platform.journal(output="verbose")


TEMPLATE = (
    "{{ ansible_managed | comment }}\n{% for line in lines %}\n{{ line }}\n{% endfor %}\n{% include 'part.j2' %}\n"
)


def test_templates_are_rendered_and_shown_as_by_template(platform, run, folder):
    """The same octets, and the same words in check mode, with what a template can do."""
    source = run.playbook.parent / f"templates{FILE}.j2"
    source.parent.mkdir(parents=True)
    source.write_text(TEMPLATE)
    (source.parent / "part.j2").write_text("tab\tümläut \\n {{ 'a' ~ \"\\n\" }}")
    (source.parent / "empty.j2").write_text("")
    lines = {"vars": {"lines": ["{{ 1 + 1 }}", "two"]}}
    own = {"ansible.builtin.template": {"src": f"{FILE[1:]}.j2", "dest": f"{folder}/t", "mode": "0640"}, **lines}
    ours = {**files({"path": FILE, "mode": "0640"}), **lines}
    theirs, looked = run.tasks(platform, [own, ours], "--check", "--diff")
    assert [(diff["before"], diff["after"]) for diff in looked["diff"]] == [
        (theirs["diff"][0]["before"], theirs["diff"][0]["after"])
    ]
    (source.parent / "name.j2").write_text("{{ template_destpath | basename }}")
    others = files(
        {"path": f"{folder}/e", "src": f"{folder[1:]}/empty.j2"},
        {"paths": [f"{folder}/{name}" for name in ("one", "two")], "src": f"{folder[1:]}/name.j2", "mode": "0600"},
        {"paths": []},
        {"path": f"{folder}/v", "src": "program", "verbatim": True},
        {"path": f"{folder}/p", "src": "program", "verbatim": True, "interpreter": "/bin/sh"},
    )
    (run.playbook.parent / "files").mkdir()
    (run.playbook.parent / "files/program").write_bytes(b"{{ no template }}\r\n\xff")
    results = run.tasks(platform, [own, ours, others])
    assert [result["changed"] for result in results] == [True, True, True]
    assert [platform.out("cat", f"{folder}/{name}") for name in ("one", "two")] == ["one", "two"]
    assert platform.out("stat", "--format=%a", f"{folder}/one").strip() == "600"
    assert platform.out("cat", FILE) == platform.out("cat", f"{folder}/t") != ""
    assert platform.out("cat", f"{folder}/e") == ""
    assert platform.out("base64", f"{folder}/v").strip() == base64.b64encode(b"{{ no template }}\r\n\xff").decode()
    assert platform.out("head", "-n1", f"{folder}/p") == "#!/bin/sh\n"
    assert platform.out("sh", "-c", f"tail -n +2 {folder}/p | cmp - {folder}/v && echo same") == "same\n"


def test_it_goes_with_loops_delegation_another_user_tags_and_handlers(platform, run, folder):
    elsewhere = run.playbook.parent / "elsewhere"
    platform.out("chown", "ops:ops", folder)
    name = {"path": "{{ folder }}/{{ item }}", "content": "{{ item }}\n"}
    tasks = [
        {**files(name), "loop": ["one", "two"], "notify": "Say so", "tags": "a"},
        {
            **files({"path": str(elsewhere), "content": "{{ inventory_hostname }}"}),
            "delegate_to": "localhost",
            "vars": {"ansible_become": False},
            "tags": "a",
        },
        {**files({**name, "owner": "ops", "group": "ops"}), "become": False, "tags": "a", "vars": {"item": "mine"}},
        {**files(name), "tags": "b", "vars": {"item": "untagged"}},
        {**files(name), "tags": "a", "vars": {"item": "one"}, "notify": "Never"},
    ]
    handlers = [{"name": said, "ansible.builtin.debug": {"msg": said}} for said in ("Say so", "Never")]
    results = run.tasks(
        platform, tasks, "--tags", "a", "-e", json.dumps({"folder": folder}), handlers=handlers
    )  # fmt: skip
    assert "Say so" in [result.get("msg") for result in results]
    assert "Never" not in [result.get("msg") for result in results]
    assert platform.out("stat", "--format=%n %U", *(f"{folder}/{name}" for name in ("one", "two", "mine"))).split() == [
        f"{folder}/one", "root", f"{folder}/two", "root", f"{folder}/mine", "ops"]  # fmt: skip
    assert platform.run("ls", f"{folder}/untagged", check=False).returncode
    assert elsewhere.read_text() == platform.name


MISTAKES = {
    "a field that is not known": ([file(owners="root")], {}, f"{FILE}: owners: no field of a file"),
    "an option that is not known": ([file()], {"units": "x"}, "units: no option of gatehouse.mail.files"),
    "files without a list": ("x", {}, "files: is not a list"),
    "a file without a path": ([{"content": "x"}], {}, "files[0]: has neither path nor paths"),
    "a path twice over": ([file(paths=[FILE])], {}, "has neither path nor paths, or has both"),
    "a template that is not there": ([{"path": FILE}], {}, f"{FILE}: the template file {FILE[1:]}.j2 could"),
    "a file that is not there": (
        [{"path": FILE, "verbatim": True}], {}, f"{FILE}: Could not find or access '{FILE[1:]}'"
    ),
    "a list for a text": ([file(["x"])], {}, f"{FILE}: its content is no text"),
    "a state": ([file(state="latest")], {}, "value of state must be one of"),
}  # fmt: skip


def test_mistakes_are_told(platform, run, folder):
    tasks = [
        {ACTION: {"files": wanted, **options}, "ignore_errors": True} for wanted, options, _words in MISTAKES.values()
    ]
    results = run.tasks(platform, tasks)
    assert len(results) == len(MISTAKES)
    said = {case: result["msg"] for case, result in zip(MISTAKES, results)}
    assert {case: text for case, text in said.items() if MISTAKES[case][2] not in text} == {}
    assert listed(platform) == ""
