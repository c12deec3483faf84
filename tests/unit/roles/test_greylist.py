# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role greylist's program that sees whether postgrey remembers: what it asks, and what it makes of the answer."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

PROGRAM = runpy.run_path(
    str(Path(__file__).parents[3] / "roles/greylist/files/usr/local/sbin/gatehouse-greylist-probe.py")
)

DAY = 86400


def test_a_request_is_that_of_a_stranger_whom_nobody_can_be():
    assert PROGRAM["request"]("0123456789abcd", 1760000000) == (
        "request=smtpd_access_policy\nclient_address=2001:db8::0123\nclient_name=gatehouse-greylist-probe\n"
        "sender=x0123456789abcd@invalid\nrecipient=postgrey@invalid\npolicy_test_time=1760000000\n\n"
    )


def test_the_stranger_came_so_long_ago_that_he_is_forgotten_soon_and_comes_again_when_he_may():
    now = 1790000000.9
    first, again = PROGRAM["times"](now, 60, 35)
    assert now - 37 * DAY < first < now - 35 * DAY
    assert again - first == 60


ACTIONS = {
    "action=DEFER_IF_PERMIT 4.2.0 Greylisted, come again in 60 seconds": True,
    "action=PREPEND X-Greylist: delayed 60 seconds at store.example.org; Thu, 26 Nov 2026 10:00:00 +0000": False,
    "action=DUNNO": False,
    "": False,
}


@pytest.mark.parametrize("action, waits", ACTIONS.items())
def test_who_is_told_to_come_again_waits(action, waits):
    assert PROGRAM["waits"](action) is waits
