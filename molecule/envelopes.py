"""Runs on a host of the lab: try many envelopes, several sessions at a time, and print what became of each as JSON.

Standard input: {"host", "header", "envelopes": {name: [line of the sender, of the recipient]}}; surrogates are octets.
Standard output: {name: reply}, that to the message where all else was accepted. A third mistake in a session makes the
client wait, so another session is begun before it.
"""

from __future__ import annotations

import json
import queue
import socket
import sys
import threading

MISTAKES = 2


class Session:
    def __init__(self, host: str) -> None:
        self.connection = socket.create_connection((host, 25), 60)
        self.stream = self.connection.makefile("rb")
        self.mistakes = 0
        self.reply()
        self.say("EHLO client.example.org")

    def reply(self) -> str:
        line = self.stream.readline()
        while line[3:4] == b"-":
            line = self.stream.readline()
        return line.decode("utf-8", "backslashreplace").rstrip() or "closed"

    def say(self, line: str) -> str:
        self.connection.sendall(line.encode("utf-8", "surrogateescape") + b"\r\n")
        return self.reply()

    def envelope(self, sender: str, recipient: str, message: str) -> str:
        for line, wanted in ((sender, "2"), (recipient, "2"), ("DATA", "3"), (message + "\r\n.", "2")):
            reply = self.say(line)
            if reply[:1] != wanted:
                self.mistakes += 1
                if self.mistakes < MISTAKES:
                    self.say("RSET")
                return reply
        self.mistakes = 0  # as smtpd counts
        return reply


def work(order: dict, todo: queue.Queue, results: dict[str, str]) -> None:
    session = None
    while True:
        try:
            name = todo.get_nowait()
        except queue.Empty:
            return
        if session is None or session.mistakes == MISTAKES:
            session = Session(order["host"])
        message = f"{order['header']}Message-ID: {name}\r\n\r\nhello"
        results[name] = session.envelope(*order["envelopes"][name], message)


def main() -> None:
    order = json.load(sys.stdin)
    todo: queue.Queue[str] = queue.Queue()
    for name in order["envelopes"]:
        todo.put(name)
    results: dict[str, str] = {}
    threads = [threading.Thread(target=work, args=(order, todo, results)) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump(results, sys.stdout)


main()
