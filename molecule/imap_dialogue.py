"""Runs on a host of the lab: hold one IMAP dialogue under TLS and print it as JSON.

Standard input: {"host": name in the certificate, "address", "port", "ca": PEM, "send": [[line, ...], ...]}; a command
is sent with a tag, and of several lines each one after the server has asked for it.
Standard output: [the reply to each command, the greeting first], each with all of its lines and the tag "a".
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import sys


def reply(stream) -> str:
    """All lines up to the tagged one, or to the one that asks for more; literals included."""
    said = b""
    while True:
        line = stream.readline()
        last = not line or re.match(rb"(?:a|\+) |\* (?:BYE|OK \[CAPABILITY)", line)
        while literal := re.search(rb"\{(\d+)\}\r\n\Z", line):
            line += stream.read(int(literal[1])) + stream.readline()
        said += line
        if last:
            return said.decode("utf-8", "replace")


def main() -> None:
    order = json.load(sys.stdin)
    context = ssl.create_default_context(cadata=order["ca"])
    plain = socket.create_connection((order["address"], order["port"]), 20)
    connection = context.wrap_socket(plain, server_hostname=order["host"])
    stream = connection.makefile("rb")
    said = [reply(stream)]
    for command in order["send"]:
        answers = []
        for line in command:
            if not answers or answers[-1].startswith("+"):
                connection.sendall(f"{'' if answers else 'a '}{line}\r\n".encode())
                answers.append(reply(stream))
        said.append("".join(answers))
    json.dump(said, sys.stdout)


main()
