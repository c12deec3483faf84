# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory keeps of DKIM keys: the public part and the stage of each. No I/O and no Ansible.

Sources: RFC 6376 3.6.1 and RFC 8463 4.2 for what stands in ``p=``.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

ED25519_HEADER = 12  # octets before the key itself in its SubjectPublicKeyInfo (RFC 8410)


def public_part(pem: str, kind: str) -> str:
    """What stands in ``p=`` for a public key in PEM; kind is "rsa" or "ed25519"."""
    body = "".join(line for line in pem.splitlines() if not line.startswith("-"))
    return base64.b64encode(base64.b64decode(body)[ED25519_HEADER:]).decode() if kind == "ed25519" else body


def written(
    there: Iterable[Mapping[str, Any]], made: Iterable[tuple[Mapping[str, Any], str]], host: str, since: str
) -> list[dict[str, Any]]:
    """The records of ``mail_dkim``: those that are there, and one for each key that this host made, as (key, PEM).

    A key that is there with this public part stays as it is; another one of its name was lost, and is replaced. Raises
    ValueError where the name is another host's.
    """
    records = {(record["domain"], record["selector"]): dict(record) for record in there}
    for key, pem in made:
        name, public = (key["domain"], key["selector"]), public_part(pem, key["type"])
        there_now = records.get(name, {})
        if there_now.get("host", host) != host:
            raise ValueError(f"{'/'.join(name)} is a key of {there_now['host']}; give {host} another selector")
        if there_now.get("public") != public:
            records[name] = {
                "domain": key["domain"], "selector": key["selector"], "host": host, "type": key["type"],
                "stage": key["stage"], "since": since, "public": public,
            }  # fmt: skip
    return [records[name] for name in sorted(records)]
