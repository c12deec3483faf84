# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter gatehouse.mail.gateway_password; documented in gateway_password.yml beside it."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.gatehouse.mail.plugins.module_utils._plain import plain
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _gateway_password


def gateway_password(gateway: str, secret: str) -> str:
    """The password at one gateway, made of the login's secret."""
    try:
        return _gateway_password.derived(plain(secret), plain(gateway))
    except (AttributeError, ValueError):
        pass  # what was given may be in the error
    raise AnsibleFilterError("gatehouse.mail.gateway_password: give the name of a gateway, and the login's secret")


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"gateway_password": gateway_password}
