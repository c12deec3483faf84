"""Runs on a host of the lab: offer many messages on port 25, and print what became of each as JSON.

Standard input: {"host", "source": address to come from or null, "helo", "sessions": how many at a time, "messages":
[{"mail": what stands behind MAIL FROM:, "rcpt": what stands behind RCPT TO:, "content": base64}, ...]}; the text is
octets (surrogates), the content is sent as it is but for dots at the beginning of lines. Standard output: the reply
that decided each, its last line, in their order. A connection carries a few messages, since whoever makes many mistakes
is let go.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

EACH = 4  # messages a connection


class Session:
    def __init__(self, order: dict[str, object]) -> None:
        self.socket = socket.create_connection((order["host"], 25), 130, (order.get("source") or "", 0))
        self.stream = self.socket.makefile("rb")
        self.reply()
        self.say(f"EHLO {order['helo']}\r\n")

    def reply(self) -> str:
        line = ""
        while True:
            line = self.stream.readline().decode("utf-8", "backslashreplace").rstrip("\r\n")
            if line[3:4] != "-":
                return line or "closed"

    def say(self, text: str | bytes) -> str:
        self.socket.sendall(text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape"))
        return self.reply()

    def offer(self, message: dict[str, str]) -> str:
        content = re.sub(rb"(?m)^\.", b"..", base64.b64decode(message["content"]))
        content += b"" if content.endswith(b"\r\n") else b"\r\n"
        for step in (
            f"MAIL FROM:{message['mail']}\r\n",
            f"RCPT TO:{message['rcpt']}\r\n",
            "DATA\r\n",
            content + b".\r\n",
        ):
            reply = self.say(step)
            if reply[:1] not in ("2", "3"):
                break
        self.say("RSET\r\n")
        return reply


def main() -> None:
    order = json.load(sys.stdin)
    messages = order["messages"]

    def offer(first: int) -> list[str]:
        replies = []
        try:
            session = Session(order)
            replies += [session.offer(message) for message in messages[first : first + EACH]]
            session.say("QUIT\r\n")
            session.socket.close()
        except OSError as error:
            replies += [type(error).__name__] * (len(messages[first : first + EACH]) - len(replies))
        return replies

    with ThreadPoolExecutor(order.get("sessions", 4)) as pool:
        json.dump(
            [reply for replies in pool.map(offer, range(0, len(messages), EACH)) for reply in replies], sys.stdout
        )


main()
