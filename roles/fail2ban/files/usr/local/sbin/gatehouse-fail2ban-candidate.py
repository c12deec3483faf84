# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask fail2ban about its configuration with the candidate in it, try each filter on lines, and put all into place.

fail2ban's own check notices neither a filter that finds nothing nor one that does not compile. Each line to try has in
front the address that the filter is to find in it, or "-". Prints as JSON the jails that the configuration has, and the
files that are new.
"""

import ast
import filecmp
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

LIVE = pathlib.Path("/etc/fail2ban")
SETTINGS = "/etc/gatehouse/fail2ban-candidate.json"


def ask(*command):
    """What the command prints; the end where it fails."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if result.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {result.stdout}{result.stderr}")
    return result.stdout


def to_try(text):
    """(the addresses that a filter is to find, the lines of the log) of lines to try."""
    wanted, lines = zip(*(line.split(" ", 1) for line in text.splitlines()))
    return [address for address in wanted if address != "-"], list(lines)


def try_filter(file, lines):
    """The end where the filter does not find what stands in front of the lines."""
    wanted, texts = to_try(lines.read_text())
    with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
        log.write("\n".join([*texts, ""]))
        log.flush()
        command = ["fail2ban-regex", "--usedns=no", "--out=ip", log.name, file]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if result.stdout.split() != wanted:
        sys.exit(f"{file.name} does not find in {lines} what it should, but: {result.stdout}{result.stderr}")


def jails_of(dump):
    """The jails of a configuration that fail2ban-client -d has printed."""
    return [ast.literal_eval(line)[1] for line in dump.splitlines() if line.startswith("['add', ")]


def place(source, target):
    """Whether a file was not in place yet; now it is, whole at every moment."""
    if target.exists() and filecmp.cmp(source, target, shallow=False):
        return False
    aside = target.with_name(f"{target.name}.new")
    shutil.copy(source, aside)
    os.replace(aside, target)
    return True


def main():
    with open(SETTINGS, encoding="utf-8") as file:
        settings = json.load(file)
    candidate = pathlib.Path(settings["candidate"])
    # Where nobody has written yet there is no log, and fail2ban takes no jail without one.
    if not (log := pathlib.Path(settings["log"])).exists():
        log.touch(0o640)
    with tempfile.TemporaryDirectory() as made:
        whole = pathlib.Path(made) / "fail2ban"
        shutil.copytree(LIVE, whole, ignore=shutil.ignore_patterns(candidate.name))
        for name in settings["files"]:
            shutil.copy(candidate / name, whole / name)
        for name in settings["lines"]:
            try_filter(whole / f"filter.d/{os.path.basename(name)}.conf", candidate / name)
        ask("fail2ban-client", "-c", whole, "-t")
        jails = jails_of(ask("fail2ban-client", "-c", whole, "-d"))
    for missing in set(settings["jails"]).difference(jails):
        sys.exit(f"fail2ban leaves out jail {missing}")
    placed = [name for name in settings["files"] if place(candidate / name, LIVE / name)]
    print(json.dumps({"jails": jails, "placed": placed}))


if __name__ == "__main__":
    main()
