"""Runs on a host of the lab: a mail server that takes all mail of who logs in, over TLS from the first byte.

Standard input: {"port", "certificate", "key": paths, "login", "password", "folder": where messages go}.
"""

from __future__ import annotations

import base64
import json
import socketserver
import ssl
import sys
import uuid
from pathlib import Path
from typing import Any

ORDER: dict[str, Any] = json.load(sys.stdin)
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain(ORDER["certificate"], ORDER["key"])


class Session(socketserver.StreamRequestHandler):
    def setup(self) -> None:
        self.request = CONTEXT.wrap_socket(self.request, server_side=True)
        super().setup()

    def say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self) -> None:
        known = False
        self.say("220 smarthost ESMTP")
        for line in self.rfile:
            verb, _blank, rest = line.decode().strip().partition(" ")
            verb = verb.upper()
            if verb == "EHLO":
                self.say("250-smarthost\r\n250 AUTH PLAIN")
            elif verb == "AUTH":
                said = base64.b64decode(rest.partition(" ")[2]).decode().split("\0")[1:]
                known = said == [ORDER["login"], ORDER["password"]]
                self.say("235 2.7.0 ok" if known else "535 5.7.8 no")
            elif verb == "QUIT":
                self.say("221 bye")
                return
            elif not known:
                self.say("530 5.7.0 log in")
            elif verb == "DATA":
                self.say("354 go on")
                lines = iter(self.rfile.readline, b".\r\n")
                (Path(ORDER["folder"]) / uuid.uuid4().hex).write_bytes(b"".join(lines))
                self.say("250 taken")
            else:
                self.say("250 ok")


socketserver.ThreadingTCPServer.allow_reuse_address = True
with socketserver.ThreadingTCPServer(("", ORDER["port"]), Session) as server:
    server.serve_forever()
