"""Runs on a host of the lab: try a login at some ports of a host, and print where it is let in as JSON.

Standard input: {"host": name in the certificate, "address", "ca": PEM, "user", "password", "ports": some of 465, 587,
993, 995, 4190 and 32841}. Standard output: [each port that takes the login]; all are asked at once.
"""

from __future__ import annotations

import base64
import imaplib
import json
import poplib
import smtplib
import socket
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor

REFUSED = (smtplib.SMTPAuthenticationError, imaplib.IMAP4.error, poplib.error_proto)
TIMEOUT = 60


def managesieve(order, context):
    def answer(stream):
        line = ""
        while line[:2] not in ("OK", "NO", "BY"):
            line = stream.readline().decode()
        return line

    with socket.create_connection((order["host"], 4190), TIMEOUT) as plain:
        answer(plain.makefile("rb"))
        plain.sendall(b"STARTTLS\r\n")
        answer(plain.makefile("rb", 0))
        with context.wrap_socket(plain, server_hostname=order["host"]) as connection:
            stream = connection.makefile("rb")
            answer(stream)
            token = base64.b64encode(f"\0{order['user']}\0{order['password']}".encode()).decode()
            connection.sendall(f'AUTHENTICATE "PLAIN" "{token}"\r\n'.encode())
            return answer(stream).startswith("OK")


def let_in(order, context, port):
    user, password = order["user"], order["password"]
    if port == 4190:
        return managesieve(order, context)
    try:
        if port == 465:
            smtplib.SMTP_SSL(order["host"], port, context=context, timeout=TIMEOUT).login(user, password)
        elif port in (587, 32841):
            client = smtplib.SMTP(order["host"], port, timeout=TIMEOUT)
            client.starttls(context=context)
            client.login(user, password)
        elif port == 993:
            imaplib.IMAP4_SSL(order["host"], port, ssl_context=context, timeout=TIMEOUT).login(user, password)
        elif port == 995:
            client = poplib.POP3_SSL(order["host"], port, context=context, timeout=TIMEOUT)
            client.user(user)
            client.pass_(password)
    except REFUSED:
        return False
    return True


def main() -> None:
    order = json.load(sys.stdin)
    context = ssl.create_default_context(cadata=order["ca"])
    # The client has no name server that knows the mail host's name.
    known = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *rest, **more: known(
        order["address"] if host == order["host"] else host, *rest, **more
    )
    ports = order["ports"]
    with ThreadPoolExecutor(len(ports)) as pool:
        said = pool.map(lambda port: let_in(order, context, port), ports)
    json.dump([port for port, yes in zip(ports, said) if yes], sys.stdout)


main()
