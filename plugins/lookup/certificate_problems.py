# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: certificate_problems
short_description: What is wrong with the certificates that the operator gives
version_added: 0.1.0
author:
  - gatehouse.mail contributors (@gatehouse)
description:
  - Reads the files of C(mail_certificate_files) of all hosts on the controller, as M(ansible.builtin.copy) would find
    them, and says what is wrong with them, so that it is known before any host is touched.
  - A pair is wrong when the key is not the certificate's, or has a passphrase; when the certificate has expired, does
    so within seven days, or does not name the host; and when others may read the key, unless ansible-vault encrypts it.
  - No part of a key is shown.
requirements:
  - cryptography 42 or newer on the controller
options:
  _terms:
    description: Dictionaries of hosts as RV(gatehouse.mail.model#filter:_value.hosts).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what is wrong with certificates
  ansible.builtin.debug:
    msg: "{{ query('gatehouse.mail.certificate_problems', (hostvars | gatehouse.mail.model(groups)).hosts) }}"
"""

RETURN = r"""
_raw:
  description: A line for each problem, with host, key, path, and what would be right.
  type: list
  elements: str
"""

import datetime
import os
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _certificate


class LookupModule(LookupBase):
    """What Ansible looks for."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        now = datetime.datetime.now(datetime.timezone.utc)
        return [
            line
            for hosts in terms
            for host, model in hosts.items()
            for index, pair in enumerate(model["certificate_files"])
            for line in self._lines(
                f"host {host}: mail_certificate_files[{index}]", pair, model["me"]["name"], variables, now
            )
        ]

    def _lines(
        self, where: str, pair: Mapping[str, str], name: str, variables: Any, now: datetime.datetime
    ) -> Iterator[str]:
        contents = {}
        for part in ("certificate", "key"):
            path = self.find_file_in_search_path(variables, "files", pair[part], ignore_missing=True)
            if path is None or not os.access(path, os.R_OK):
                yield f'{where}.{part}: "{pair[part]}" cannot be read; write a path on the controller'
                continue
            plain = self._loader.get_real_file(path)  # decrypted aside where ansible-vault has encrypted it
            with open(plain, "rb") as file:
                contents[part] = file.read()
            mode = os.stat(path).st_mode & 0o777
            if part == "key" and plain == path and mode & 0o077:
                yield f'{where}.key: "{pair[part]}" is open to others (mode {mode:04o}); run `chmod 600 {path}`'
        if not _certificate.HAS_CRYPTOGRAPHY:
            raise AnsibleError(
                "gatehouse.mail.certificate_problems: Python's cryptography is missing on the controller"
            )
        if len(contents) == 2:
            for part, why, instead in _certificate.problems(contents["certificate"], contents["key"], name, now):
                yield f'{where}.{part}: "{pair[part]}" {why}; {instead}'
