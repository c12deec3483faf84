# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter gatehouse.mail.dkim_written; documented in dkim_written.yml beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.gatehouse.mail.plugins.module_utils._plain import plain
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _dkim_inventory


def dkim_written(
    there: Sequence[Mapping[str, Any]], made: Sequence[Mapping[str, Any]], host: str, since: str
) -> list[dict[str, Any]]:
    """The records of mail_dkim with the keys that a host made."""
    try:
        keys = [(result["item"], result["public_key"]) for result in plain(made)]
        return _dkim_inventory.written(plain(there), keys, host, since)
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(
            f"gatehouse.mail.dkim_written: give the list mail_dkim, and the results of openssl_privatekey_info over"
            f" DKIM keys: {error!r}"
        ) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"dkim_written": dkim_written}
