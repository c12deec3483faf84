"""Runs on a host of the lab: find messages in a Maildir, and print them as JSON.

Standard input: {"folder": the Maildir, "marks": [text, ...]}.
Standard output: {mark: the message that has it, with CRLF, in base64}.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path


def main() -> None:
    order = json.load(sys.stdin)
    folder = Path(order["folder"])
    found = {}
    for path in (*folder.glob("new/*"), *folder.glob("cur/*")):
        message = path.read_bytes()
        for mark in order["marks"]:
            if mark.encode() in message:
                found[mark] = base64.b64encode(message.replace(b"\n", b"\r\n")).decode()
    json.dump(found, sys.stdout)


main()
