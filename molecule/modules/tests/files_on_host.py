"""Runs on a host: kill module files at many moments, while a reader looks at what it writes.

Standard input is an order: {"command", "orders": two inputs of it, by which the files get different texts, "paths",
"rounds"}. The output is JSON: {"halves": how often a file was neither the one nor the other, "before", "after": how
many kills found all files old or new, "mixed": some old and some new, "unrepaired", "left"}.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import subprocess
import sys
import threading
import time


def digests(paths: list[str]) -> list[str]:
    found = []
    for path in paths:
        with open(path, "rb") as file:
            found.append(f"{hashlib.sha256(file.read()).hexdigest()} {os.fstat(file.fileno()).st_mode:o}")
    return found


class Reader(threading.Thread):
    """Reads until it is told to stop."""

    def __init__(self, paths: list[str], known: list[list[str]]) -> None:
        super().__init__()
        self.paths, self.known, self.halves, self.stopped = paths, known, 0, False

    def run(self) -> None:
        while not self.stopped:
            for number, digest in enumerate(digests(self.paths)):
                self.halves += digest not in [texts[number] for texts in self.known]
            time.sleep(0.001)


def start(command: list[str], given: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    process.stdin.write(given.encode())
    process.stdin.close()
    return process


def main(order: dict[str, object]) -> dict[str, int]:
    command, orders, paths, rounds = order["command"], order["orders"], order["paths"], order["rounds"]
    aside = [f"{folder}/.files.aside-*" for folder in {os.path.dirname(path) for path in paths}]

    def begun(process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None and not any(map(glob.glob, aside)):
            time.sleep(0.0005)

    known, lasts = [], []
    for given in [*orders, *orders]:
        process = start(command, given)
        begun(process)
        began = time.monotonic()
        assert process.wait() == 0
        lasts.append(time.monotonic() - began)
        known.append(digests(paths))
    known = known[:2]
    reader = Reader(paths, known)
    reader.start()
    found = {"mixed": 0, "before": 0, "after": 0, "unrepaired": 0, "left": 0}
    for number in range(rounds):
        new = number % 2
        process = start(command, orders[new])
        begun(process)
        time.sleep(sorted(lasts)[1] * number / rounds)
        process.kill()
        process.wait()
        now = digests(paths)
        found["after" if now == known[new] else "before" if now == known[1 - new] else "mixed"] += 1
        start(command, orders[new]).wait()
        found["unrepaired"] += digests(paths) != known[new]
        found["left"] += any(map(glob.glob, aside))
    reader.stopped = True
    reader.join()
    return {**found, "halves": reader.halves}


print(json.dumps(main(json.load(sys.stdin))))
