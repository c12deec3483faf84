"""Run on the host of bench_mail.py: send messages through each Postfix in turn, and say what they took.

Standard input is {"times", "messages", "sessions", "octets", "targets": {name: [port, queue folder]}} in JSON;
the output {name: [[seconds until the queue is empty, seconds of the processor], ...]}.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(queue):
    """What a Postfix and the milters used: its master, the master's children, and those that are gone (proc(5))."""
    master = int((queue / "pid/master.pid").read_text())
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _bracket, rest = stat.read_text().rpartition(")")
        except OSError:  # gone since
            continue
        fields = rest.split()
        if int(stat.parent.name) == master:
            total += sum(map(int, fields[11:15]))
        elif int(fields[1]) == master or name.partition("(")[2] in ("opendkim", "opendmarc"):
            total += sum(map(int, fields[11:13]))
    return total / TICKS


def waiting(queue):
    return sum(
        len(files)
        for name in ("maildrop", "incoming", "active", "deferred")
        for _folder, _folders, files in os.walk(queue / name)
    )


def turn(order, port, queue):
    used, started = processor_seconds(queue), time.perf_counter()
    subprocess.run(
        ["smtp-source", "-s", str(order["sessions"]), "-m", str(order["messages"]), "-l", str(order["octets"]),
         "-M", "client.sender.example", "-f", "carol@sender.example", "-t", "alice@example.org", f"192.0.2.66:{port}"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while waiting(queue):
        if time.perf_counter() - started > 300:
            raise SystemExit(f"{waiting(queue)} messages still wait in {queue}")
        time.sleep(0.02)
    return time.perf_counter() - started, processor_seconds(queue) - used


def main():
    order = json.load(sys.stdin)
    taken = {name: [] for name in order["targets"]}
    for port, queue in order["targets"].values():
        turn({**order, "messages": 100}, port, Path(queue))  # processes are up, and what is read once is read
    for _turn in range(order["times"]):
        for name, (port, queue) in order["targets"].items():
            taken[name].append(turn(order, port, Path(queue)))
    print(json.dumps(taken))


main()
