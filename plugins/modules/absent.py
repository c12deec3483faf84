# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: absent
short_description: Take away the units and files of something that is switched off
description:
  - Stops and disables units, then removes files, then lets systemd read its units anew. Whatever asked these daemons
    must have let go of them before.
  - Units are stopped in the order of O(units), and each before any file is removed. When the run is killed in between,
    the next one goes on.
  - Nothing else is touched. Packages, users, and data stay.
version_added: 0.1.0
author:
  - gatehouse.mail contributors (@gatehouse)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    platforms: posix
options:
  units:
    description:
      - Units of systemd, with their suffix. One that does not exist is passed over. A mask is taken away, and what was
        masked is disabled.
    type: list
    elements: str
    default: []
  paths:
    description:
      - Files, links, and folders with all that is in them. What does not exist is passed over. A link is removed, never
        what it leads to.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Take SpamAssassin away
  gatehouse.mail.absent:
    units: [spamass-milter.service, spamd.service]
    paths: [/etc/systemd/system/spamass-milter.service, /etc/systemd/system/spamd.service]
"""

RETURN = r"""
units:
  description: The units that ran, had failed, were masked, or would have been started.
  returned: always
  type: list
  elements: str
  sample: [spamd.service]
paths:
  description: What was removed.
  returned: always
  type: list
  elements: str
  sample: [/etc/systemd/system/spamd.service]
"""

import os
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gatehouse.mail.plugins.module_utils import _absent as core

# A unit is looked at again after each call: one that is unmasked may be enabled, one that is stopped may have failed.
# Four calls are the most that it takes.
CALLS = 5


def remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "default": []},
            "paths": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    systemctl = module.get_bin_path("systemctl", required=True)

    def calls(unit: str) -> list[list[str]]:
        show = [systemctl, "show", f"--property={','.join(core.PROPERTIES)}", "--", unit]
        return core.remedies(unit, module.run_command(show, check_rc=True)[1])

    stopped = [unit for unit in module.params["units"] if calls(unit)]
    paths = [path for path in module.params["paths"] if os.path.lexists(path)]
    if not module.check_mode:
        for unit in stopped:
            for _call in range(CALLS):
                todo = calls(unit)
                if not todo:
                    break
                module.run_command([systemctl, *todo[0]], check_rc=True)
            else:
                helpless = f"systemctl {' '.join(todo[0])} did not help; see systemctl status {unit}"
                module.fail_json(msg=f"{unit} is not at rest: {helpless}")
        try:
            for path in paths:
                remove(path)
        except OSError as error:
            module.fail_json(msg=f"{error.filename}: {error.strerror}; what stands after it in paths is still there")
        if paths:
            module.run_command([systemctl, "daemon-reload"], check_rc=True)
    module.exit_json(changed=bool(stopped or paths), units=stopped, paths=paths)


if __name__ == "__main__":
    main()
