# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is in the way of a daemon, from what ss(8) and /proc say."""

from __future__ import annotations

import pytest
from ansible_collections.gatehouse.mail.plugins.module_utils import _listeners as core

SS = """
udp UNCONN 0      0 127.0.0.53%lo:53  0.0.0.0:* users:(("systemd-resolve",pid=9,fd=12))
udp UNCONN 0      0 0.0.0.0:323  0.0.0.0:* users:(("chronyd",pid=11,fd=6))
tcp LISTEN 0      100 0.0.0.0:25  0.0.0.0:* users:(("master",pid=21,fd=13),("smtpd",pid=22,fd=6))
tcp LISTEN 0      64                    0.0.0.0:2049       0.0.0.0:*
tcp LISTEN 0      20 127.0.0.1:587  0.0.0.0:* users:(("exim4",pid=31,fd=3))
tcp LISTEN 0      511 *:80  *:* users:(("nginx",pid=41,fd=6))
tcp LISTEN 0      20 [::1]:587  [::]:* users:(("exim4",pid=31,fd=4))
tcp LISTEN 0      4096 10.8.0.31:24  0.0.0.0:* users:(("systemd",pid=1,fd=34))
tcp LISTEN 0      4096 10.8.0.31:26  0.0.0.0:* users:(("systemd",pid=1,fd=36))
tcp LISTEN 0      4096 [fd00::31]:24  [::]:* users:(("systemd",pid=1,fd=35))
"""
SOCKETS = """
/run/dbus/system_bus_socket dbus.socket dbus.service
10.8.0.31:24 ours.socket -
[fd00::31]:24 theirs.socket theirs@1.service theirs@2.service
10.8.0.31:26 ours.socket -
10.8.0.31:26 theirs.socket -

vsock::22 sshd-vsock.socket sshd@.service
kobject-uevent 1 systemd-udevd-kernel.socket systemd-udevd.service
"""
UNITS = {
    9: "systemd-resolved.service",
    21: "postfix.service",
    22: "postfix.service",
    31: "exim4.service",
    41: "nginx.service",
}


def in_the_way(port, protocol="tcp", address="", ours=("ours.service",), replaced=(), active=False):
    place = core.Place(protocol, core.address_of(address), port)
    found = core.listeners(SS)
    sockets = core.socket_units(SOCKETS.strip())
    return core.foreign([place], found, lambda pid: UNITS.get(pid, ""), sockets, list(ours), list(replaced), active)


WAYS = {
    "nobody": ({"port": 23}, []),
    "another port": ({"port": 5}, []),
    "another protocol": ({"port": 323}, []),
    "our own": ({"port": 25, "ours": ["postfix*.service"]}, []),
    "our own socket, at which systemd listens": ({"port": 24, "address": "10.8.0.31", "ours": ["ours.socket"]}, []),
    "one of two sockets, at which systemd listens": (
        {"port": 26, "address": "10.8.0.31", "ours": ["ours.socket", "postfix*"]},
        ["tcp port 26 at 10.8.0.31 is taken by systemd (ours.socket, theirs.socket)"],
    ),
    "another's socket, at which systemd listens": (
        {"port": 24, "address": "fd00::31", "ours": ["ours.socket"]},
        ["tcp port 24 at fd00::31 is taken by systemd (theirs.socket)"],
    ),
    "another on all addresses": (
        {"port": 25, "address": "192.0.2.1"},
        ["tcp port 25 at all addresses is taken by master, smtpd (postfix.service)"],
    ),
    "another on both families": ({"port": 80}, ["tcp port 80 at all addresses is taken by nginx (nginx.service)"]),
    "who is not named": ({"port": 2049}, ["tcp port 2049 at all addresses is taken by somebody"]),
    "who is not named, and may be our own": ({"port": 2049, "active": True}, []),
    "another beside our own": (
        {"port": 80, "active": True},
        ["tcp port 80 at all addresses is taken by nginx (nginx.service)"],
    ),
    "one by hand": ({"port": 323, "protocol": "udp"}, ["udp port 323 at all addresses is taken by chronyd"]),
    "another address": ({"port": 53, "protocol": "udp", "address": "127.0.0.1"}, []),
    "the same address": (
        {"port": 53, "protocol": "udp", "address": "127.0.0.53"},
        ["udp port 53 at 127.0.0.53 is taken by systemd-resolve (systemd-resolved.service)"],
    ),
    "on loopback, to be replaced": ({"port": 587, "replaced": ["exim4.service"]}, []),
    "on loopback, not to be replaced": (
        {"port": 587},
        [f"tcp port 587 at {address} is taken by exim4 (exim4.service)" for address in ("127.0.0.1", "::1")],
    ),
    "for all to see, to be replaced": (
        {"port": 80, "replaced": ["nginx.service"]},
        ["tcp port 80 at all addresses is taken by nginx (nginx.service)"],
    ),
}


@pytest.mark.parametrize("asked, said", WAYS.values(), ids=WAYS)
def test_who_is_in_the_way_is_named(asked, said):
    assert in_the_way(**asked) == said


CGROUPS = {
    "version 2": ("0::/system.slice/postfix.service\n", "postfix.service"),
    "version 1, in a container": (
        "12:pids:/a/user.slice/x.scope\n1:name=systemd:/machine/abc/system.slice/system-postfix.slice/postfix@-.service\n",
        "postfix@-.service",
    ),
    "a group below the unit": ("0::/system.slice/dovecot.service/workers\n", "dovecot.service"),
    "a session": ("0::/user.slice/user-0.slice/session-3.scope\n", "session-3.scope"),
    "no unit": ("0::/\n", ""),
    "nothing": ("", ""),
    "another shape": ("abc\n", ""),
}


@pytest.mark.parametrize("said, unit", CGROUPS.values(), ids=CGROUPS)
def test_the_unit_is_systemd_s(said, unit):
    assert core.unit_of(said) == unit
