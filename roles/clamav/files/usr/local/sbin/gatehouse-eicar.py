# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand EICAR's test virus to clamav-milter as Postfix would, and say what it answers.

Ends with 0 where the answer is a refusal for good. Sends no mail and leaves nothing behind.
"""

import json
import socket
import struct
import sys

SETTINGS = "/etc/gatehouse/eicar.json"
# In parts, lest a scanner takes this file for infected.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-" + b"STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"

# libmilter's protocol, version 2: each packet is its length, a letter, and data. A milter says in the negotiation which
# of these it does not want (the bit).
DIALOGUE = (
    (0x01, b"C", b"localhost\0U"),
    (0x02, b"H", b"localhost\0"),
    (0x04, b"M", b"<>\0"),
    (0x08, b"R", b"<postmaster>\0"),
    (0x20, b"L", b"Subject\0EICAR\0"),
    (0x40, b"N", b""),
    (0x10, b"B", EICAR + b"\r\n"),
    (0x00, b"E", b""),
)
VERDICTS = {b"a": "accepted", b"c": "accepted", b"d": "discarded", b"r": "550 5.7.1", b"t": "451 4.7.1"}


def place(listens):
    """Where clamav-milter is, of what its MilterSocket says: (host, port), or a path."""
    kind, _colon, where = listens.partition(":")
    if kind == "inet":
        port, _at, host = where.partition("@")
        return host, int(port)
    return where


def connection(listens):
    where = place(listens)
    if isinstance(where, tuple):
        return socket.create_connection(where)
    unix = socket.socket(socket.AF_UNIX)
    unix.connect(where)
    return unix


def answer(stream):
    length = stream.read(4)
    if len(length) < 4:
        sys.exit("clamav-milter ended the dialogue")
    packet = stream.read(struct.unpack("!I", length)[0])
    return packet[:1], packet[1:]


def meaning(decided, text):
    """(what an answer says, whether that is a refusal for good)."""
    if decided == b"y":
        reply = text.rstrip(b"\0").decode()
        return reply, reply.startswith("5")
    return VERDICTS.get(decided, repr(decided)), decided == b"r"


def verdict(listens):
    """(what the milter decided, whether that is a refusal for good)."""
    with connection(listens) as milter:
        milter.settimeout(150)
        stream = milter.makefile("rb")

        def send(letter, data):
            milter.sendall(struct.pack("!I", len(data) + 1) + letter + data)

        send(b"O", struct.pack("!III", 2, 0x3F, 0x7F))
        _letter, options = answer(stream)
        unwanted = struct.unpack("!III", options)[2]
        for bit, letter, data in DIALOGUE:
            if unwanted & bit:
                continue
            send(letter, data)
            decided, text = answer(stream)
            while letter == b"E" and decided not in b"adcrty":  # changes of the message, and signs of life
                decided, text = answer(stream)
            if decided != b"c":
                break
        return meaning(decided, text)


def main():
    with open(SETTINGS, encoding="utf-8") as file:
        listens = json.load(file)["socket"]
    try:
        said, refused = verdict(listens)
    except OSError as error:
        sys.exit(f"clamav-milter at {listens} does not answer: {error}")
    if not refused:
        sys.exit(f"clamav-milter does not refuse EICAR's test virus: {said}")
    print(said)


if __name__ == "__main__":
    main()
