# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter gatehouse.mail.shrunk_tables; documented in shrunk_tables.yml beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.gatehouse.mail.plugins.module_utils._plain import plain
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _postfix_policy


def shrunk_tables(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which lookup tables would lose more than half of what they hold, in words."""
    if isinstance(tables, str) or not isinstance(tables, Sequence):
        raise AnsibleFilterError(
            "gatehouse.mail.shrunk_tables: the input is no list of tables; give what postmap returned"
        )
    return _postfix_policy.shrunk(plain(tables))


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"shrunk_tables": shrunk_tables}
