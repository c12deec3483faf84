# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter gatehouse.mail.dns_records; documented in dns_records.yml beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible.utils.display import Display
from ansible_collections.gatehouse.mail.plugins.module_utils._plain import plain
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _records


def dns_records(model: Mapping[str, Any], former: bool = False) -> list[dict[str, Any]]:
    """The records that the site of this model needs; with former those that must be gone."""
    if not isinstance(model, Mapping) or "dns" not in model:
        raise AnsibleFilterError("gatehouse.mail.dns_records: the input is no mail_model; run role gatehouse.mail.mail")
    model = plain(model)
    for warning in model["dns"]["warnings"]:
        Display().warning(warning)
    return _records.former_records(model) if former else _records.records(model)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"dns_records": dns_records}
