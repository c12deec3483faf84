# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action asks of ansible.builtin.package, and what it makes of the answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleError
from ansible.playbook.task import Task
from ansible_collections.gatehouse.mail.plugins.action.packages import ActionModule

FAILED = {"failed": True, "changed": False, "msg": "No package postgrey available."}


def run(arguments, manager="apt", check=False, answer=None):
    """(what package was asked for, what the action says)."""
    asked = []

    def package(_name, task, **_more):
        asked.append(task.args)
        return SimpleNamespace(run=lambda task_vars: dict(answer or {"changed": True}))

    task = Task()
    task.args, task.check_mode = arguments, check
    loaders = SimpleNamespace(action_loader=SimpleNamespace(get=package))
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/nowhere"))
    action = ActionModule(task, connection, None, None, None, None)
    action._shared_loader_obj = loaders
    result = action.run(task_vars={"ansible_facts": {"pkg_mgr": manager}})
    return asked[0], result


PLAIN = {"name": ["postgrey"], "state": "present"}
BARE = {"name": ["postgrey"], "start": False, "recommends": False}
ASKED = {
    # case: (arguments, manager, check mode, what package is asked for)
    "nothing but the name": ({"name": "postgrey"}, "apt", False, PLAIN),
    "apt": (BARE, "apt", False, {**PLAIN, "install_recommends": False, "policy_rc_d": 101}),
    "apt in check mode writes no policy": (BARE, "apt", True, {**PLAIN, "install_recommends": False}),
    "dnf starts nothing": (BARE, "dnf", False, PLAIN),
}


@pytest.mark.parametrize("arguments, manager, check, wanted", ASKED.values(), ids=ASKED)
def test_only_apt_is_told_what_only_apt_does(arguments, manager, check, wanted):
    asked, result = run(arguments, manager, check)
    assert asked == wanted
    assert result == {"changed": True}


ANSWERS = {
    # case: (from EPEL, manager, check mode, whether the failure stands)
    "EPEL before the first run": (True, "dnf", True, False),
    "EPEL in a run": (True, "dnf", False, True),
    "not from EPEL": (False, "dnf", True, True),
    "no EPEL": (True, "apt", True, True),
}


@pytest.mark.parametrize("epel, manager, check, failed", ANSWERS.values(), ids=ANSWERS)
def test_a_package_is_missed_only_where_epel_is_not_there_yet(epel, manager, check, failed):
    _asked, result = run({"name": ["postgrey"], "from_epel": epel}, manager, check, FAILED)
    assert (result["failed"], result["changed"], result["msg"]) == (failed, not failed, FAILED["msg"])


def test_the_fact_that_is_missing_is_named():
    with pytest.raises(AnsibleError, match="pkg_mgr is not there; gather the subset min"):
        run({"name": ["postgrey"]}, manager="")


@pytest.mark.parametrize("arguments", [{}, {"name": ["postgrey"], "state": "latest"}], ids=["no name", "unknown"])
def test_a_wrong_option_is_refused(arguments):
    with pytest.raises(AnsibleError):
        run(arguments)
