# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: which variables hold secrets, and whether those may stand in clear. What a secret says is for the concern
that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given

VARIABLES = {"mail_clear_secrets": False}


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The parts `clear_secrets` and `secrets` of the model."""
    return {"clear_secrets": given.boolean("mail_clear_secrets"), "secrets": list(given.secrets)}
