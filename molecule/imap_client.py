"""Runs on a host of the lab: read a mailbox over IMAP with TLS and print its messages as JSON.

Standard input: {"host": name in the certificate, "address", "port", "ca": PEM, "user", "password",
"header": [name, value], "folder": INBOX by default}.
Standard output: the texts of all messages in the folder whose header has that value.
"""

from __future__ import annotations

import imaplib
import json
import socket
import ssl
import sys


class Imap(imaplib.IMAP4_SSL):
    """IMAP4 over TLS to an address, with the certificate checked for a name."""

    def __init__(self, address, name, port, context):
        self._address, self._name = address, name
        super().__init__(name, port, ssl_context=context, timeout=20)

    def _create_socket(self, timeout):
        return self.ssl_context.wrap_socket(
            socket.create_connection((self._address, self.port), timeout), server_hostname=self._name
        )


def main() -> None:
    order = json.load(sys.stdin)
    context = ssl.create_default_context(cadata=order["ca"])
    client = Imap(order["address"], order["host"], order["port"], context)
    client.login(order["user"], order["password"])
    client.select(order.get("folder", "INBOX"), readonly=True)
    _status, found = client.search(None, "HEADER", *order["header"])
    texts = []
    for number in found[0].split():
        _status, data = client.fetch(number, "(BODY.PEEK[])")
        texts.append(data[0][1].decode("utf-8", "surrogateescape"))
    client.logout()
    json.dump(texts, sys.stdout)


main()
