# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What sshd and ip(8) say about a connection."""

from __future__ import annotations

import pytest
from ansible_collections.gatehouse.mail.plugins.module_utils import _ssh_connection as core


def test_the_port_is_the_one_at_the_host_s_end():
    connection = core.connection("192.0.2.66 51234 198.51.100.11 2222")
    assert connection == core.Connection("192.0.2.66", "198.51.100.11", 2222, "")
    assert connection.route == ["-json", "route", "get", "to", "192.0.2.66", "from", "198.51.100.11"]


def test_a_link_local_address_names_its_interface():
    connection = core.connection("fe80::1%eth1 51234 fe80::2%eth1 22")
    assert connection == core.Connection("fe80::1", "fe80::2", 22, "eth1")
    assert connection.route[-2:] == ["oif", "eth1"]


@pytest.mark.parametrize("said", ["", "192.0.2.66 51234 198.51.100.11", "192.0.2.66 51234 198.51.100.11 ssh"])
def test_what_sshd_did_not_write_is_no_connection(said):
    assert core.connection(said) is None


ROUTES = {
    "by a router": (
        '[{"dst":"192.0.2.66","from":"198.51.100.11","gateway":"198.51.100.1","dev":"eth0","flags":[]}]',
        "eth0",
    ),
    "to itself": (
        '[{"type":"local","dst":"127.0.0.1","from":"127.0.0.1","dev":"lo","flags":[],"cache":["local"]}]',
        "lo",
    ),
    "no route": ("", ""),
    "an error": ("[{}]", ""),
    "an empty answer": ("[]", ""),
    "another shape": ("{}", ""),
}


@pytest.mark.parametrize("said, interface", ROUTES.values(), ids=ROUTES)
def test_the_interface_is_that_of_the_answer(said, interface):
    assert core.interface(said) == interface
