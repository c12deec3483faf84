# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: who keeps the passwords of mailboxes: the inventory, as hashes, or a file of the operator's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import STORES, kind, show

HASHES = "vault_mail_password_hashes"
SECRETS = (HASHES,)
VARIABLES: dict[str, Any] = {"mail_users": "inventory"}
USERS = ("inventory", "external")

# What stands behind a scheme: what crypt(5) and libsodium make, of which Dovecot verifies nothing else. They compare
# text, so a last character that says more than salt or digest have fits no password. As much work as a login waits
# for; of Argon2's digests those of 16, 24, 32, 48 and 64 octets.
_BASE64 = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048])?"
_ARGON2 = (
    r"\$v=19\$m=(?P<memory>[1-9][0-9]{0,9}),t=[1-9][0-9]?,p=(?P<lanes>[1-9][0-9]{0,2})"
    rf"\$(?=[^$]{{11,86}}\$){_BASE64}\$(?=.{{22}}(?:.{{10}}|.{{21}}|.{{42}}|.{{64}})?\Z){_BASE64}"
)
_SALT = r"[./0-9A-Za-z\"#%&'()+,<=>?@\[\]^_`{|}~-]{1,16}"
_SHA2 = rf"\$(?:rounds=[1-9][0-9]{{3,6}}\$)?{_SALT}\$[./0-9A-Za-z]"
SCHEMES = {
    "ARGON2ID": (rf"\$argon2id{_ARGON2}", "$argon2id$v=19$m=…,t=…,p=…$ with salt and digest"),
    "ARGON2I": (rf"\$argon2i{_ARGON2}", "$argon2i$v=19$m=…,t=…,p=…$ with salt and digest"),
    "BLF-CRYPT": (
        r"\$2[aby]\$(?:0[4-9]|1[0-7])\$[./0-9A-Za-z]{21}[.Oeu][./0-9A-Za-z]{30}[.CGKOSWaeimquy26]",
        "$2y$, a cost of 04 to 17, and 53 characters",
    ),
    "SHA512-CRYPT": (rf"\$6{_SHA2}{{85}}[./01]", "$6$, a salt, and 86 characters"),
    "SHA256-CRYPT": (rf"\$5{_SHA2}{{42}}[./0-9A-D]", "$5$, a salt, and 43 characters"),
}
ARGON2_MEMORY = 196608  # KiB; Dovecot's process for logins has 256 MiB in all (default_vsz_limit)
_HASH = re.compile(r"\{([A-Z0-9-]+)\}(.*)", re.DOTALL)


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The part `users` of the model. Where the inventory keeps them, each mailbox has a hash, and nobody else. Names
    keys, never a value, and no key that is not an address."""
    users = given["mail_users"]
    if users not in USERS:
        given.at("mail_users").refuse(users, "is not who keeps the users", f"write one of {', '.join(USERS)}")
    if users == "external":
        place, value = given.secret(HASHES, (), "")
        if value:
            place.note("is written, and mail_users is external", "remove it, or write mail_users: inventory")
        return {"users": users}
    make = "make one with `doveadm pw -s BLF-CRYPT`"
    example = f'write {{mailbox: "{{SCHEME}}hash"}}; {make}'
    mailboxes = dict.fromkeys(site["mailboxes"])
    place, value = given.secret(HASHES, given.of_group(STORES) if mailboxes else (), example)
    if value is None:
        return {"users": users}
    seen = set()
    for number, (key, password_hash) in enumerate(value.items(), 1):
        if not isinstance(key, str) or not inventory.is_address(key):
            place.note(f"the key of entry {number} is not an address", 'write {"alice@example.org": "{SCHEME}hash"}')
            continue
        here = place[key]
        if key.lower() in seen:
            here.note("is there twice, but for upper and lower case", "write it once")
        elif key.lower() not in mailboxes:
            here.note(f"{show(key)} is not a mailbox", "write it in mail_mailboxes, or remove it here")
        seen.add(key.lower())
        why = _why_no_hash(password_hash)
        if why:
            here.note(why, make)
    for mailbox in mailboxes:
        if "@" in mailbox and mailbox not in seen:
            place[mailbox].note(f"mailbox {show(mailbox)} has no password hash", make)
    return {"users": users}


def _why_no_hash(value: object) -> str:
    """Why nobody could log in by this hash, without a word of it but the name of a scheme that is known."""
    if not isinstance(value, str):
        return f"is {kind(value)}, not a password hash"
    match = _HASH.fullmatch(value)
    if match is None or match[1] not in SCHEMES:
        return "is not a password hash of a scheme among " + ", ".join(SCHEMES)
    pattern, words = SCHEMES[match[1]]
    body = re.fullmatch(pattern, match[2])
    if body is None or int(body.groupdict().get("memory", 8)) < 8 * int(body.groupdict().get("lanes", 1)):
        return f"is not a hash of its scheme {match[1]}, which is {words}"
    if int(body.groupdict().get("memory", 8)) > ARGON2_MEMORY:
        return f"takes more memory (m=) than Dovecot has for a login, which is {ARGON2_MEMORY} KiB"
    return ""
