"""What the gateway's configuration costs a message, against a bare Postfix on the same host in the same minutes."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
from pathlib import Path

import measure
import throwaway

BENCH = Path(__file__).resolve().parent
PACKAGES = (
    "opendkim", "opendmarc", "postfix", "postfix-lmdb", "postfix-pcre", "publicsuffix", "python3-cryptography",
    "stunnel4", "unbound",
)  # fmt: skip
MESSAGES = 500
ORDER = {
    "times": 5,
    "messages": MESSAGES,
    "sessions": 20,
    "octets": 4096,
    "targets": {
        "bare": [2525, "/var/spool/postfix-bare"],
        "unjudged": [2527, "/var/spool/postfix-unjudged"],
        "clear": [2526, "/var/spool/postfix-clear"],
        "gateway": [25, "/var/spool/postfix"],
    },
}


def set_up(host: throwaway.Host) -> None:
    with tempfile.TemporaryDirectory() as ca:
        subprocess.run(
            ["ansible-playbook", "-i", f"{host.container},", "-c", "containers.podman.podman",
             "-e", f"certificate_ca_directory={ca}", BENCH / "gateway.yml"],
            env={**os.environ, "ANSIBLE_CONFIG": str(throwaway.ROOT / "ansible.cfg")},
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip


def main() -> str | int:
    with throwaway.host(*PACKAGES) as host:
        set_up(host)
        taken = host.python(BENCH / "mail_load.py", ORDER)
    for column, what, allowed in ((0, "until all are delivered", (3, 6, 12)), (1, "processor", (2, 2.7, 6))):
        bare, unjudged, clear, gateway = (
            statistics.median(turn[column] for turn in turns) * 1000 / MESSAGES for turns in taken.values()
        )
        measure.row(f"1,000 messages, {what}: bare Postfix", bare, 60)
        measure.row(f"1,000 messages, {what}: without milters and TLS to the mail host", unjudged, allowed[0] * bare)
        measure.row(f"1,000 messages, {what}: with opendkim and opendmarc", clear, allowed[1] * bare)
        measure.row(f"1,000 messages, {what}: gateway", gateway, allowed[2] * bare)
    return measure.report()


if __name__ == "__main__":
    raise SystemExit(main())
