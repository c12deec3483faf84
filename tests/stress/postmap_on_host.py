"""Runs on a host with Postfix: kill who writes a table, or rebuild it again and again, while a reader asks for keys.

Standard input is an order: {"do": "kill" or "wait", "command": shell text that builds the table from /root/src,
"type", "path", "entries", "rounds", "in_place"}. The output is JSON: for "kill" {"kills": a list of {"phase",
"after_first_write", "missed", "repaired"}, "left": whether a run left something behind}; for "wait" {"lookups",
"missed", "longest"}, in seconds.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

SRC = "/root/src"


def write_source(entries: int, turn: int) -> list[str]:
    """Two sources take turns: half of the keys are in both, and those are the keys that must always be found."""
    known = [f"known{number:06}@example.org" for number in range(entries // 2)]
    others = [f"turn{turn % 2}-{number:06}@example.org" for number in range(entries - len(known))]
    with open(SRC, "w") as file:
        file.writelines(f"{key} OK\n" for key in known + others)
    return known + others


def missing(table: str, keys: list[str]) -> int:
    """How many of the keys the table says it does not have. An error is no answer: Postfix would defer the mail."""
    asked = subprocess.run(
        ["postmap", "-q", "-", table],
        input="".join(f"{key}\n" for key in keys),
        capture_output=True,
        text=True,
        check=False,
    )
    if "fatal" in asked.stderr or "error" in asked.stderr:
        return 0
    return len(keys) - asked.stdout.count("\n")


class Reader(threading.Thread):
    """Asks for 100 evenly spaced keys until it is stopped; the wrong misses, and the longest wait in seconds."""

    def __init__(self, table: str, keys: list[str]) -> None:
        super().__init__()
        self.table, self.keys = table, keys[:: max(1, len(keys) // 100)]
        self.missed, self.longest, self.lookups, self.stopped = 0, 0.0, 0, False

    def run(self) -> None:
        while not self.stopped:
            started = time.monotonic()
            self.missed += missing(self.table, self.keys)
            self.longest = max(self.longest, time.monotonic() - started)
            self.lookups += 1

    def __enter__(self) -> Reader:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stopped = True
        self.join()


def trace(path: str, kind: str) -> tuple[object, ...]:
    """What is on disk of the table and of the run that is building it: says how far that run has come."""
    suffix = {"lmdb": ".lmdb", "cdb": ".cdb", "hash": ".db"}[kind]
    folder, name = os.path.split(path)

    def inode(file: str) -> int:
        try:
            return os.stat(file).st_ino
        except FileNotFoundError:
            return 0

    aside = glob.glob(f"{folder}/.{name}.aside-*")
    return (
        bool(aside),
        any(inode(f"{where}/{name}") for where in aside),
        any(glob.glob(f"{where}/{name}{suffix}*") for where in aside),
        inode(path), inode(path + suffix), inode(f"{folder}/.{name}.built"),
    )  # fmt: skip


def phase(before: tuple[object, ...], after: tuple[object, ...]) -> str:
    """The last thing that the killed run did."""
    for name, at in (("recorded", 5), ("index in place", 4), ("source in place", 3)):
        if before[at] != after[at]:
            return name
    return "building the index" if after[2] else "writing the source" if after[0] else "nothing written"


def run(command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["bash", "-c", command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def kill(order: dict[str, object]) -> dict[str, object]:
    """Kill the writer at evenly spaced moments: a quarter of them before its first write, the others after it."""
    path, kind, entries, rounds = order["path"], order["type"], order["entries"], order["rounds"]
    table, command, in_place = f"{kind}:{path}", str(order["command"]), order["in_place"]

    def first_write(process: subprocess.Popen[bytes], was: tuple[object, ...], size: int) -> None:
        while (
            process.poll() is None
            and trace(path, kind) == was
            and not (in_place and os.path.getsize(path + ".db") != size)
        ):
            time.sleep(0.0005)

    def build(turn: int) -> tuple[list[str], float, float]:
        """A run that nobody disturbs: the keys, the seconds until its first write, and from there to its end."""
        keys = write_source(entries, turn)
        was, size, started = trace(path, kind), os.path.getsize(path + ".db") if in_place else 0, time.monotonic()
        process = run(command)
        first_write(process, was, size)
        wrote = time.monotonic()
        process.wait()
        return keys, wrote - started, time.monotonic() - wrote

    write_source(entries, 1)
    subprocess.run(["bash", "-c", command], check=True, stdout=subprocess.DEVNULL)
    undisturbed = [build(turn)[1:] for turn in range(4)]
    until_write, rest = (sorted(column)[2] for column in zip(*undisturbed))
    early, results = rounds // 4, []
    for number in range(rounds):
        keys = write_source(entries, number)
        known = keys[: entries // 2]
        was, size = trace(path, kind), os.path.getsize(path + ".db") if in_place else 0
        with Reader(table, known) as reader:
            process = run(command)
            if number < early:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(until_write * number / early)
            else:
                first_write(process, was, size)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(rest * (number - early) / (rounds - early))
            # Every other time what it has started lives on, as when the kernel kills the largest process.
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if number % 2 else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
            now = trace(path, kind)
        missed = reader.missed + missing(table, known)
        keys = build(number)[0]
        results.append(
            {
                "phase": "in place" if in_place else phase(was, now),
                "after_first_write": now != was or bool(in_place and number >= early),
                "missed": missed,
                "repaired": missing(table, keys) == 0,
            }
        )
    build(0)
    return {"kills": results, "left": trace(path, kind)[0]}


def wait(order: dict[str, object]) -> dict[str, object]:
    """Build the table again and again; the reader's longest wait."""
    write_source(order["entries"], 1)
    subprocess.run(["bash", "-c", order["command"]], check=True, stdout=subprocess.DEVNULL)
    with Reader(
        f"{order['type']}:{order['path']}", write_source(order["entries"], 0)[: order["entries"] // 2]
    ) as reader:
        for turn in range(order["rounds"]):
            write_source(order["entries"], turn)
            subprocess.run(["bash", "-c", order["command"]], check=True, stdout=subprocess.DEVNULL)
    return {"lookups": reader.lookups, "longest": reader.longest, "missed": reader.missed}


def main() -> None:
    order = json.load(sys.stdin)
    folder = os.path.dirname(order["path"])
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    print(json.dumps({"kill": kill, "wait": wait}[order["do"]](order)))


main()
