# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role clamav's program that tries the scanner: where it asks, and what it takes for a refusal."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

PROGRAM = runpy.run_path(str(Path(__file__).parents[3] / "roles/clamav/files/usr/local/sbin/gatehouse-eicar.py"))


PLACES = {
    "local:/run/clamav-milter/clamav-milter.sock": "/run/clamav-milter/clamav-milter.sock",
    "unix:/run/milter:0.sock": "/run/milter:0.sock",
    "inet:8894@127.0.0.1": ("127.0.0.1", 8894),
    "inet:8894@::1": ("::1", 8894),
}


@pytest.mark.parametrize("listens, place", PLACES.items(), ids=PLACES)
def test_the_milter_is_asked_where_it_listens(listens, place):
    assert PROGRAM["place"](listens) == place


MEANINGS = {
    "a refusal in its own words": (b"y", b"550 5.7.1 refused by ClamAV: Eicar-Test\0", True),
    "a delay in its own words": (b"y", b"451 4.7.1 try again\0", False),
    "a refusal": (b"r", b"", True),
    "a delay": (b"t", b"", False),
    "mail that goes on to the end": (b"c", b"", False),
    "mail that is let in": (b"a", b"", False),
    "mail that vanishes": (b"d", b"", False),
    "what nobody knows": (b"?", b"", False),
}


@pytest.mark.parametrize("decided, text, refused", MEANINGS.values(), ids=MEANINGS)
def test_only_a_refusal_for_good_counts(decided, text, refused):
    said, counts = PROGRAM["meaning"](decided, text)
    assert counts is refused
    assert said.startswith("5") is refused
    assert "\0" not in said


def test_the_program_itself_is_no_virus():
    assert len(PROGRAM["EICAR"]) == 68
    assert PROGRAM["EICAR"] not in Path(PROGRAM["__file__"]).read_bytes()
