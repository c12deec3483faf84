# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When playbooks/retire.yml takes a queue for empty."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jinja2.nativetypes import NativeEnvironment

PLAYS = yaml.safe_load((Path(__file__).parents[2] / "playbooks/retire.yml").read_text())
(SHUT,) = (play for play in PLAYS if play["name"].startswith("Shut its ports"))
EMPTY = SHUT["vars"]["__retire_empty"]
LISTED = """-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------
4f1LhW2wZPzkq      309 Fri Nov 27 15:00:00  Mail queue is empty@sender.example
            (host mail.example.com[192.0.2.1] said: 451 4.3.0
Mail queue is empty
)
                                         dan@example.com

-- 0 Kbytes in 1 Request.
"""


def conditions(tasks):
    """Each condition of these tasks, and of those in their blocks, that asks for what postqueue said."""
    for task in tasks:
        yield from conditions(task.get("block", []))
        asked = [task.get("when"), task.get("until"), task.get("ansible.builtin.assert", {}).get("that")]
        yield from (each for each in asked if "__retire_queue" in str(each))


@pytest.mark.parametrize("said, empty", [(f"{EMPTY}\n", True), (EMPTY, True), (LISTED, False), ("", False)])
def test_a_queue_is_empty_only_where_postfix_says_nothing_else(said, empty):
    names = ("__retire_queue", "__retire_queue_later", "__retire_queue_last")
    facts = {"__retire_empty": EMPTY, **{name: {"stdout": said} for name in names}}
    found = [NativeEnvironment().compile_expression(each)(**facts) for each in conditions(SHUT["tasks"])]
    # It is started and flushed where it is not empty; waiting ends, and the last look is good, where it is.
    assert found == [not empty, not empty, empty, empty]
