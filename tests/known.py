# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the repository says in one place and tests read in several."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
# {image: a row of role platform's table}
PLATFORMS = yaml.safe_load((ROOT / "roles/platform/vars/main.yml").read_text())["__platform_known"]


def example(role: str) -> dict[str, Any]:
    """The play in a role's README."""
    text = (ROOT / f"roles/{role}/README.md").read_text()
    (play,) = yaml.safe_load(re.search(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1])
    return play
