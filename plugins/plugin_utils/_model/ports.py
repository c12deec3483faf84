# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Concern: the ports that our daemons listen on, to whom they are open, and their labels of SELinux."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory, milters
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.given import Given
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import GATEWAYS, STORES, Place

VARIABLES: dict[str, Any] = {"mail_ports": {}}
SSH_PORT, SSH_ZONES, SSH_LOCKOUT = SSH_ACCESS = ("firewall_ssh_port", "firewall_ssh_zones", "firewall_ssh_lockout")
SSH_PORTS = ("ansible_port", SSH_PORT)  # at these none of our own daemons listens
FOREIGN = ("ansible_port", *SSH_ACCESS)

EPHEMERAL_PORTS = range(32768, 61000)  # Linux: net.ipv4.ip_local_port_range
TAKEN_PORTS = {22: "ssh"}
POP_PORTS = (106, 109, 110, 143, 220, 993, 995, 1109, 10993)  # of pop_port_t in EL's policy


class Port(NamedTuple):
    """A port of ours: hosts of which groups listen on it, in which zones it is open, and whether to gateways alone.

    setype is its SELinux type, and labelled the ports that EL's policy gives this type already (corenetwork.te of c9s
    and c10s). fixed: mail_ports cannot move it. jail: of fail2ban, which watches what is offered here. offered: whether
    a host of its groups offers it, by the host's record and the site. zones_of: the part of the model that has its
    zones instead, where they are the operator's choice.
    """

    name: str
    number: int
    groups: tuple[str, ...]
    zones: tuple[str, ...]
    setype: str
    labelled: tuple[int, ...]
    fixed: bool = False
    gateways_only: bool = False
    jail: str = ""
    offered: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] = lambda _me, _site: True
    zones_of: str = ""


# RFC 5321 4.5.4.2 (25), RFC 2033 (any but 25), RFC 8314 3.2 and 3.3 (993, 995, 465), RFC 6409 3.1 (587), RFC 5804 1.8
# (4190). The gateways' submission is on the VPN, on a port of its own; the policy service for greylists is where EL's
# policy expects it, and who may ask it could fill it with whatever he likes. LMTP asks for a certificate, and each
# connection is a process before it has shown one.
PORTS = (
    Port(
        "smtp", 25, (GATEWAYS,), ("internet", "vpn"), "smtp_port_t", (25, 465, 587), fixed=True, jail="gatehouse-smtp"
    ),
    Port(
        "submission",
        32841,
        (GATEWAYS,),
        ("vpn",),
        "smtp_port_t",
        (25, 465, 587),
        jail="gatehouse-submission",
        offered=lambda _me, site: bool(site["logins"]),
    ),
    Port(
        "submission_starttls",
        587,
        (STORES,),
        ("vpn",),
        "smtp_port_t",
        (25, 465, 587),
        jail="gatehouse-submission",
        offered=lambda _me, site: site["submission"],
        zones_of="submission_zones",
    ),
    Port(
        "submissions",
        465,
        (STORES,),
        ("vpn",),
        "smtp_port_t",
        (25, 465, 587),
        jail="gatehouse-submissions",
        offered=lambda _me, site: site["submission"],
        zones_of="submission_zones",
    ),
    Port("lmtp", 24, (STORES,), ("vpn",), "lmtp_port_t", (24, 2003), gateways_only=True),
    Port(
        "imaps",
        993,
        (STORES,),
        ("vpn",),
        "pop_port_t",
        POP_PORTS,
        jail="gatehouse-imap",
    ),
    Port(
        "managesieve",
        4190,
        (STORES,),
        ("vpn",),
        "sieve_port_t",
        (4190,),
        jail="gatehouse-managesieve",
        offered=lambda _me, site: site["sieve"],
    ),
    Port(
        "pop3s",
        995,
        (STORES,),
        ("vpn",),
        "pop_port_t",
        POP_PORTS,
        jail="gatehouse-pop3",
        offered=lambda _me, site: site["pop3"],
    ),
    Port(
        "greylist",
        60000,
        (STORES,),
        ("vpn",),
        "postgrey_port_t",
        (60000,),
        gateways_only=True,
        offered=lambda me, site: site["greylist"]["host"] == me["host"],
    ),
)


