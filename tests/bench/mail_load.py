"""Run on the host of bench_mail.py: send messages through each Postfix in turn, and say what they took.

Standard input is {"times", "sessions", "loads": [{"octets", "messages"}, ...], "targets": {name: [port, queue folder]},
"milters": [unit, ...], "tunnel": [start of a unit's name, ...]} in JSON; the output, for each load, {name: [[seconds
until the queue is empty, seconds of the processor], ...]}.
"""

import json
import os
import smtplib
import subprocess
import sys
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
SENDER, RECIPIENT, ADDRESS = "carol@sender.example", "alice@example.org", "192.0.2.66"


def processes():
    """(process id, its parent, its unit, the fields of proc(5)'s stat from the third on) of each process."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            groups = (folder / "cgroup").read_text().splitlines()
        except OSError:  # gone since
            continue
        units = [group.rpartition("/")[2] for group in groups if group.endswith(".service")]
        yield int(folder.name), int(fields[1]), "".join(units[:1]).removesuffix(".service"), fields


def processor_seconds(order, queue):
    """What a Postfix, the milters and the tunnel used: its master, the master's children, and those that are gone.

    systemd, the first process, is the parent of each connection's stunnel, and part of what one costs."""
    master = int((queue / "pid/master.pid").read_text())
    total = 0
    for number, parent, unit, fields in processes():
        if number in (1, master):
            total += sum(map(int, fields[11:15]))
        elif parent == master or unit in order["milters"] or unit.startswith(tuple(order["tunnel"])):
            total += sum(map(int, fields[11:13]))
    return total / TICKS


def waiting(queue):
    return sum(
        len(files)
        for name in ("maildrop", "incoming", "active", "deferred")
        for _folder, _folders, files in os.walk(queue / name)
    )


def become_known(port):
    """Come again until the greylist knows us; without one, that is at once."""
    end = time.monotonic() + 60
    while True:
        with smtplib.SMTP(ADDRESS, port, "client.sender.example") as client:
            client.ehlo()
            client.mail(SENDER)
            if client.rcpt(RECIPIENT)[0] == 250:
                return
        if time.monotonic() > end:
            raise SystemExit(f"port {port} does not take mail")
        time.sleep(1)


def turn(order, load, port, queue):
    used, started = processor_seconds(order, queue), time.perf_counter()
    subprocess.run(
        ["smtp-source", "-s", str(order["sessions"]), "-m", str(load["messages"]), "-l", str(load["octets"]),
         "-M", "client.sender.example", "-f", SENDER, "-t", RECIPIENT, f"{ADDRESS}:{port}"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while waiting(queue):
        if time.perf_counter() - started > 300:
            raise SystemExit(f"{waiting(queue)} messages still wait in {queue}")
        time.sleep(0.02)
    return time.perf_counter() - started, processor_seconds(order, queue) - used


def main():
    order = json.load(sys.stdin)
    targets = {name: (port, Path(queue)) for name, (port, queue) in order["targets"].items()}
    for port, queue in targets.values():
        become_known(port)
        # Processes are up, and what is read once is read.
        turn(order, {"octets": 4096, "messages": 100}, port, queue)
    loads = []
    for load in order["loads"]:
        taken = {name: [] for name in targets}
        for _turn in range(order["times"]):
            for name, (port, queue) in targets.items():
                taken[name].append(turn(order, load, port, queue))
        loads.append(taken)
    print(json.dumps(loads))


main()
