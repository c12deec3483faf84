# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""gatehouse-fail2ban-known ADDRESS: whether a DNS list of good senders has it.

Ends with 0 where one has, or cannot be asked, and with 1 otherwise.
"""

import ipaddress
import json
import re
import socket
import sys

SETTINGS = "/etc/gatehouse/fail2ban-known.json"
NOT_LISTED = (socket.EAI_NONAME, socket.EAI_NODATA)


def numbers(part):
    for piece in part.strip("[]").split(";"):
        first, _dots, last = piece.partition("..")
        yield from range(int(first), int(last or first) + 1)


def counts(answer, codes):
    """Whether an answer of a list is one that counts, in Postfix's notation."""
    octets = map(int, answer.split("."))
    return all(octet in numbers(part) for octet, part in zip(octets, re.findall(r"\[[^]]*\]|[0-9]+", codes)))


def known(address, lists):
    """Whether one of the lists has the address, or cannot be asked."""
    name = ipaddress.ip_address(address).reverse_pointer.rpartition(".")[0].rpartition(".")[0]
    for entry in lists:
        try:
            answers = socket.getaddrinfo(f"{name}.{entry['zone']}.", None, socket.AF_INET, socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno not in NOT_LISTED:
                return True
        else:
            if any(counts(answer[4][0], entry["codes"]) for answer in answers):
                return True
    return False


def main():
    with open(SETTINGS, encoding="utf-8") as file:
        lists = json.load(file)["lists"]
    sys.exit(0 if known(sys.argv[1], lists) else 1)


if __name__ == "__main__":
    main()
