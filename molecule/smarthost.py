"""Runs on a host of the lab: a mail server that takes all mail of who logs in, on 465 over TLS and on 587 by STARTTLS.

Standard input: {"certificate", "key": paths, "login", "password", "folder": where messages go, "silent": a path; while
there is such a file, AUTH is not offered}.
"""

from __future__ import annotations

import base64
import json
import socketserver
import ssl
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

ORDER: dict[str, Any] = json.load(sys.stdin)
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain(ORDER["certificate"], ORDER["key"])


class Session(socketserver.StreamRequestHandler):
    def setup(self) -> None:
        self.secure = self.server.server_address[1] == 465
        if self.secure:
            self.request = CONTEXT.wrap_socket(self.request, server_side=True)
        super().setup()

    def start_tls(self) -> None:
        self.say("220 go on")
        self.request, self.secure = CONTEXT.wrap_socket(self.request, server_side=True), True
        super().setup()
        self.handle_in("")

    def say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self) -> None:
        self.handle_in("220 smarthost ESMTP")

    def handle_in(self, greeting: str) -> None:
        known = False
        if greeting:
            self.say(greeting)
        for line in self.rfile:
            verb, _blank, rest = line.decode().strip().partition(" ")
            verb = verb.upper()
            if verb == "EHLO":
                if not self.secure:
                    self.say("250-smarthost\r\n250 STARTTLS")
                elif Path(ORDER["silent"]).exists():
                    self.say("250 smarthost")
                else:
                    self.say("250-smarthost\r\n250 AUTH PLAIN")
            elif verb == "STARTTLS":
                self.start_tls()
                return
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
servers = [socketserver.ThreadingTCPServer(("", port), Session) for port in (465, 587)]
threads = [threading.Thread(target=server.serve_forever) for server in servers]
for thread in threads:
    thread.start()
