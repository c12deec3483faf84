"""Runs on a host of the lab: hold one SMTP dialogue and print it as JSON.

Standard input: {"host", "port", "source": address to come from or null, "tls": whether TLS comes first, "send": [line,
...]}; a line is sent as it is with CRLF after it, or raw where it is {"raw": text}. After a 220 to STARTTLS the rest is
under TLS. Standard output:
[[line, [reply line, ...]], ...], the greeting first; a connection that ends early gives the reply ["closed"],
and one that fails the name of the error.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys


def read_reply(stream) -> list[str]:
    lines = []
    while True:
        line = stream.readline().decode("utf-8", "backslashreplace")
        if not line:
            return lines or ["closed"]
        lines.append(line.rstrip("\r\n"))
        if line[3:4] != "-":
            return lines


def main() -> None:
    order = json.load(sys.stdin)
    source = (order.get("source") or "", 0)
    dialogue = []
    try:
        plain = socket.create_connection((order["host"], order["port"]), order.get("timeout", 100), source)
    except OSError as error:
        json.dump([["", [type(error).__name__]]], sys.stdout)
        return
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with plain:
        connection = context.wrap_socket(plain) if order.get("tls") else plain
        stream = connection.makefile("rb")
        dialogue.append(["", read_reply(stream)])
        for line in order["send"]:
            text = line["raw"] if isinstance(line, dict) else line + "\r\n"
            try:
                connection.sendall(text.encode("utf-8", "surrogateescape"))
                dialogue.append([text.rstrip("\r\n"), read_reply(stream)])
            except OSError as error:  # under TLS an ssl.SSLEOFError, too
                dialogue.append([text.rstrip("\r\n"), [type(error).__name__]])
                break
            if line == "STARTTLS" and dialogue[-1][1][0].startswith("220"):
                connection = context.wrap_socket(plain)
                stream = connection.makefile("rb")
    json.dump(dialogue, sys.stdout)


main()
