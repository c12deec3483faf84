"""The judge, by the milter protocol: 100,000 sessions, most of them not as they should be."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from throwaway import ROOT, Host, host

ON_HOST = Path(__file__).with_name("judge_on_host.py")
FILES = ROOT / "roles/dmarc/files"
LIBRARY = "usr/local/lib/gatehouse-dmarc/gatehouse_dmarc"
SESSIONS = 100_000
SECONDS = 1500
# KiB
MOST_MEMORY = 40 * 1024
MOST_GROWTH = 2 * 1024


@pytest.fixture(scope="module")
def there() -> Iterator[Host]:
    with host("python3-milter", "python3-spf", "python3-dnspython", "publicsuffix") as host_there:
        yield host_there


def run(there: Host, sessions: int, changes: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """Put the judge there, with these changes {file: (text, other text)}, and run so many sessions."""
    there.run("mkdir", "-p", f"/{LIBRARY}")
    for path in (path for path in FILES.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        content = path.read_text()
        if path.name in changes:
            old, new = changes[path.name]
            assert old in content, f"{path.name} has no {old}"
            content = content.replace(old, new)
        there.put(f"/{path.relative_to(FILES)}", content.encode())
    seed = int(os.environ.get("GH_SEED") or time.time())
    found = there.python(ON_HOST, {"sessions": sessions, "seed": seed, "seconds": SECONDS})
    print(f"seed {seed}, {sessions / found['seconds']:.0f} sessions/s, KiB {found['rss']}, {found['counts']}")
    for wrong in found["wrong"][:5]:
        print(str(wrong)[:1500])
    return found


# Errors that a judge could have: what the run must see.
KEPT = "self.settings.__dict__.setdefault('kept', []).append(bytearray(2000))"
ERRORS = {
    "the domain of a sender behind the first @": {
        "reading.py": (
            '_local, at, behind = path.rpartition("@")',
            r"""at, behind = "@" in path, re.split("[@>\"]", f"{path}@@")[2 if '"' in path else 1]""",
        )
    },
    "results that a signature wrote": {"milter.py": ("if not self.credible:", "if False:")},
    "any signature counts": {"policy.py": ("suffixes.organizational(identity.domain) ==", "True or")},
    "several From fields": {"milter.py": ("if count > 1:", "if False:")},
    "unjudged without an address": {
        "milter.py": ('self.exempt = self.client != "" and', 'self.exempt = self.client == "" or')
    },
    "memory that is not given back": {"milter.py": ("self.size = 0", f"self.size = 0\n        {KEPT}")},
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_in_the_judge_is_seen(there, name):
    found = run(there, 5000, ERRORS[name])
    assert found["wrong"] or found["rss"]["5000"] - found["rss"]["500"] > MOST_GROWTH


def test_random_sessions_neither_stop_nor_swell_nor_fool_the_judge(there):
    found = run(there, SESSIONS, {})
    assert found["same_pid"]
    assert found["wrong"] == []
    counts = found["counts"]
    assert "sessions that there was no time for" not in counts
    # What pymilter says when the judge fails: an error of ours.
    assert "tempfail" not in counts
    for ending in ("pass", "none", "550", "451", "552", "taken", "aborted", "wild sessions"):
        assert counts[ending] > SESSIONS / 1000, ending
    assert found["rss"][str(SESSIONS)] - found["rss"][str(SESSIONS // 10)] <= MOST_GROWTH
    assert found["rss"][str(SESSIONS)] <= MOST_MEMORY
