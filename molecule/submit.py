"""Runs on a host of the lab: submit messages over TLS and after a login, and print what became of each as JSON.

Standard input: {"host", "address", "port", "ca": whose certificate names the host, "login", "password",
"messages": [{"sender", "recipient", "content": base64}, ...]}. At port 465 TLS comes first, elsewhere STARTTLS.
Standard output: [[code, text], ...], the reply that decided each message.
"""

from __future__ import annotations

import base64
import json
import smtplib
import ssl
import sys

SUBMISSIONS = 465  # RFC 8314


class Smtp(smtplib.SMTP):
    """SMTP to an address, with the certificate checked for a name."""

    def __init__(self, address, name, port, context):
        self._address, self._context = address, context
        super().__init__(name, port, timeout=60)

    def _get_socket(self, host, port, timeout):
        plain = super()._get_socket(self._address, port, timeout)
        return self._context.wrap_socket(plain, server_hostname=host) if port == SUBMISSIONS else plain


def submit(client: smtplib.SMTP, message: dict[str, str]) -> list[object]:
    content = base64.b64decode(message["content"])
    client.ehlo_or_helo_if_needed()
    for command in (
        lambda: client.mail(message["sender"], ["BODY=8BITMIME"]),
        lambda: client.rcpt(message["recipient"]),
        lambda: client.data(content),
    ):
        try:
            code, text = command()
        except smtplib.SMTPResponseException as error:
            code, text = error.smtp_code, error.smtp_error
        if code >= 400:
            client.rset()
            break
    return [code, text.decode()]


def main() -> None:
    order = json.load(sys.stdin)
    context = ssl.create_default_context(cadata=order["ca"])
    with Smtp(order["address"], order["host"], order["port"], context) as client:
        if order["port"] != SUBMISSIONS:
            client.starttls(context=context)
        client.login(order["login"], order["password"])
        json.dump([submit(client, message) for message in order["messages"]], sys.stdout)


main()
