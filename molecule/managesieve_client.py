"""Runs on a host of the lab: speak ManageSieve (RFC 5804) and print what the server says as JSON.

Standard input: {"host": name in the certificate, "address", "port", "ca": PEM, "user", "password", "tls": whether to
begin with STARTTLS, "send": commands without their CRLF}.
Standard output: [the reply to each command as text, the greeting and those to STARTTLS and AUTHENTICATE first]; the
last line of a reply begins with OK, NO or BYE.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import sys


def reply(stream) -> str:
    """All lines up to the one that ends it, literals included."""
    said = b""
    while True:
        line = stream.readline()
        last = re.match(rb"(OK|NO|BYE)\b", line)
        while literal := re.search(rb"\{(\d+)\}\r\n\Z", line):
            line += stream.read(int(literal[1])) + stream.readline()
        said += line
        if last or not line:
            return said.decode("utf-8", "replace")


def main() -> None:
    order = json.load(sys.stdin)
    connection = socket.create_connection((order["address"], order["port"]), 20)
    stream = connection.makefile("rb")
    said = [reply(stream)]
    if order.get("tls", True):
        connection.sendall(b"STARTTLS\r\n")
        said.append(reply(stream))
        context = ssl.create_default_context(cadata=order["ca"])
        connection = context.wrap_socket(connection, server_hostname=order["host"])
        stream = connection.makefile("rb")
        reply(stream)  # what it can do, once more
    token = base64.b64encode(f"\0{order['user']}\0{order['password']}".encode()).decode()
    for command in [f'AUTHENTICATE "PLAIN" "{token}"', *order["send"]]:
        connection.sendall(command.encode() + b"\r\n")
        said.append(reply(stream))
    json.dump(said, sys.stdout)


main()
