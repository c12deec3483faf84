# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where ssh stays open, and what would shut Ansible out."""

from __future__ import annotations

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleFilterError
from ansible_collections.gatehouse.mail.plugins.filter.ssh_access import ssh_access

BOTH = ["internet", "vpn"]
CONSOLE = "or firewall_ssh_lockout: true if you have a console"
INTERNET = {"id": "192.0.2.66 51234 198.51.100.11 2222", "port": 2222, "interface": "eth0"}
VPN = {"id": "10.8.0.41 51234 10.8.0.11 22", "port": 22, "interface": "wg0"}
TUNNEL = {"id": "127.0.0.1 51234 127.0.0.1 22", "port": 22, "interface": "lo"}
UNKNOWN = {**INTERNET, "interface": ""}
NO_SSH = {"id": "", "port": 0, "interface": ""}


def asked(connection, port=None, zones=None, lockout=False, own=""):
    return ssh_access(connection, own, "wg0", port, zones, lockout)


OPEN = {
    # case: (asked, port, zones, whether it is tried)
    "nothing is written": (asked(INTERNET), 2222, BOTH, True),
    "an explicit port goes before all": (asked(INTERNET, port=22), 22, BOTH, True),
    "a port from the command line is a string": (asked(INTERNET, port="22"), 22, BOTH, True),
    "the VPN alone, by the VPN": (asked(VPN, zones=["vpn"]), 22, ["vpn"], True),
    "the VPN alone, as a word": (asked(VPN, zones="vpn"), 22, ["vpn"], True),
    "the VPN alone, by a tunnel that ends on the host": (asked(TUNNEL, zones=["vpn"]), 22, ["vpn"], True),
    "the VPN alone, by nobody knows what": (asked(UNKNOWN, zones=["vpn"]), 2222, ["vpn"], True),
    "the VPN alone, with a console": (asked(INTERNET, zones=["vpn"], lockout=True), 2222, ["vpn"], False),
    "nowhere, with a console": (asked(INTERNET, zones=[], lockout=True), 2222, [], False),
    "no ssh, all written": (asked(NO_SSH, port=22, zones=["vpn"]), 22, ["vpn"], False),
    "no ssh, with a console": (asked(NO_SSH, port=22, lockout=True), 22, BOTH, False),
    "no ssh and none wanted": (asked(NO_SSH, zones=[], lockout=True), 0, [], False),
}


@pytest.mark.parametrize("result, port, zones, trial", OPEN.values(), ids=OPEN)
def test_open(result, port, zones, trial):
    assert result == {"port": port, "zones": zones, "trial": trial, "problems": []}


NO_SSH_BY_WHICH = "is not written, and Ansible does not come by ssh; write the"
NO_PORT = f"firewall_ssh_port {NO_SSH_BY_WHICH} port of sshd, such as 22"
NO_ZONES = f"firewall_ssh_zones {NO_SSH_BY_WHICH} zones in which ssh stays open, such as [internet, vpn], {CONSOLE}"


def lacking(written, zone, interface):
    return (
        f"firewall_ssh_zones: [{written}] lacks {zone}, the zone of {interface}, by which Ansible comes; "
        f"write [internet, vpn], {CONSOLE}"
    )


SHUT = {
    # case: (asked, problems)
    "nowhere": (
        asked(INTERNET, zones=[]),
        [f"firewall_ssh_zones: [] leaves ssh open nowhere; write [internet, vpn], {CONSOLE}"],
    ),
    "the VPN alone, by the internet": (
        asked(INTERNET, zones=["vpn"]),
        [lacking("vpn", "internet", "eth0")],
    ),
    "the internet alone, by the VPN": (
        asked(VPN, zones=["internet"]),
        [lacking("internet", "vpn", "wg0")],
    ),
    "no ssh": (asked(NO_SSH), [NO_PORT, NO_ZONES]),
    "no ssh, only a port": (asked(NO_SSH, port=22), [NO_ZONES]),
    "no ssh, only a zone": (asked(NO_SSH, zones=["vpn"]), [NO_PORT]),
    "no ssh, no port, with a console": (asked(NO_SSH, lockout=True), [NO_PORT]),
    "a local connection of who came to the controller by ssh": (
        asked(VPN, own=VPN["id"]),
        [NO_PORT, NO_ZONES],
    ),
    "another zone": (
        asked(VPN, zones=["vpn", "public"]),
        ['firewall_ssh_zones: "public" is no zone of this role; write internet or vpn'],
    ),
}


@pytest.mark.parametrize("result, problems", SHUT.values(), ids=SHUT)
def test_shut(result, problems):
    assert result["problems"] == problems


def test_another_input_is_refused():
    with pytest.raises(AnsibleFilterError, match=r"gatehouse\.mail\.ssh_access: the input is no result of"):
        asked({})
