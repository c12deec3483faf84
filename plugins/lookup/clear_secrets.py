# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: clear_secrets
short_description: Which secrets of the inventory are not encrypted
version_added: 0.1.0
author:
  - gatehouse.mail contributors (@gatehouse)
description:
  - Looks through the inventory's files, and through C(group_vars) and C(host_vars) beside inventory and playbook, for
    variables C(vault_*) whose value is neither encrypted by ansible-vault nor a template.
  - Takes no terms. Only names are shown, never a value.
"""

EXAMPLES = r"""
- name: Show which secrets are in clear
  ansible.builtin.debug:
    msg: "{{ query('gatehouse.mail.clear_secrets') }}"
"""

RETURN = r"""
_raw:
  description: A line for each variable, with the file in which it stands and what to do.
  type: list
  elements: str
"""

import os
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _secrets, _sources


class LookupModule(LookupBase):
    """What Ansible looks for."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        return [
            f"{os.path.relpath(path)}: {name}: is in clear; run `ansible-vault encrypt {os.path.relpath(path)}`, "
            "or write mail_clear_secrets: true if that is meant"
            for path in _sources.files(variables)
            for name in _secrets.clear_secrets(path.read_text(encoding="utf-8", errors="replace"))
        ]
