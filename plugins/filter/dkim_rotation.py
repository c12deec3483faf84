# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter gatehouse.mail.dkim_rotation; documented in dkim_rotation.yml beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

from ansible.errors import AnsibleFilterError
from ansible_collections.gatehouse.mail.plugins.module_utils._plain import plain
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _dkim_rotation
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import dkim


def dkim_rotation(
    model: Mapping[str, Any],
    now: str,
    differences: Optional[Sequence[Mapping[str, Any]]] = None,
    start: bool = False,
    lost: str = "",
) -> dict[str, Any]:
    """The next step of each DKIM key, and mail_dkim after those that are due."""
    if not isinstance(model, Mapping) or "dkim" not in model:
        raise AnsibleFilterError(
            "gatehouse.mail.dkim_rotation: the input is no mail_model; run role gatehouse.mail.mail"
        )
    model = plain(model)
    try:
        moment = dkim.moment(now)
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"gatehouse.mail.dkim_rotation: {now!r} is not a time") from error
    shown = _dkim_rotation.shown(model, plain(differences)) if differences is not None else set()
    try:
        gateway = _dkim_rotation.gateway(model, str(lost)) if lost else ""
    except ValueError as error:
        raise AnsibleFilterError(f"gatehouse.mail.dkim_rotation: lost: {error}") from error
    return _dkim_rotation.plan(model, moment, shown, bool(start), gateway)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"dkim_rotation": dkim_rotation}
