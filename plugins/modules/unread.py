# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: unread
short_description: Find out whether a running daemon has read its files as they are now
description:
  - Compares when files came into place with when systemd last started, restarted or reloaded a unit, and reports a
    change when a file is newer. Let it notify the handler that a change of these files notifies.
  - A run that is stopped between a file and its handler leaves a daemon that works with the old file, and for the next
    run the file is no change any more. The same is true of a file that somebody edited and did not load.
  - Nothing is ever done to the host. A unit that does not run, or does not exist yet, has nothing to catch up with.
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
  unit:
    description:
      - The systemd unit of the daemon, the one that a handler reloads or restarts.
    type: str
    required: true
  files:
    description:
      - What the daemon reads when it is started or reloaded. Files that do not exist are passed over.
    type: list
    elements: path
    required: true
  by_reload:
    description:
      - Whether a reload makes the daemon read the files, and not only a start. A process keeps the environment that it
        had at its start.
    type: bool
    default: true
notes:
  - Put the task before those that write the files, so that it reports only what was left over.
  - A reload that went past systemd (C(postfix reload)) is not seen; at worst the daemon is reloaded once more.
"""

EXAMPLES = r"""
- name: Look for files that unbound has not read
  gatehouse.mail.unread:
    unit: unbound
    files: [/etc/unbound/unbound.conf]
  notify: Restart unbound
"""

RETURN = r"""
unread:
  description: The files that are newer than what the daemon read.
  returned: always
  type: list
  elements: str
  sample: [/etc/unbound/unbound.conf]
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gatehouse.mail.plugins.module_utils import _unread as core


def placed(files: list[str]) -> dict[str, float]:
    """When each of the files that exist came into place."""
    return {path: os.stat(path).st_ctime for path in files if os.path.exists(path)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "path", "required": True},
            "by_reload": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    show = [module.get_bin_path("systemctl", required=True), "show", "--timestamp=us+utc"]
    _code, shown, _stderr = module.run_command(
        [*show, f"--property={','.join(core.PROPERTIES)}", module.params["unit"]], check_rc=True
    )
    unread = core.unread(core.read_at(shown, module.params["by_reload"]), placed(module.params["files"]))
    module.exit_json(changed=bool(unread), unread=unread)


if __name__ == "__main__":
    main()