def read(given: Given, site: Mapping[str, Any]) -> dict[str, Any]:
    """The part `ports` of the model; and a look at whether Ansible still finds a way in by ssh."""
    taken = {**TAKEN_PORTS, **milters.ports(given["mail_milter_sockets"])}
    ports = _ports(given.at("mail_ports"), given["mail_ports"], taken)
    for host, group in given.members.items():
        variables, at = given.hosts[host], given.places[host]
        for name in SSH_PORTS:
            if name in variables:
                _ssh_port(at[name], variables[name], group, ports)
        if str(variables.get(SSH_LOCKOUT)).lower() not in ("true", "yes", "on", "1"):  # a string by --extra-vars
            _ssh_zones(at[SSH_ZONES], variables.get(SSH_ZONES))
    return {"ports": ports}


def view(me: Mapping[str, Any], site: Mapping[str, Any]) -> dict[str, Any]:
    """The parts `listen`, `reserved_ports`, `selinux_ports` and `selinux_ports_absent` of one host's model."""
    listen = []
    for row in offered(me, site):
        zones = [] if me["shut"] else list(site[row.zones_of] if row.zones_of else row.zones)
        entry = {"name": row.name, "port": site["ports"][row.name], "protocol": "tcp", "zones": zones}
        if row.gateways_only:
            entry["sources"] = sorted(gateway["vpn_address"] for gateway in site["gateways"])
        listen.append(entry)
    return {
        "listen": listen,
        "reserved_ports": sorted(entry["port"] for entry in listen if entry["port"] in EPHEMERAL_PORTS),
        **_selinux_ports(me, site, listen),
    }


def offered(me: Mapping[str, Any], site: Mapping[str, Any]) -> list[Port]:
    """The ports on which this host listens."""
    return [row for row in _of(me["group"]) if row.offered(me, site)]


def _of(group: str) -> list[Port]:
    return [row for row in PORTS if group in row.groups]


def _ports(at: Place, value: object, taken: Mapping[int, str]) -> dict[str, int]:
    known = tuple(row.name for row in PORTS if not row.fixed)
    overrides = inventory.record(at, value, known, "{imaps: 10993}")
    ports = {row.name: row.number for row in PORTS}
    before = [row for row in PORTS if row.fixed]
    for row in (row for row in PORTS if not row.fixed):
        name, beside = row.name, [other for other in before if other.fixed or {*other.groups} & {*row.groups}]
        ports[name] = inventory.integer(at[name], overrides.get(name, ports[name]), 1, 65535, ports[name])
        owners = {**taken, **{ports[other.name]: other.name for other in beside}}
        if ports[name] in owners:
            at[name].refuse(ports[name], f"is the port of {owners[ports[name]]}", "write a port that is free")
        before.append(row)
    return ports


def _ssh_port(at: Place, value: object, group: str, ports: Mapping[str, int]) -> None:
    """Ansible comes by a port at which none of our daemons listens; an inventory may have it as a string."""
    for row in _of(group):
        if str(value) == str(ports[row.name]):
            at.refuse(
                value, f"is the port of {row.name}", "write another port for ssh, or for the daemon in mail_ports"
            )


def _ssh_zones(at: Place, value: object) -> None:
    """Ansible, too, comes by one of these zones. By which one only the host knows, and role firewall asks it."""
    if value == [] or value == "":
        at.refuse(
            value, "leaves ssh open nowhere", f"write [internet, vpn], or {SSH_LOCKOUT}: true if you have a console"
        )


def _selinux_ports(
    me: Mapping[str, Any], site: Mapping[str, Any], listen: Sequence[Mapping[str, Any]]
) -> dict[str, list[dict[str, str]]]:
    """The ports of this host that EL's policy does not know by the right type, and those of what is switched off."""
    names = {entry["name"] for entry in listen}
    known = [
        (site["ports"][row.name], row.setype, row.name in names)
        for row in _of(me["group"])
        if site["ports"][row.name] not in row.labelled
    ]
    if me["group"] == GATEWAYS:
        known += milters.selinux_ports(site["milters"])
    else:
        known += milters.selinux_ports(site["milters"] if site["submission"] else [], "gatehouse-dmarc")
    used = {port for port, _setype, on in known if on} | {entry["port"] for entry in listen}
    return {
        "selinux_ports": [{"port": str(port), "proto": "tcp", "setype": setype} for port, setype, on in known if on],
        "selinux_ports_absent": [
            {"port": str(port), "proto": "tcp", "setype": setype, "state": "absent"}
            for port, setype, _on in known
            if port not in used
        ],
    }
