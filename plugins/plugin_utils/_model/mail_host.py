# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: what a mail host offers beside IMAP and LMTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given

VARIABLES: dict[str, Any] = {"mail_sieve": True}


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The part `sieve` of the model."""
    return {"sieve": given.boolean("mail_sieve")}
