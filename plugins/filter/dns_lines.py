# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter gatehouse.mail.dns_lines; documented in dns_lines.yml beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.gatehouse.mail.plugins.module_utils import _dns
from ansible_collections.gatehouse.mail.plugins.module_utils._plain import plain


def dns_lines(records: Sequence[dict[str, Any]]) -> list[str]:
    """These records, each in one line."""
    given = plain(records)
    try:
        return [_dns.line(record) for record in given]
    except (AttributeError, KeyError, TypeError) as error:
        raise AnsibleFilterError(
            f"gatehouse.mail.dns_lines: the input is not what dns_records gives: {error!r}"
        ) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"dns_lines": dns_lines}
