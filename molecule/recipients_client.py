"""Runs on a host of the lab: ask a gateway about many recipients, and print as JSON the answers that are wrong.

Standard input: {"host", "expected": {recipient: first three digits}, "threads"}. A session asks about few, since a
gateway makes wait who asks about many that it does not know. Standard output: {"asked": number, "wrong": [[recipient,
answer], ...]}.
"""

from __future__ import annotations

import concurrent.futures
import json
import socket
import sys

AT_A_TIME = 4


def read_reply(stream) -> str:
    while True:
        line = stream.readline().decode("utf-8", "backslashreplace")
        if line[3:4] != "-":
            return line.rstrip("\r\n")


def ask(host: str, recipients: list[str]) -> list[str]:
    """What the gateway says to each."""
    with socket.create_connection((host, 25), 60) as connection, connection.makefile("rb") as stream:
        before = [read_reply(stream)]
        lines = ["EHLO client.example.org", "MAIL FROM:<>", *(f"RCPT TO:<{recipient}>" for recipient in recipients)]
        for line in [*lines, "QUIT"]:
            connection.sendall(f"{line}\r\n".encode())
            before.append(read_reply(stream))
    return before[3:-1]


def main() -> None:
    order = json.load(sys.stdin)
    expected = order["expected"]
    everybody = list(expected)
    groups = [everybody[at : at + AT_A_TIME] for at in range(0, len(everybody), AT_A_TIME)]
    wrong = []
    with concurrent.futures.ThreadPoolExecutor(order["threads"]) as pool:
        for group, answers in zip(groups, pool.map(lambda group: ask(order["host"], group), groups)):
            answers += ["none"] * (len(group) - len(answers))
            wrong += [[each, said] for each, said in zip(group, answers) if said[:3] != expected[each]]
    json.dump({"asked": len(everybody), "wrong": wrong}, sys.stdout)


main()
