"""Module semanage with the CentOS stand-in's own store. Its kernel has no SELinux, so what is asked is the store."""

from __future__ import annotations

import pytest

MODULE = "gatehouse.mail.semanage"
GRANT = "(allow antivirus_t smtp_port_t (tcp_socket (name_connect)))\n"
TE = """
module gatehouse_te 1.0;
require { type antivirus_t; type smtp_port_t; class tcp_socket name_bind; }
allow antivirus_t smtp_port_t:tcp_socket name_bind;
"""
GRANTED = {"source": "antivirus_t", "target": "clamd_port_t", "class": "tcp_socket", "permission": "name_bind"}
WANTED = {
    "ports": [
        {"port": "8894", "setype": "milter_port_t"},
        {"port": "8891", "setype": "smtp_port_t"},  # of the policy
        {"port": "8900-8910", "proto": "udp", "setype": "milter_port_t"},
    ],
    "fcontexts": [{"target": "/srv/gatehouse(/.*)?", "setype": "mail_spool_t"}],
    "booleans": [{"name": "antivirus_use_jit", "value": True}],
    "modules": [
        {"name": "gatehouse_cil", "cil": GRANT},
        {"name": "gatehouse_te", "te": TE},
        {"name": "gatehouse_unneeded", "cil": GRANT, "needed_when": GRANTED},
        {"name": "gatehouse_needed", "cil": GRANT, "needed_when": {**GRANTED, "permission": "name_connect"}},
    ],
}
NOTHING_LEFT = {
    "ports": [{**port, "state": "absent"} for port in WANTED["ports"]],
    "fcontexts": [{**WANTED["fcontexts"][0], "state": "absent"}],
    "booleans": [{"name": "antivirus_use_jit", "state": "absent"}],
    "modules": [{"name": module["name"], "state": "absent"} for module in WANTED["modules"]],
}


def added(host):
    """What was added to the policy, as semanage and semodule tell it."""
    listed = [host.out("semanage", kind, "--list", "--locallist", "--noheading") for kind in ("port", "fcontext")]
    modules = host.out("semodule", "--list=full").splitlines()
    return {
        "records": sorted(" ".join(line.split()) for text in listed for line in text.splitlines()),
        "jit": "(on" in host.out("bash", "-c", "semanage boolean --list --noheading | grep antivirus_use_jit"),
        "modules": [line.split()[1] for line in modules if line.startswith("400 gatehouse")],
    }


def commits(host):
    """How many transactions the store has seen."""
    return int(host.out("cat", "/var/lib/selinux/targeted/active/commit_num").partition("\0")[0])


@pytest.fixture(scope="module")
def by_hand(el9):
    """A port that somebody else labelled, which must outlive everything here."""
    el9.run("semanage", "port", "--add", "--noreload", "-t", "http_port_t", "-p", "tcp", "8990-8992")
    yield ["http_port_t tcp 8990-8992"]
    el9.run("semanage", "port", "--delete", "--noreload", "-p", "tcp", "8990-8992")


def test_all_of_a_task_is_one_transaction_and_a_second_run_none(el9, run, by_hand):
    before = commits(el9)
    check, first, second, seport = run.tasks(el9, [
        {MODULE: WANTED, "check_mode": True},
        {MODULE: WANTED},
        {MODULE: WANTED},
        {"community.general.seport": {"ports": "8894", "setype": "milter_port_t", "ignore_selinux_state": True},
         "check_mode": True},
    ])  # fmt: skip
    assert [check["changed"], first["changed"], second["changed"], seport["changed"]] == [True, True, False, False]
    assert check["commands"] == first["commands"]
    assert not any("-D" in line.split() for line in first["commands"])
    assert first["unneeded"] == second["unneeded"] == ["gatehouse_unneeded"]
    assert commits(el9) == before + 1
    assert added(el9) == {
        "records": sorted([
            *by_hand,
            "milter_port_t tcp 8894",
            "smtp_port_t tcp 8891",
            "milter_port_t udp 8900-8910",
            "/srv/gatehouse(/.*)? all files system_u:object_r:mail_spool_t:s0",
        ]),
        "jit": True,
        "modules": ["gatehouse_cil", "gatehouse_needed", "gatehouse_te"],
    }  # fmt: skip
    assert el9.out("matchpathcon", "-n", "/srv/gatehouse/alice").strip().split(":")[2] == "mail_spool_t"


