# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: written_files
short_description: What keeps a run from writing on the controller
version_added: 0.1.0
author:
  - gatehouse.mail contributors (@gatehouse)
description:
  - Says whether the public parts of new DKIM keys can be written into the inventory and are read by the next run,
    and whether the private CA can be made. Nothing is written.
options:
  _terms:
    description: The two results of the filter P(gatehouse.mail.model#filter), C(site) and C(hosts).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what cannot be written
  ansible.builtin.debug:
    msg: "{{ query('gatehouse.mail.written_files', models.site, models.hosts) }}"
  vars:
    models: "{{ hostvars | gatehouse.mail.model(groups) }}"
"""

RETURN = r"""
_raw:
  description: A line for each file, with host, variable, path, and what to do.
  type: list
  elements: str
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _written
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import dkim


class LookupModule(LookupBase):
    """What Ansible looks for."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        site, hosts = terms
        sources = [
            Path(source).resolve() for source in variables["ansible_inventory_sources"] if os.path.exists(source)
        ]
        folders = {source if source.is_dir() else source.parent for source in sources}
        folders.add(Path(variables["playbook_dir"]).resolve())
        return [*self._ca(hosts, variables), *self._dkim(site, hosts, variables["hostvars"], folders)]

    @staticmethod
    def _ca(hosts: Mapping[str, Any], variables: Any) -> Iterator[str]:
        host, *_others = hosts  # all of them share it
        hostvars = variables["hostvars"][host]
        folder = Path(hostvars.get("certificate_ca_directory", Path(str(hostvars.get("inventory_dir"))) / ".pki"))
        if not (folder / "ca.key").exists():
            why = _written.why_not(folder.absolute() / "ca.key")
            if why:
                yield f'host {host}: certificate_ca_directory: "{folder}" {why[0]}; {why[1]}'

    @staticmethod
    def _dkim(site: Mapping[str, Any], hosts: Mapping[str, Any], hostvars: Any, folders: set[Path]) -> Iterator[str]:
        name = "opendkim_inventory_file"
        first: tuple[str, Path] | None = None
        for host, own in hosts.items():
            if own["me"]["group"] != "mail_gateways":
                continue
            if not any(key["public"] is None for key in dkim.keys({**site, **own}, own["me"]["name"])):
                continue
            if name in hostvars[host]:
                path = Path(hostvars[host][name]).absolute()
                why = _written.why_not(path)
            else:
                path = Path(str(hostvars[host].get("inventory_dir"))).resolve() / "group_vars/all/mail_dkim.yml"
                why = _written.why_not(path, folders)
                first = first or (host, path)
                if path != first[1]:
                    why = (
                        f"is not the file of host {first[0]}, and one of the two would be read",
                        f'write {name}: "{first[1]}" for all hosts',
                    )
            if why:
                yield f'host {host}: {name}: "{path}" {why[0]}; {why[1]}'
