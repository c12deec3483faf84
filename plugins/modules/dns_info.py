# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dns_info
short_description: Compare DNS records with what the authoritative servers say
description:
  - Asks each authoritative server of each zone for every record, and says what differs and what to do.
  - It changes nothing, and finding differences is no failure. A server that does not answer, or not with authority, is
    a difference too.
  - TXT records are compared with their strings joined, sets in any order. An alias is followed; where it leads to
    something else than what is wanted, it is named, since nothing can be published beside it.
  - Of names that others write to as well, only records of our kind are looked at, so that a second SPF record is seen,
    and a stranger's verification code is left in peace.
version_added: 0.1.0
author:
  - gatehouse.mail contributors (@gatehouse)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
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
    description:
      - Zones whose servers are not to be looked up, but are these, as C(mail_dns_zones) has them.
      - Of other zones, and of those without O(zones[].servers), the NS records say which servers there are.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The zone.
        type: str
        required: true
      servers:
        description: Its authoritative servers, names or addresses, with C(@) and a port behind where that is not 53.
        type: list
        elements: str
        default: []
      server:
        description: Of no use here, and so O(zones[].port) and O(zones[].key); M(gatehouse.mail.dns_update) needs them.
        type: str
      port:
        description: See O(zones[].server).
        type: int
      key:
        description: See O(zones[].server).
        type: str
  resolvers:
    description: Addresses of the resolvers that find the servers. By default those of the system.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds to wait for an answer.
    type: float
    default: 5
notes:
  - A server that gave no answer once is not asked again in this run.
seealso:
  - module: gatehouse.mail.dns_update
"""

EXAMPLES = r"""
- name: Compare what is published with what is wanted
  gatehouse.mail.dns_info:
    records: "{{ mail_model | gatehouse.mail.dns_records }}"
    former: "{{ mail_model | gatehouse.mail.dns_records(former=true) }}"
  delegate_to: localhost
  run_once: true
  register: found

- name: Fail if anything differs
  ansible.builtin.assert:
    that: not found.differences
    fail_msg: "{{ found.text }}"
  run_once: true
"""

RETURN = r"""
differences:
  description: What differs. Empty when all servers say what is wanted.
  returned: always
  type: list
  elements: dict
  contains:
    zone:
      description: The zone.
      type: str
    name:
      description: The name of the record, or of the zone.
      type: str
    type:
      description: The type of the record.
      type: str
    kind:
      description: What the record is for, as in the records; V(server) and V(DNSSEC) are about the zone as a whole.
      type: str
    problem:
      description:
        - V(missing); V(wrong), another value; V(split), the right text cut into strings or records wrongly;
          V(duplicate), a second one where receivers want one; V(unexpected), one more in a set; V(obsolete), wanted no
          longer; V(unmade), a DKIM key that was not made yet; V(alias), a CNAME, or a DNAME above, that leads to
          something else, and must go first.
        - Of a server, V(stale), V(timeout), V(unreachable), V(servfail), V(refused), V(lame), V(no address), V(no zone)
          and others of its kind; of DNSSEC, V(broken).
      type: str
    wanted:
      description: The values that are missing.
      type: list
      elements: str
    found:
      description: The values that should not be there.
      type: list
      elements: str
    servers:
      description: Where it was found.
      type: list
      elements: str
    words:
      description: The difference in words.
      type: str
    todo:
      description: What to do.
      type: str
  sample:
    - {zone: example.org, name: example.org, type: TXT, kind: SPF, problem: missing}
zones:
  description:
    - For each zone its C(servers), each with C(name), C(address), C(port) and C(serial).
    - And its C(dnssec), one of V(signed), V(unsigned), V(no DS) (signed, but the parent does not say so), V(broken)
      and V(unknown).
  returned: always
  type: dict
mx_ttl:
  description: The greatest TTL of all MX records that servers answered with, in seconds; V(0) where there were none.
  returned: always
  type: int
text:
  description: The differences for people, a line each; or that there are none.
  returned: always
  type: list
  elements: str
