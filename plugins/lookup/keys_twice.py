# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: keys_twice
short_description: Which keys stand twice in a file of the inventory
version_added: 0.1.0
author:
  - gatehouse.mail contributors (@gatehouse)
description:
  - Looks through the inventory's YAML files, and through C(group_vars) and C(host_vars) beside inventory and playbook,
    for a key that stands twice in one mapping. Ansible takes the last one and only warns.
  - Takes no terms. Files that are encrypted as a whole are not looked into.
"""

EXAMPLES = r"""
- name: Show which keys stand twice
  ansible.builtin.debug:
    msg: "{{ query('gatehouse.mail.keys_twice') }}"
"""

RETURN = r"""
_raw:
  description: A line for each key, with the file and both lines in it.
  type: list
  elements: str
"""

import os
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _sources, _twice


class LookupModule(LookupBase):
    """What Ansible looks for."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        return [
            f"{os.path.relpath(path)}: {key}: stands in line {first} and in line {other}; write it once"
            for path in _sources.files(variables)
            for key, first, other in _twice.keys_twice(path.read_text(encoding="utf-8", errors="replace"))
        ]
