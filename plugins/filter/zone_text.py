# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter gatehouse.mail.zone_text; documented in zone_text.yml beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.gatehouse.mail.plugins.module_utils import _dns
from ansible_collections.gatehouse.mail.plugins.module_utils._plain import plain


def zone_text(records: Sequence[dict[str, Any]]) -> dict[str, str]:
    """{zone: the lines of its file} of these records."""
    given = plain(records)
    try:
        return _dns.zone_texts(given)
    except (AttributeError, KeyError, TypeError) as error:
        raise AnsibleFilterError(
            f"gatehouse.mail.zone_text: the input is not what dns_records gives: {error!r}"
        ) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"zone_text": zone_text}
