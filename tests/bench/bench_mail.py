"""What a gateway's parts cost a message, against a bare Postfix and rspamd on the same host in the same minutes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import measure
import throwaway

BENCH = Path(__file__).resolve().parent
PACKAGES = (
    "clamav-daemon", "clamav-freshclam", "clamav-milter", "opendkim", "opendmarc", "postfix", "postfix-lmdb",
    "postfix-pcre", "postgrey", "publicsuffix", "python3-cryptography", "python3-dnspython", "python3-milter",
    "python3-spf", "rspamd", "stunnel4", "unbound",
)  # fmt: skip
# Port and folder of each Postfix; what each of them asks about a message is in gateway.yml.
TARGETS = {
    "bare": [2525, "/var/spool/postfix-bare"],
    "unjudged": [2527, "/var/spool/postfix-unjudged"],
    "judged": [2526, "/var/spool/postfix-judged"],
    "default": [2528, "/var/spool/postfix-default"],
    "full": [2529, "/var/spool/postfix-full"],
    "opendmarc": [2531, "/var/spool/postfix-opendmarc"],
    "rspamd": [2530, "/var/spool/postfix-rspamd"],
    "rspamd_tls": [2532, "/var/spool/postfix-rspamd_tls"],
    "gateway": [25, "/var/spool/postfix"],
}
WHAT = {
    "bare": "bare Postfix",
    "unjudged": "the gateway's, but for milters and TLS to the mail host",
    "judged": "with opendkim and the judge",
    "default": "with opendkim, the judge and clamav",
    "full": "with these, DNS lists and the greylist",
    "opendmarc": "the same with opendmarc in place of the judge",
    "rspamd": "rspamd with clamav in place of all these",
    "rspamd_tls": "rspamd with clamav, and TLS to the mail host",
    "gateway": "the gateway's: the full chain, and TLS to the mail host",
}
# Not those of the measurement, nor clamd, whose memory is that of its signatures.
OUR_UNITS = (
    "postfix@-", "opendkim", "opendkim-ed25519", "gatehouse-dmarc", "clamav-milter", "clamav-freshclam", "postgrey",
    "unbound",
)  # fmt: skip
ORDER = {
    "times": 5,
    "sessions": 20,
    # The kernel counts the processor in hundredths of a second: a turn takes some hundreds of these.
    "loads": [{"octets": 4096, "messages": 1000}, {"octets": 102400, "messages": 600}],
    "targets": TARGETS,
    "milters": ["opendkim", "gatehouse-dmarc", "opendmarc", "clamav-milter", "clamav-daemon", "postgrey", "rspamd"],
    "tunnel": ["gatehouse-lmtp"],  # on both sides
}
# Times bare Postfix, in seconds and in processor; what is not here is told and not judged.
ALLOWED = {"unjudged": 2, "full": 3.6, "gateway": 4.2}
MEMORY = 256  # MB
JUDGE = 1.15  # times the full chain with opendmarc, in seconds


def memory(host: throwaway.Host) -> int:
    """Octets that our units have on the host, each process with its share (PSS of proc(5), smaps_rollup)."""
    namespace = os.readlink(f"/proc/{host.pid}/ns/pid")
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            groups = (folder / "cgroup").read_text()
            ours = any(f"/{unit}.service\n" in groups for unit in OUR_UNITS)
            if ours and os.readlink(folder / "ns/pid") == namespace:
                lines = (folder / "smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def main() -> str | int:
    with throwaway.host(*PACKAGES) as host:
        host.playbook(BENCH / "gateway.yml")
        loads = host.python(BENCH / "mail_load.py", ORDER)
        octets = memory(host)
    for size, measure_of, per_message in measure.messages(ORDER["loads"], loads):
        bare = per_message["bare"]
        for name, took in per_message.items():
            times = ALLOWED.get(name)
            what = f"{size}, ms a message, {measure_of}: {WHAT[name]}"
            measure.row(f"{what} ({took / bare:.2f} x bare)", took, times and times * bare)
        if measure_of == "seconds":
            what = f"{size}, the full chain, times that with opendmarc"
            measure.row(what, per_message["full"] / per_message["opendmarc"], JUDGE)
    measure.row("memory of the gateway's units but clamd, MB", octets / 2**20, MEMORY)
    return measure.report()


if __name__ == "__main__":
    raise SystemExit(main())
