"""Run on the host of bench_mail.py: send messages through each Postfix in turn, and say what they took.

Standard input is {"times", "sessions", "loads": [{"octets", "messages"}, ...], "targets": {name: [port, queue folder]},
"milters": [unit, ...], "tunnel": [start of a unit's name, ...]} in JSON; the output, for each load, {name: [[seconds
until the queue is empty, seconds of the processor], ...]}.

With "logins", {name of a target: [login, password] or null}, "sender" and "recipient", a client in this file sends in
smtp-source's place, one message a session as well: over STARTTLS and after AUTH where there is a login.
"""

import base64
import json
import multiprocessing
import os
import smtplib
import socket
import ssl
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


def converse(connection, lines):
    """Say one line after the other, the first when the greeting has come; each is answered in one piece."""
    for line in lines:
        answer = connection.recv(4096)
        if answer[:1] not in b"23":
            raise SystemExit(f"{answer} before {line[:40]}")
        connection.sendall(line)


def submit(port, login, sender, recipient, octets, count):
    """So many messages by one client; what it costs in itself is little beside a session of smtplib."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    header = (
        f"From: {sender}\r\nTo: {recipient}\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\nSubject: load\r\n\r\n".encode()
    )
    text = header + (b"x" * 78 + b"\r\n") * ((octets - len(header)) // 80) + b".\r\n"
    hello = b"EHLO client.sender.example\r\n"
    rest = [f"MAIL FROM:<{sender}>\r\n".encode(), f"RCPT TO:<{recipient}>\r\n".encode(), b"DATA\r\n", text, b"QUIT\r\n"]
    token = base64.b64encode(f"\0{login[0]}\0{login[1]}".encode()) if login else b""
    for _message in range(count):
        connection = socket.create_connection(("127.0.0.1", port), 60)
        if login:
            converse(connection, [hello, b"STARTTLS\r\n"])
            connection.recv(4096)
            connection = context.wrap_socket(connection)
            connection.sendall(hello)
            converse(connection, [b"AUTH PLAIN " + token + b"\r\n", *rest])
        else:
            converse(connection, [hello, *rest])
        connection.recv(4096)
        connection.close()


def send(order, load, port, name):
    if "logins" not in order:
        subprocess.run(
            ["smtp-source", "-s", str(order["sessions"]), "-m", str(load["messages"]), "-l", str(load["octets"]),
             "-M", "client.sender.example", "-f", SENDER, "-t", RECIPIENT, f"{ADDRESS}:{port}"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return
    each, login = load["messages"] // order["sessions"], order["logins"][name]
    arguments = (port, login, order["sender"], order["recipient"], load["octets"], each)
    clients = [multiprocessing.Process(target=submit, args=arguments) for _session in range(order["sessions"])]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
        if client.exitcode:
            raise SystemExit(f"a client of {name} has failed")


def turn(order, load, port, queue, name):
    used, started = processor_seconds(order, queue), time.perf_counter()
    send(order, load, port, name)
    while waiting(queue):
        if time.perf_counter() - started > 300:
            raise SystemExit(f"{waiting(queue)} messages still wait in {queue}")
        time.sleep(0.02)
    return time.perf_counter() - started, processor_seconds(order, queue) - used


def main():
    order = json.load(sys.stdin)
    targets = {name: (port, Path(queue)) for name, (port, queue) in order["targets"].items()}
    for name, (port, queue) in targets.items():
        if "logins" not in order:
            become_known(port)
        # Processes are up, and what is read once is read.
        turn(order, {"octets": 4096, "messages": 100}, port, queue, name)
    loads = []
    for load in order["loads"]:
        taken = {name: [] for name in targets}
        for _turn in range(order["times"]):
            for name, (port, queue) in targets.items():
                taken[name].append(turn(order, load, port, queue, name))
        loads.append(taken)
    print(json.dumps(loads))


main()
