# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See which DNS lists work, and keep the table of their names by which Postfix asks them (main.cf: dns_list_*).

A list works that has its test point and not the other one (RFC 5782, section 5), by the host's resolver. The table is
built aside and renamed, and only when something changed. --show prints the state and changes nothing.
"""

import concurrent.futures
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile

TABLE = "/etc/postfix/dns_lists"
KIND = "lmdb"  # in which Postfix looks it up


def answers(name):
    """The A records of a name, none if there are none; OSError if nobody can tell."""
    try:
        found = socket.getaddrinfo(name + ".", None, socket.AF_INET, socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
            return []
        raise
    return sorted({entry[4][0] for entry in found})


def fault(entry):
    """What is wrong with a list, in words; empty if it works."""
    try:
        listed, unlisted = (answers(f"{entry[point]}.{entry['zone']}") for point in ("listed", "unlisted"))
    except OSError as error:
        return f"no answer ({error})"
    return wrong(entry, listed, unlisted)


def wrong(entry, listed, unlisted):
    """What is wrong with the answers to a list's two test points, in words; empty if nothing is."""
    for answer in listed + unlisted:
        if answer.startswith("127.255.255.") or answer == "127.0.0.255" or not answer.startswith("127."):
            return f"answers with {answer}"
    if unlisted:
        return f"lists {entry['unlisted']}, so perhaps the world"
    return "" if listed else f"does not list {entry['listed']}"


def known():
    """The lines of the table as it is; none when it is not whole."""
    try:
        with open(TABLE, encoding="utf-8") as table:
            return set(table.read().split()) if os.path.exists(f"{TABLE}.{KIND}") else None
    except FileNotFoundError:
        return None


def write(names):
    aside = tempfile.mkdtemp(dir=os.path.dirname(TABLE), prefix=".dns_lists.")
    try:
        path = os.path.join(aside, "dns_lists")
        with open(path, "w", encoding="utf-8") as table:
            table.writelines(f"{name} {name}\n" for name in sorted(names))
        subprocess.run(["postmap", f"{KIND}:{path}"], check=True)
        for suffix in (f".{KIND}", ""):
            os.chmod(path + suffix, 0o644)
            with open(path + suffix, "rb") as built:
                os.fsync(built.fileno())
        # Without its source the table is not whole: who is killed from here on leaves it to the next run.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(TABLE)
        for suffix in (f".{KIND}", ""):
            os.rename(path + suffix, TABLE + suffix)
    finally:
        shutil.rmtree(aside)


def news(entry, why, asked):
    """What became of a list whose names were asked or not, in words; empty if all is as before."""
    names = {use["name"] for use in entry["uses"]}
    if why and names & asked:
        return f"{entry['zone']} is not asked any more: {why}"
    if why:
        return f"{entry['zone']} is not asked: {why}"
    return "" if names <= asked else f"{entry['zone']} works and is asked from now on"


def main():
    with open(TABLE + ".json", encoding="utf-8") as file:
        lists = json.load(file)
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        faults = list(pool.map(fault, lists))
    working = {use["name"] for entry, why in zip(lists, faults) if not why for use in entry["uses"]}
    before = known()
    asked = before or set()
    if sys.argv[1:] == ["--show"]:
        for entry, why in zip(lists, faults):
            state = "asked" if {use["name"] for use in entry["uses"]} <= asked else "not asked"
            print(f"{entry['zone']}: {state}; {why or 'works'}")
        return
    if working == before:
        return
    write(working)
    for entry, why in zip(lists, faults):
        said = news(entry, why, asked)
        if said:
            print(said)


if __name__ == "__main__":
    main()
