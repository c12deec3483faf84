# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# All is done by the action of this name, on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: packages
short_description: Install packages of a daemon that is not to run as it comes, or of EPEL
description:
  - Installs packages by M(ansible.builtin.package), with what a role of a daemon needs beside that.
  - It asks for the fact C(pkg_mgr), which the subset V(min) has.
version_added: 0.1.0
author:
  - gatehouse.mail contributors (@gatehouse)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - ansible.builtin.action_common_attributes.flow
attributes:
  action:
    support: full
  async:
    support: none
  bypass_host_loop:
    support: none
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    platforms: posix
options:
  name:
    description: The packages. What is installed already is left as it is.
    type: list
    elements: str
    required: true
  start:
    description:
      - Whether a package manager that starts what it installs may do so. With V(false) apt does not start it.
      - Other package managers start nothing.
    type: bool
    default: true
  recommends:
    description: Whether apt also installs what the packages recommend. Other package managers go by their own settings.
    type: bool
    default: true
  from_epel:
    description:
      - Whether a package is from EPEL. Check mode cannot find it before the first run, which enables EPEL; an error in
        check mode is then reported as a change.
      - With apt it has no effect.
    type: bool
    default: false
seealso:
  - module: ansible.builtin.package
"""

EXAMPLES = r"""
- name: Install postgrey
  gatehouse.mail.packages:
    name: [postgrey]
    start: false
    recommends: false
    from_epel: true
"""

RETURN = r"""
# Those of the package manager's module.
"""
