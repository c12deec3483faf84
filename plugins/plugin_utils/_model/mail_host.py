# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: what a mail host offers beside IMAP and LMTP, and how much mail it keeps for whom."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import Place, kind

VARIABLES: dict[str, Any] = {"mail_sieve": True, "mail_pop3": False, "mail_quota": "", "mail_mailbox_quotas": {}}
UNLIMITED = "none"
UNITS = {"M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"([1-9][0-9]{0,5})([MGT])")


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The parts `sieve`, `pop3`, `quota` and `mailbox_quotas` of the model; quotas are bytes, and 0 is none."""
    least = site["message_size_limit"]
    own: dict[str, int] = {}
    at = given.at("mail_mailbox_quotas")
    if site["users"] == "external" and given["mail_mailbox_quotas"]:
        at.note(
            "is written, and mail_users is external",
            "remove it; write userdb_quota_rule=*:storage=20G in the mailbox's line of your own file, "
            "or userdb_quota_storage_size=20G where Dovecot is 2.4",
        )
    for key, value in inventory.mapping(at, given["mail_mailbox_quotas"], '{"alice@example.org": "20G"}').items():
        mailbox = inventory.address(at[key], key)
        if mailbox in own:
            at[key].note("is there twice, but for upper and lower case", "write it once")
        elif mailbox and mailbox not in site["mailboxes"]:
            at[key].refuse(key, "is not a mailbox", "write one of mail_mailboxes, or remove it here")
        own[mailbox] = _size(at[key], value, least)
    return {
        "sieve": given.boolean("mail_sieve"),
        "pop3": given.boolean("mail_pop3"),
        "quota": _size(given.at("mail_quota"), given["mail_quota"], least) if given["mail_quota"] != "" else 0,
        "mailbox_quotas": {mailbox: own[mailbox] for mailbox in sorted(own)},
    }


def _size(at: Place, value: object, least: int) -> int:
    """The bytes of a quota. In one that is smaller than a message that message finds no room, ever."""
    instead = f'write a number with M, G or T, such as "10G", or "{UNLIMITED}"'
    if value == UNLIMITED:
        return 0
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        at.refuse(value, "is no size" if isinstance(value, str) else f"is {kind(value)}, not a size", instead)
        return 0
    size = int(match[1]) * UNITS[match[2]]
    if size < least:
        at.refuse(value, f"is less than the largest message (mail_message_size_limit, {least} bytes)", instead)
    return size
