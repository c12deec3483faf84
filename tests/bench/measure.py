"""What benches share: how a time is taken, and how it is held against its limit.

A bench is tests/bench/bench_X.py. It calls `row` for each promise and ends in `raise SystemExit(report())`.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from throwaway import Host

HEADER = "| what | seconds | limit | of it | |\n|---|---|---|---|---|"
_TAKE_TURNS = """
import json, subprocess, sys, time
order = json.load(sys.stdin)
taken = [[] for _command in order["commands"]]
for _turn in range(order["times"]):
    for (before, measured), seconds in zip(order["commands"], taken):
        subprocess.run(["bash", "-ec", before], check=True, stdout=subprocess.DEVNULL)
        started = time.perf_counter()
        subprocess.run(["bash", "-ec", measured], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
print(json.dumps([min(seconds) for seconds in taken]))
"""
_over: list[str] = []


def seconds(host: Host, *commands: tuple[str, str], times: int = 5) -> list[float]:
    """The shortest wall-clock seconds of each command, run on the host; a command is (shell text before, shell text).

    What comes before is not measured. The commands take turns, so that a busy machine weighs on all of them, and the
    shortest time is what a command costs when nobody else is in its way.
    """
    order = {"commands": commands, "times": times}
    return json.loads(host.run("python3", "-c", _TAKE_TURNS, given=json.dumps(order).encode()).stdout)


def row(what: str, took: float, allowed: float | None = None) -> None:
    """Print a row of the table: what took how many seconds, and how many it may take; None: it is only told."""
    if allowed is None:
        print(f"| {what} | {took:.2f} | | | |", flush=True)
        return
    verdict = "ok" if took <= allowed else "**over**"
    if took > allowed:
        _over.append(what)
    print(f"| {what} | {took:.2f} | {allowed:.2f} | {took / allowed:.0%} | {verdict} |", flush=True)


def messages(
    loads: Sequence[Mapping[str, int]], taken: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str, dict[str, float]]]:
    """What mail_load.py took, for each load as (its size, "seconds" or "processor", {target: ms a message}); the median
    of the turns."""
    for load, targets in zip(loads, taken):
        for column, measure_of in enumerate(("seconds", "processor")):
            per_message = {
                name: statistics.median(turn[column] for turn in turns) * 1000 / load["messages"]
                for name, turns in targets.items()
            }
            yield f"{load['octets'] // 1024} KB", measure_of, per_message


def report() -> str | int:
    """For SystemExit: 0, or what was over its limit."""
    return f"over the limit: {', '.join(_over)}" if _over else 0
