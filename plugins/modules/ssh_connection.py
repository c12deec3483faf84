# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ssh_connection
short_description: Ask the host by which port and interface Ansible's own ssh connection comes
description:
  - The controller does not know it. A port may stand in its ssh configuration, and a forwarded port is not the host's.
  - Nothing is ever done to the host.
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
notes:
  - Run it as the user who logs in, since sudo takes C(SSH_CONNECTION) out of the environment. The keyword C(become) is
    outranked by an inventory's C(ansible_become), hence the variable in the example.
"""

EXAMPLES = r"""
- name: Ask for Ansible's own connection
  gatehouse.mail.ssh_connection:
  register: connection
  vars: {ansible_become: false}
"""

RETURN = r"""
id:
  description:
    - The connection, as C(SSH_CONNECTION) has it. A new connection has another one.
    - Empty where Ansible does not come by ssh.
  returned: always
  type: str
  sample: 192.0.2.66 51234 198.51.100.11 22
port:
  description: The port at the host's end; 0 where Ansible does not come by ssh.
  returned: always
  type: int
  sample: 22
interface:
  description:
    - The interface by which the host answers; C(lo) for what comes by a tunnel that ends on the host.
    - Empty where it is not known.
  returned: always
  type: str
  sample: eth0
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gatehouse.mail.plugins.module_utils import _ssh_connection as core


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    said = os.environ.get("SSH_CONNECTION", "")
    connection = core.connection(said)
    if connection is None:
        module.exit_json(changed=False, id="", port=0, interface="")
    # An ip(8) that fails or is not there says nothing, and nothing is no interface.
    ip = module.get_bin_path("ip")
    route = module.run_command([ip, *connection.route])[1] if ip else ""
    module.exit_json(changed=False, id=said, port=connection.port, interface=core.interface(route))


if __name__ == "__main__":
    main()
