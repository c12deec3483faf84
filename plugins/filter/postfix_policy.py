# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter gatehouse.mail.postfix_policy; documented in postfix_policy.yml beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.gatehouse.mail.plugins.module_utils._plain import plain
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _postfix_policy

OPTIONS = (
    "milters",
    "milter_chains",
    "milter_command_timeout",
    "milter_content_timeout",
    "dns_lists",
    "access",
    "exempt_clients",
    "relay_domains",
    "slow_destinations",
)


def postfix_policy(variables: Mapping[str, Any]) -> dict[str, Any]:
    """What the variables of role postfix mean in Postfix' own words."""
    if not isinstance(variables, Mapping) or set(variables) != set(OPTIONS):
        raise AnsibleFilterError(f"gatehouse.mail.postfix_policy: the input is no dictionary of {', '.join(OPTIONS)}")
    given = plain(variables)
    try:
        return {
            "milters": _postfix_policy.milters(
                given["milter_chains"],
                given["milters"],
                given["milter_command_timeout"],
                given["milter_content_timeout"],
            ),
            "dns_list_classes": _postfix_policy.dns_list_classes(given["dns_lists"]),
            "postscreen_dnsbl_sites": _postfix_policy.postscreen_sites(given["dns_lists"]),
            "access": _postfix_policy.access(given["access"], given["exempt_clients"]),
            "transport": _postfix_policy.transport(given["relay_domains"]),
            "slow": _postfix_policy.slow(given["slow_destinations"]),
        }
    except _postfix_policy.PolicyError as error:
        raise AnsibleFilterError(f"gatehouse.mail.postfix_policy: {error}") from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"postfix_policy": postfix_policy}
