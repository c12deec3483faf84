# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter gatehouse.mail.retirement; documented in retirement.yml beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional, Union

from ansible.errors import AnsibleFilterError
from ansible_collections.gatehouse.mail.plugins.module_utils._plain import plain
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _retirement
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import dkim


def retirement(
    model: Mapping[str, Any],
    now: str,
    differences: Optional[Sequence[Mapping[str, Any]]] = None,
    gone: Union[Mapping[str, str], str, None] = None,
    gateway: str = "",
    check: bool = False,
    ttl: int = 0,
) -> dict[str, Any]:
    """Since when the MX records of gateways that leave are gone, and what is next for one of them."""
    if not isinstance(model, Mapping) or "gateways" not in model:
        raise AnsibleFilterError("gatehouse.mail.retirement: the input is no mail_model; run role gatehouse.mail.mail")
    model, found, before = plain(model), plain(differences or []), _read(gone)
    try:
        for moment in (now, *before.values()):
            dkim.moment(moment)
    except (AttributeError, TypeError, ValueError) as error:
        raise AnsibleFilterError(f"gatehouse.mail.retirement: {error}") from error
    name = str(gateway)
    leaving = _retirement.named(model, name)
    result = {
        "gone": _retirement.gone(model, found, before, str(now)) if differences is not None else before,
        "refused": _retirement.refusal(model, name) if name else "",
        "host": leaving["host"] if leaving else "",
        "do": "",
        "text": "",
    }
    if leaving and not result["refused"] and differences is not None:
        result |= _retirement.step(model, leaving, found, result["gone"], str(now), check, int(ttl))
    return result


def _read(gone: object) -> dict[str, str]:
    """What was kept, as a mapping or as the text of its file."""
    if gone is None:
        return {}
    try:
        kept = json.loads(gone) if isinstance(gone, str) else gone
    except ValueError:
        kept = None
    if not isinstance(kept, Mapping):
        raise AnsibleFilterError(
            "gatehouse.mail.retirement: gone.json, beside the files of the DNS records, holds no JSON object; "
            "remove it, then the wait for the TTL begins anew"
        )
    return plain(kept)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"retirement": retirement}
