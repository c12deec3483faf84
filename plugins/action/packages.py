# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs ansible.builtin.package as the module gatehouse.mail.packages says."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "list", "elements": "str", "required": True},
    "start": {"type": "bool", "default": True},
    "recommends": {"type": "bool", "default": True},
    "from_epel": {"type": "bool", "default": False},
}
FORBIDDEN = 101  # what policy-rc.d exits with where nothing may be started


class ActionModule(ActionBase):
    """What is the same for each package manager is left to package; the rest is options of apt, and EPEL."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """The result of the package manager's module."""
        self._supports_check_mode = True
        super().run(tmp, task_vars)
        _validated, given = self.validate_argument_spec(OPTIONS)
        manager = (task_vars or {}).get("ansible_facts", {}).get("pkg_mgr")
        if not manager:
            raise AnsibleActionFail("the fact pkg_mgr is not there; gather the subset min")
        apt = manager == "apt"
        task = self._task.copy()
        task.args = {"name": given["name"], "state": "present"}
        if apt and not given["recommends"]:
            task.args["install_recommends"] = False
        # The module writes a file for it, in check mode too.
        if apt and not given["start"] and not self._task.check_mode:
            task.args["policy_rc_d"] = FORBIDDEN
        package = self._shared_loader_obj.action_loader.get(
            "ansible.builtin.package",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        result = package.run(task_vars=task_vars)
        # In check mode EPEL is not there yet, and neither is what comes from it.
        if result.get("failed") and given["from_epel"] and not apt and self._task.check_mode:
            result.update(failed=False, changed=True)
            result.pop("exception", None)
        return result