def test_a_changed_module_is_installed_again(el9, run):
    other = {"name": "gatehouse_cil", "cil": GRANT.replace("connect", "bind")}
    result = run(el9, MODULE, modules=[other])
    assert result["commands"] == ["module -a gatehouse_cil.cil"]
    assert "name_bind" in el9.out("bash", "-c", "cd /tmp; semodule --cil -E gatehouse_cil; cat gatehouse_cil.cil")


def test_a_module_that_somebody_disabled_is_enabled(el9, run):
    el9.out("semodule", "--noreload", "--disable=gatehouse_needed")
    (module,) = [module for module in WANTED["modules"] if module["name"] == "gatehouse_needed"]
    first, second = run.tasks(el9, [{MODULE: {"modules": [module]}}, {MODULE: {"modules": [module]}}])
    assert [first["commands"], second["changed"]] == [["module -e gatehouse_needed"], False]


def test_a_label_of_somebody_else_stays(el9, run, by_hand):
    theirs = {"port": "8990-8992", "setype": "milter_port_t", "state": "absent"}
    assert run(el9, MODULE, ports=[theirs])["changed"] is False
    assert set(by_hand) <= set(added(el9)["records"])


PORT = {"port": "8895", "setype": "milter_port_t"}
REFUSED = {
    "overlap with what is there": (
        {"ports": [PORT, {"port": "8980-8990", "setype": "smtp_port_t"}]},
        "port 8980-8990/tcp: found port 8990-8992/tcp as http_port_t",
    ),
    "overlap in the task": (
        {"ports": [PORT, {"port": "8890-8899", "setype": "smtp_port_t"}]},
        "port 8890-8899/tcp: found port 8895/tcp in the same task",
    ),
    "no port type": ({"ports": [PORT, {"port": "8896", "setype": "etc_t"}]}, "port 8896/tcp: found setype etc_t"),
    "no boolean": (
        {"ports": [PORT], "booleans": [{"name": "nonesuch", "value": True}]},
        "boolean nonesuch: found none",
    ),
    "no file type": (
        {"ports": [PORT], "fcontexts": [{"target": "/srv/x", "setype": "nonesuch_t"}]},
        "fcontext /srv/x (all files): found setype nonesuch_t",
    ),
    "no te": (
        {"ports": [PORT], "modules": [{"name": "gatehouse_bad", "te": "module gatehouse_bad 1.0; nonsense"}]},
        "module gatehouse_bad: found that checkmodule says: gatehouse_bad.te:1:ERROR",
    ),
    "no such type in a module": (
        {"ports": [PORT], "modules": [{"name": "gatehouse_bad", "cil": GRANT.replace("smtp_port_t", "nonesuch_t")}]},
        "module gatehouse_bad: found that semanage says: Failed to resolve allow statement",
    ),
}


def test_an_error_in_one_item_names_it_and_leaves_all_as_it_was(el9, run, by_hand):
    before = added(el9)
    results = run.tasks(el9, [{MODULE: options, "ignore_errors": True} for options, _words in REFUSED.values()])
    assert len(results) == len(REFUSED)
    for result, (_options, words) in zip(results, REFUSED.values(), strict=True):
        assert words in result["msg"]
    assert added(el9) == before


def test_what_was_added_can_be_taken_back(el9, run, by_hand):
    results = run.tasks(el9, [{MODULE: NOTHING_LEFT}, {MODULE: NOTHING_LEFT}])
    assert [result["changed"] for result in results] == [True, False]
    assert added(el9) == {"records": by_hand, "jit": False, "modules": []}


def test_a_host_without_the_tools_is_told_the_package(debian12, run):
    assert "package policycoreutils-python-utils" in run(debian12, MODULE, ports=[PORT])["msg"]
