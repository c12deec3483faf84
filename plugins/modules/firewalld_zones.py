# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: firewalld_zones
short_description: Write firewalld's zones, on trial
description:
  - Writes the files of zones whole, and the default zone into C(firewalld.conf). firewalld reads them when it is
    started or reloaded, which is left to the caller.
  - New zones can shut out who wrote them. So the files of before are kept, and a timer on the host puts them back and
    reloads firewalld, unless O(state=confirmed) came before. Where firewalld did not run, it is stopped again.
  - The timer is there before the first file is written, and needs no controller. A run that is killed leaves no host
    that nobody can reach.
version_added: 0.1.0
author:
  - gatehouse.mail contributors (@gatehouse)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    platforms: posix
options:
  state:
    description:
      - V(written) writes what differs. V(confirmed) ends the trial, and fails where the old zones came back before.
    type: str
    choices: [written, confirmed]
    default: written
  zones:
    description:
      - The name of each zone with the content of its file. Other zones' files stay. Required when O(state=written).
    type: dict
  default_zone:
    description:
      - The zone of every interface without one. Required when O(state=written).
    type: str
  trial:
    description:
      - Seconds after which the old zones come back. With 0 there is no trial, and one that is under way ends well.
    type: int
    default: 60
notes:
  - A trial begins where something is written, and where firewalld does not run. One that a killed run has begun goes
    on, with what that run has kept.
  - C(systemctl list-timers gatehouse-firewall-trial.timer) shows a trial, and
    C(journalctl -u gatehouse-firewall-trial) that zones were put back.
"""

EXAMPLES = r"""
- name: Write the zones
  gatehouse.mail.firewalld_zones:
    zones:
      internet: "{{ lookup('ansible.builtin.template', 'internet.xml.j2') }}"
    default_zone: internet
  register: zones
  notify: Reload firewalld

- name: Load the zones
  ansible.builtin.meta: flush_handlers

- name: Close Ansible's connection, so that the next task opens a new one
  ansible.builtin.meta: reset_connection

- name: Keep the zones
  gatehouse.mail.firewalld_zones:
    state: confirmed
  when: zones.trial
"""

RETURN = r"""
trial:
  description: Whether O(state=confirmed) is waited for.
  returned: always
  type: bool
"""

import os
import shutil
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gatehouse.mail.plugins.module_utils import _firewalld_zones as core


def read(path: str) -> str | None:
    """The file's text, None where there is no file."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def wanted(zones: dict[str, str], default_zone: str) -> dict[str, str]:
    """{path: text} of every file."""
    files = {core.zone_path(name): text for name, text in zones.items()}
    return {**files, core.SETTINGS: core.settings(read(core.SETTINGS) or "", default_zone)}


def says(module: AnsibleModule, *command: str) -> bool:
    """Whether systemctl ends well."""
    code, _stdout, _stderr = module.run_command([module.get_bin_path("systemctl", required=True), *command])
    return code == 0


def keep(module: AnsibleModule, paths: list[str], active: bool) -> None:
    """Keep these files, and write the script that puts them back."""
    aside = f"{core.TRIAL}.new"
    shutil.rmtree(aside, ignore_errors=True)
    os.mkdir(aside, 0o700)
    kept: dict[str, str | None] = {}
    for path in paths:
        kept[path] = os.path.basename(path) if os.path.exists(path) else None
        if os.path.exists(path):
            shutil.copy2(path, os.path.join(aside, os.path.basename(path)))
    with open(os.path.join(aside, core.SCRIPT), "w", encoding="utf-8") as script:
        script.write(core.put_back(kept, active, says(module, "is-enabled", "--quiet", "firewalld")))
    os.rename(aside, core.TRIAL)


def refuse_while_put_back(module: AnsibleModule) -> None:
    """What is put back at this moment cannot be kept, and would overwrite what is written."""
    if says(module, "is-active", "--quiet", f"{core.UNIT}.service"):
        module.fail_json("the zones of before a run that was stopped are put back at this moment; run again")


def start_timer(module: AnsibleModule, seconds: int) -> None:
    """Start the timer; that of a killed run, if it is still there, from its beginning."""
    if says(module, "restart", f"{core.UNIT}.timer"):
        return
    module.run_command(
        [module.get_bin_path("systemd-run", required=True), f"--unit={core.UNIT}", f"--on-active={seconds}",
         "--timer-property=AccuracySec=1s", "--collect", "/bin/sh", os.path.join(core.TRIAL, core.SCRIPT)],
        check_rc=True,
    )  # fmt: skip


def write(module: AnsibleModule, path: str, text: str) -> None:
    handle, made = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    module.atomic_move(made, path)


def confirm(module: AnsibleModule) -> None:
    """End the trial: from here on the script finds no folder and does nothing."""
    shutil.rmtree(core.ENDED, ignore_errors=True)
    try:
        os.rename(core.TRIAL, core.ENDED)
    except FileNotFoundError:
        module.fail_json("the old zones came back before the new ones were confirmed; run again")
    says(module, "stop", f"{core.UNIT}.timer")
    shutil.rmtree(core.ENDED)


def write_all(module: AnsibleModule) -> dict[str, Any]:
    """Write what differs. What is returned is for exit_json."""
    files = wanted(module.params["zones"], module.params["default_zone"])
    before = {path: read(path) for path in files}
    differing = [path for path, text in files.items() if before[path] != text]
    seconds = module.params["trial"]
    active = says(module, "is-active", "--quiet", "firewalld")
    begun = os.path.isdir(core.TRIAL)
    trial = seconds > 0 and (bool(differing) or begun or not active)
    if not module.check_mode:
        refuse_while_put_back(module)
        if trial and not begun:
            keep(module, list(files), active)
        if trial:
            start_timer(module, seconds)
            refuse_while_put_back(module)
        for path in differing:
            write(module, path, files[path])
        if begun and not trial:
            confirm(module)
    attributes = {"owner": "root", "group": "root", "mode": "0644"}
    changed = bool(differing)
    for path in files:
        if path != core.SETTINGS and os.path.exists(path):
            wanted_attributes = module.load_file_common_arguments({"path": path, **attributes})
            changed = module.set_fs_attributes_if_different(wanted_attributes, changed)
    diff = [
        {"before_header": path, "after_header": path, "before": before[path] or "", "after": files[path]}
        for path in differing
    ]
    return {"changed": changed, "trial": trial and not module.check_mode, "diff": diff}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["written", "confirmed"], "default": "written"},
            "zones": {"type": "dict"},
            "default_zone": {"type": "str"},
            "trial": {"type": "int", "default": 60},
        },
        required_if=[("state", "written", ("zones", "default_zone"))],
        supports_check_mode=True,
    )
    if module.params["state"] == "written":
        module.exit_json(**write_all(module))
    if not module.check_mode:
        confirm(module)
    module.exit_json(changed=False, trial=False)


if __name__ == "__main__":
    main()
