# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The password of a login at one gateway, made of the login's one secret. No I/O, no Ansible."""

from __future__ import annotations

import base64
import hashlib
import hmac


def derived(secret: str, gateway: str) -> str:
    """HMAC-SHA256 of the gateway's name (RFC 2104), in base64.

    Who has one of these learns no other, as long as the secret cannot be guessed: the model wants it long.
    """
    if not secret or not gateway:
        raise ValueError("a secret and the name of a gateway are wanted")
    digest = hmac.new(secret.encode("utf-8"), gateway.lower().encode("ascii"), hashlib.sha256).digest()
    return base64.b64encode(digest).decode("ascii")
