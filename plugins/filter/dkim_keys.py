# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter gatehouse.mail.dkim_keys; documented in dkim_keys.yml beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.gatehouse.mail.plugins.module_utils._plain import plain
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import dkim


def dkim_keys(model: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The keys of the gateway that this model is of."""
    given = plain(model)
    try:
        return dkim.keys(given, given["me"]["name"])
    except (AttributeError, KeyError, TypeError) as error:
        raise AnsibleFilterError(f"gatehouse.mail.dkim_keys: the input is no model of a host: {error!r}") from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"dkim_keys": dkim_keys}
