# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory means: from mail_* variables to one plain dictionary a host. No I/O, no Ansible.

A concern is a module with one subject, and all have the same face:

    VARIABLES       {variable mail_* that all hosts share: its default}
    HOST_VARIABLES  {variable mail_* of one host: its default}
    SECRETS         its variables vault_mail_*
    DOMAIN_KEYS     keys of an item of mail_domains
    FOREIGN         variables of roles and of Ansible that bear on it
    GROUPS          groups of hosts
    read(given, site)   its parts of the model, made of what the inventory says (`Given`) and of what earlier concerns
                        made; a part that begins with "_" is for other concerns alone
    view(me, site)      the parts that one host has beside the site, made of its record in `_hosts`
    absent(me, site)    the roles that are switched off on this host

All but `read` may be missing. A concern notes a problem and goes on; where one was noted, no model is made. A refused
name stays known in its folded form, lest one mistake cause many problems.

The site-wide part is checked and computed once, and the models of all hosts share it: take them as read-only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import (
    access,
    addresses,
    bans,
    certificates,
    dkim,
    dns,
    dns_lists,
    greylist,
    hosts,
    inventory,
    mail_host,
    milters,
    outbound,
    passwords,
    ports,
    recipients,
    secrets,
    statistics,
    submission,
)
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Declared, Given
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import InventoryError, Place

# Each after those whose parts it needs.
CONCERNS = (
    hosts,
    ports,
    addresses,
    recipients,
    passwords,
    dns,
    certificates,
    submission,
    outbound,
    dkim,
    milters,
    mail_host,
    dns_lists,
    access,
    statistics,
    greylist,
    bans,
    secrets,
)


def _names(face: str) -> tuple[str, ...]:
    return tuple(name for concern in CONCERNS for name in getattr(concern, face, ()))


def _defaults(face: str) -> dict[str, Any]:
    return {name: default for concern in CONCERNS for name, default in getattr(concern, face, {}).items()}


HOST_VARIABLES = _defaults("HOST_VARIABLES")
SITE_VARIABLES = _defaults("VARIABLES")
VARIABLES = (*HOST_VARIABLES, *SITE_VARIABLES)
SECRETS = _names("SECRETS")
FOREIGN = _names("FOREIGN")
GROUPS = _names("GROUPS")
RESULT = "mail_model"  # the fact made of this; in a second run it stands among the variables
_DECLARED = Declared(SITE_VARIABLES, HOST_VARIABLES, SECRETS, _names("DOMAIN_KEYS"))


def is_read(variable: str) -> bool:
    """Whether the model looks at this variable: ours or nearly so, one that bears on ours, or a secret."""
    return variable in (*SECRETS, *FOREIGN) or (variable.startswith("mail_") and variable != RESULT)


def build(variables: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
    """The models of all hosts of the groups mail_gateways and mail_stores, by inventory host; see `site_and_hosts`."""
    site, views = site_and_hosts(variables, groups)
    return {host: {**site, **view} for host, view in views.items()}


def site_and_hosts(
    variables: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What the models of all hosts share, and what each has beside it, by inventory host.

    variables: {inventory host: {variable: value}}; only variables of which `is_read` is true matter.
    groups: {group: [inventory host, ...]}, of which mail_gateways and mail_stores matter, and mail_greylist if there.

    A model holds plain dict, list, str, int, bool and None, no secret, and for the same inventory the same bytes,
    whatever the order in which it was written. Sizes are bytes. Its shape is that of the filter's documentation.

    Raises InventoryError with all problems at once.
    """
    problems: list[str] = []
    members = hosts.members(groups, problems)
    if not members:
        raise InventoryError(problems)
    _all_known({host: variables.get(host, {}) for host in members}, problems)
    given = Given(_DECLARED, groups, members, variables, problems)
    site: dict[str, Any] = {}
    for concern in CONCERNS:
        site.update(concern.read(given, site))
    if problems:
        raise InventoryError(problems)
    views = {me["host"]: _view(me, site) for me in site["_hosts"]}
    shared = {name: part for name, part in site.items() if not name.startswith("_")}
    return shared, {host: views[host] for host in sorted(views)}


def _all_known(variables: Mapping[str, Mapping[str, Any]], problems: list[str]) -> None:
    """Refuse what looks like ours and is not, once for all hosts that have it."""
    owners: dict[str, list[str]] = {}
    for host, own in variables.items():
        for variable in own:
            if is_read(variable) and variable not in (*SECRETS, *FOREIGN, *VARIABLES):
                owners.setdefault(variable, []).append(host)
    for variable, (first, *others) in sorted(owners.items()):
        also = f" (and {len(others)} more hosts have it)" if others else ""
        inventory.unknown(Place(problems, f"host {first}")[variable], variable, VARIABLES, f"variable{also}")


def _view(me: Mapping[str, Any], site: Mapping[str, Any]) -> dict[str, Any]:
    """What the model of one host has beside the site."""
    view: dict[str, Any] = {"absent": []}
    for concern in CONCERNS:
        view.update(concern.view(me, site) if hasattr(concern, "view") else {})
        view["absent"] += concern.absent(me, site) if hasattr(concern, "absent") else []
    return view
