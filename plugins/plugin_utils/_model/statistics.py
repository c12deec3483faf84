# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: whether awstats counts the mail of the gateways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import GATEWAYS

VARIABLES = {"mail_statistics": True}


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The part `statistics` of the model."""
    return {"statistics": given.boolean("mail_statistics")}


def absent(me: Mapping[str, Any], site: Mapping[str, Any]) -> list[str]:
    """The role, where it is switched off; a host of another group never had it."""
    return ["awstats"] if me["group"] == GATEWAYS and not site["statistics"] else []
