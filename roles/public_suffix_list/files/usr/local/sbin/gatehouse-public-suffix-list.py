# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch the public suffix list and put it into place, unless it is shorter than nine tenths of the one that is there.

Whatever goes wrong, the old list stays, and the exit status and the journal say why.
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request

SETTINGS = "/etc/gatehouse/public-suffix-list.json"
LARGEST = 10_000_000  # bytes; the list has about 300,000
MARKS = ("// ===BEGIN ICANN DOMAINS===", "// ===END ICANN DOMAINS===")


def rules(text):
    return sum(1 for line in text.splitlines() if line.strip() and not line.startswith("//"))


def refresh(url, path, units):
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 it is the site's own setting
        content = answer.read(LARGEST + 1)
    if len(content) > LARGEST:
        sys.exit(f"{url} is longer than {LARGEST} bytes; the old list stays")
    text = content.decode("utf-8")
    if not all(mark in text for mark in MARKS):
        sys.exit(f"{url} is not a public suffix list; the old one stays")
    with open(path, encoding="utf-8") as old:
        known = old.read()
    if text == known:
        return
    if rules(text) * 10 < rules(known) * 9:
        sys.exit(f"{url} has {rules(text)} rules, and the list that is there {rules(known)}; the old list stays")
    descriptor, aside = tempfile.mkstemp(dir=os.path.dirname(path))
    try:
        with open(descriptor, "w", encoding="utf-8") as new:
            new.write(text)
            new.flush()
            os.fchmod(new.fileno(), 0o644)
            os.fsync(new.fileno())
        os.rename(aside, path)
    except BaseException:
        os.unlink(aside)
        raise
    print(f"{rules(text)} rules in place of {rules(known)}")
    for unit in units:
        subprocess.run(["systemctl", "try-restart", unit], check=True)


def main():
    with open(SETTINGS, encoding="utf-8") as file:
        settings = json.load(file)
    try:
        refresh(**settings)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        sys.exit(f"{settings['url']}: {error}; the old list stays")


if __name__ == "__main__":
    main()
