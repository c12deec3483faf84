# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: listeners
short_description: Look whether another program listens where a daemon of yours is to listen
description:
  - Asks C(ss) which sockets of the host wait for connections, and systemd whose they are, by its control groups and
    socket units.
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
options:
  places:
    description: Where your daemon is to listen.
    type: list
    elements: dict
    required: true
    suboptions:
      port:
        description: The port.
        type: int
        required: true
      protocol:
        description: The protocol.
        type: str
        choices: [tcp, udp]
        default: tcp
      address:
        description: An address of the host; empty for all of them.
        type: str
        default: ''
  units:
    description: Units of systemd that may be there already, as patterns of a shell; C(postfix*.service) is one.
    type: list
    elements: str
    required: true
  replaced:
    description: Units that may be there on loopback, since a package of yours takes their place.
    type: list
    elements: str
    default: []
notes:
  - Run it as root. An ordinary user is not told whose a socket is, and in some containers root is not either. Such a
    socket is held for your own if one of O(units) or O(replaced) is active.
"""

EXAMPLES = r"""
- name: Look who listens at the resolver's port
  gatehouse.mail.listeners:
    places:
      - {port: 53, protocol: udp, address: 127.0.0.1}
      - {port: 53, protocol: tcp, address: 127.0.0.1}
    units: [unbound.service]
  register: listeners
"""

RETURN = r"""
foreign:
  description: Who is in the way, in words; empty when the places are free, or your own daemon is there.
  returned: always
  type: list
  elements: str
  sample: ["tcp port 53 at 127.0.0.1 is taken by dnsmasq (dnsmasq.service)"]
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gatehouse.mail.plugins.module_utils import _listeners as core


def unit(pid: int) -> str:
    try:
        return core.unit_of(Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"))
    except OSError:  # it has ended meanwhile
        return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "places": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "port": {"type": "int", "required": True},
                    "protocol": {"type": "str", "choices": ["tcp", "udp"], "default": "tcp"},
                    "address": {"type": "str", "default": ""},
                },
            },
            "units": {"type": "list", "elements": "str", "required": True},
            "replaced": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        places = [
            core.Place(place["protocol"], core.address_of(place["address"]), place["port"])
            for place in params["places"]
        ]
    except ValueError as error:
        module.fail_json(msg=f"places: {error}")
    ours, replaced = params["units"], params["replaced"]
    command = [module.get_bin_path("ss", required=True), "-H", "-l", "-n", "-t", "-u", "-p"]
    found = core.listeners(module.run_command(command, check_rc=True)[1])
    systemctl = [module.get_bin_path("systemctl", required=True), "--no-legend", "--plain"]
    sockets = core.socket_units(module.run_command([*systemctl, "list-sockets"], check_rc=True)[1])
    units = module.run_command([*systemctl, "list-units", "--state=active", *ours, *replaced], check_rc=True)[1]
    module.exit_json(
        changed=False, foreign=core.foreign(places, found, unit, sockets, ours, replaced, bool(units.strip()))
    )


if __name__ == "__main__":
    main()