"""

from collections.abc import Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.gatehouse.mail.plugins.module_utils import _dns, _dns_servers
from ansible_collections.gatehouse.mail.plugins.module_utils._dns_servers import Resolver, Server, ServerError


class Zone:
    """What is found out about one zone."""

    def __init__(self, name: str, resolver: Resolver, timeout: float) -> None:
        self.name = name
        self.resolver = resolver
        self.timeout = timeout
        self.differences: list[dict[str, Any]] = []
        self.serials: dict[Server, int] = {}
        self.dnssec = "unknown"
        self.mx_ttl = 0

    def servers(self, named: Sequence[str]) -> list[Server]:
        """All addresses of the zone's servers; the zone's real name is found on the way."""
        if not named:
            self.name = self.resolver.zone_of(self.name)
            named = self.resolver.servers_of(self.name)
        servers = []
        for each in named:
            host, _at_sign, port = each.partition("@")
            addresses = self.resolver.addresses_of(host)
            if not addresses:
                self._note(host, "no address", "has no address", "give it one, or take it out of the NS records")
            servers += [Server(host, address, int(port or 53)) for address in addresses]
        return servers

    def check(self, named: Sequence[str], wanted: Sequence[dict[str, Any]], former: Sequence[dict[str, Any]]) -> None:
        places = _dns.places([*wanted, *former])
        found = {}
        try:
            servers = self.servers(named)
        except ServerError as error:
            self._note("", error.problem, error.words, "register the zone, or write its servers in mail_dns_zones")
            return
        for server in servers:
            try:
                self.serials[server] = _dns_servers.serial(server, self.name, self.timeout)
                there, aliases, ttls = _dns_servers.ask(server, places, self.resolver, self.timeout)
                found[server] = _dns.compare(wanted, former, there, aliases)
                self.mx_ttl = max(self.mx_ttl, *(ttl for (_name, kind), ttl in ttls.items() if kind == "MX"), 0)
            except ServerError as error:
                self.serials.pop(server, None)
                # Without IPv6 here, nothing can be said of a server's IPv6 address while another one answers.
                others = any(other.name == server.name and other != server for other in servers)
                if error.problem != "no route" or not others:
                    self._note(
                        str(server), error.problem, error.words, "look after it, or take it out of the NS records"
                    )
        self.differences += _dns.merge(found, self.serials, self.name)
        self._check_dnssec()

    def _check_dnssec(self) -> None:
        for server in self.serials:
            try:
                self.dnssec = self.resolver.dnssec(server, self.name, self.timeout)
            except ServerError:
                continue
            if self.dnssec == "broken":
                difference = _dns.server_difference(
                    self.name, "", "broken", "is signed in a way that resolvers refuse", "mend its DNSKEY or its DS"
                )
                self.differences.append({**difference, "type": "DS", "kind": "DNSSEC"})
            return

    def _note(self, server: str, problem: str, words: str, todo: str) -> None:
        self.differences.append(_dns.server_difference(self.name, server, problem, words, todo))

    def result(self) -> dict[str, Any]:
        servers = [{**server._asdict(), "serial": serial} for server, serial in self.serials.items()]
        return {"servers": servers, "dnssec": self.dnssec}


def check(params: dict[str, Any]) -> dict[str, Any]:
    resolver = Resolver(params["resolvers"], params["timeout"])
    named = {zone["name"]: zone["servers"] for zone in params["zones"]}
    results: dict[str, Any] = {}
    differences: list[dict[str, Any]] = []
    mx_ttl = 0
    wanted, former = _dns.by_zone(params["records"]), _dns.by_zone(params["former"])
    for name in dict.fromkeys([*wanted, *former]):
        zone = Zone(name, resolver, params["timeout"])
        zone.check(named.get(name, ()), wanted.get(name, []), former.get(name, []))
        results[zone.name] = zone.result()
        differences += zone.differences
        mx_ttl = max(mx_ttl, zone.mx_ttl)
    for difference in differences:
        del difference["add"], difference["remove"]  # for dns_update; here they would say everything twice
    text = [f"{difference['words']}; {difference['todo']}" for difference in differences]
    text = text or ["every server says what is wanted"]
    return {"differences": differences, "zones": results, "mx_ttl": mx_ttl, "text": text}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "records": {"type": "list", "elements": "dict", "required": True},
            "former": {"type": "list", "elements": "dict", "default": []},
            "zones": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "servers": {"type": "list", "elements": "str", "default": []},
                    "server": {"type": "str"},
                    "port": {"type": "int"},
                    "key": {"type": "str", "no_log": False},
                },
            },
            "resolvers": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "float", "default": 5},
        },
        supports_check_mode=True,
    )
    if _dns_servers.DNSPYTHON_ERROR:
        module.fail_json(msg=missing_required_lib("dnspython"), exception=_dns_servers.DNSPYTHON_ERROR)
    module.exit_json(changed=False, **check(module.params))


if __name__ == "__main__":
    main()
