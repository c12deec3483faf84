# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dns_update
short_description: Publish DNS records by dynamic updates, and only what differs
description:
  - Compares the records with what each zone's server has, and sends it the differences in signed updates (RFC 2136).
  - Of a set that others write to as well, such as the TXT records of a name, only records of our kind are touched.
    What an earlier run published and is wanted no longer is taken away; no other record is.
  - Beside a CNAME, or below a DNAME, a server ignores what it is told to add or remove, without an error. Where such an
    alias leads to something else than what is wanted, nothing is sent, and a warning names it.
  - Zones without a server are passed over.
version_added: 0.1.0
author:
  - gatehouse.mail contributors (@gatehouse)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    platforms: posix
requirements:
  - dnspython >= 2.7, on the host that runs the module, which is best the controller
options:
  records:
    description: What is wanted, as P(gatehouse.mail.dns_records#filter) gives it.
    type: list
    elements: dict
    required: true
  former:
    description: Records that must be gone, in the same form.
    type: list
    elements: dict
    default: []
  zones:
    description: The zones to publish, as C(mail_dns_zones) has them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The zone.
        type: str
        required: true
      server:
        description: The server that takes updates, name or address. A zone without one is passed over.
        type: str
      port:
        description: Its port.
        type: int
        default: 53
      key:
        description: The name of the TSIG key in O(keys).
        type: str
      servers:
        description: Of no use here; C(mail_dns_zones) has it for M(gatehouse.mail.dns_info).
        type: list
        elements: str
  keys:
    description: The TSIG keys, each with C(algorithm) and C(secret), as C(vault_mail_tsig_keys) has them.
    type: dict
    required: true
  memory:
    description:
      - A file that remembers what was published, so that what is wanted no longer can be taken away.
      - It is written before the update, too, so that an interrupted run forgets nothing.
    type: path
    required: true
  timeout:
    description: Seconds to wait for an answer.
    type: float
    default: 10
notes:
  - M(community.general.nsupdate) writes whole sets, which would take away strangers' TXT records.
seealso:
  - module: gatehouse.mail.dns_info
"""

EXAMPLES = r"""
- name: Publish what differs
  gatehouse.mail.dns_update:
    records: "{{ mail_model | gatehouse.mail.dns_records }}"
    zones: "{{ mail_model.dns.zones }}"
    keys: "{{ vault_mail_tsig_keys }}"
    memory: "{{ inventory_dir }}/dns/published.json"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
changes:
  description: What was changed, or would be.
  returned: always
  type: list
  elements: dict
  contains:
    zone:
      description: The zone.
      type: str
    name:
      description: The name.
      type: str
    type:
      description: The type.
      type: str
    add:
      description: The values added.
      type: list
      elements: str
    remove:
      description: The values removed.
      type: list
      elements: str
aliases:
  description: What cannot be published, since an alias leads away from its name, and what to do. A line each.
  returned: always
  type: list
  elements: str
"""

import json
import os
import tempfile
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.gatehouse.mail.plugins.module_utils import _dns, _dns_servers
from ansible_collections.gatehouse.mail.plugins.module_utils._dns_servers import Resolver, Server, ServerError

Memory = dict[str, list[dict[str, Any]]]  # by zone, the records that were published


def remembered(path: str) -> Memory:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def remember(path: str, memory: Memory, move: Callable[[str, str], None]) -> None:
    text = json.dumps(memory, indent=1, sort_keys=True) + "\n"
    handle, aside = tempfile.mkstemp(dir=os.path.dirname(path))
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(aside, 0o644)
    move(aside, path)


def differences_of(
    server: Server, wanted: list[dict[str, Any]], former: list[dict[str, Any]], timeout: float
) -> list[dict[str, Any]]:
    found, aliases, _ttls = _dns_servers.ask(server, _dns.places([*wanted, *former]), Resolver([], timeout), timeout)
    return _dns.compare(wanted, former, found, aliases)


def publish(params: dict[str, Any], check_mode: bool, move: Callable[[str, str], None]) -> dict[str, Any]:
    """Every zone by itself: what stops one is told at the end, when the others are done."""
    wanted, gone = _dns.by_zone(params["records"]), _dns.by_zone(params["former"])
    memory = remembered(params["memory"])
    changes: list[dict[str, Any]] = []
    failures: list[str] = []
    aliases: list[str] = []
    for zone in params["zones"]:
        name = zone["name"]
        ours = [record for record in wanted.get(name, []) if record["value"] is not None]
        former = gone.get(name, []) + memory.get(name, [])
        if not zone["server"] or not (ours or former):
            continue
        try:
            addresses = Resolver([], params["timeout"]).addresses_of(zone["server"])
            if not addresses:
                raise ServerError("no address", "has no address")
            server = Server(zone["server"], addresses[0], zone["port"])
            found = differences_of(server, ours, former, params["timeout"])
            differences = [difference for difference in found if difference["add"] or difference["remove"]]
            if not check_mode:
                # Before the update, too: what is published by a run that is then killed must not be forgotten.
                _note(params["memory"], memory, name, [*ours, *memory.get(name, [])], move)
                key = {**params["keys"][zone["key"]], "name": zone["key"]}
                _dns_servers.update(server, name, key, differences, params["timeout"])
                _note(params["memory"], memory, name, ours, move)
        except ServerError as error:
            failures.append(f"zone {name}: server {zone['server']} {error.words}")
            continue
        aliases += [f"{each['words']}; {each['todo']}" for each in found if each["problem"] == "alias"]
        changes += [
            {
                **{part: difference[part] for part in ("zone", "name", "type")},
                "add": [record["value"] for record in difference["add"]],
                "remove": ["".join(strings) for strings in difference["remove"]],
            }
            for difference in differences
        ]
    return {"changed": bool(changes), "changes": changes, "aliases": aliases, "failures": failures}


def _note(
    path: str, memory: Memory, zone: str, records: list[dict[str, Any]], move: Callable[[str, str], None]
) -> None:
    """Write the memory if it changes."""
    new = [json.loads(text) for text in dict.fromkeys(json.dumps(record, sort_keys=True) for record in records)]
    if memory.get(zone, []) != new:
        memory[zone] = new
        remember(path, memory, move)


def shown_diff(changes: list[dict[str, Any]]) -> dict[str, str]:
    def lines(part: str) -> str:
        return "".join(f"{change['name']} {change['type']} {value}\n" for change in changes for value in change[part])

    return {"before": lines("remove"), "after": lines("add")}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "records": {"type": "list", "elements": "dict", "required": True},
            "former": {"type": "list", "elements": "dict", "default": []},
            "zones": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "server": {"type": "str"},
                    "port": {"type": "int", "default": 53},
                    "key": {"type": "str", "no_log": False},
                    "servers": {"type": "list", "elements": "str"},
                },
            },
            "keys": {"type": "dict", "required": True, "no_log": True},
            "memory": {"type": "path", "required": True},
            "timeout": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    if _dns_servers.DNSPYTHON_ERROR:
        module.fail_json(msg=missing_required_lib("dnspython"), exception=_dns_servers.DNSPYTHON_ERROR)
    try:
        result = publish(module.params, module.check_mode, module.atomic_move)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{module.params['memory']}: {error}")
    failures = result.pop("failures")
    for alias in result["aliases"]:
        module.warn(alias)
    if module._diff:
        result["diff"] = shown_diff(result["changes"])
    if failures:
        module.fail_json(msg="; ".join(failures), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
