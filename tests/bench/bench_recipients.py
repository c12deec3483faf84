"""Pushed recipients: from a change to the answer of three gateways, a push without a change, and a million addresses.

Mail host and gateways are one container, so all of them share its processors. Each gateway is the receiver with folders
and an ssh user of its own. Dovecot is a program that prints the list, and what notices the change (a path unit) is left
out.
"""

from __future__ import annotations

import json
import random

import measure
from known import ROOT
from throwaway import host

STORE = "store.example.org"
GATEWAYS = ("one", "two", "three")
LIBRARY = "/usr/local/lib/gatehouse-recipients"
SETTINGS = "/etc/gatehouse/recipients"
PUSH = "/usr/local/sbin/gatehouse-recipients push"
SWAP = "cd /root; if cmp -s list one-list; then cp two-list list; else cp one-list list; fi"
SSH = """Host {name}
    HostName 127.0.0.1
    User gatehouse-{name}
    IdentityFile {settings}/key
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
"""
UNITS = {
    "path": "[Path]\nDirectoryNotEmpty=/var/spool/gatehouse-{name}/in\n",
    "service": "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\n"
    "ExecStart=/usr/local/sbin/receiver-{name} accept\n",
}
# A push of /root/list at gateway one, without ssh and without the path unit; and with an argument, that command. What
# it takes of the processor, and its largest process in MB.
WEIGH = f"""
import json, os, resource, subprocess, sys, time
if sys.argv[1:]:
    subprocess.run(["bash", "-ec", sys.argv[1]], check=True, stdout=subprocess.DEVNULL)
else:
    sys.path.insert(0, "{LIBRARY}")
    import _recipients as core
    serial = json.load(open("/var/lib/gatehouse-one/{STORE}.json"))["serial"]
    header, body = core.stream("{STORE}", serial + 1, open("/root/list").read().split())
    shell = subprocess.Popen(
        ["runuser", "-u", "gatehouse-one", "--", "/usr/local/sbin/receiver-one", "-c", "{STORE}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )
    shell.stdin.write(header.line() + body)
    shell.stdin.close()
    while not os.listdir("/var/spool/gatehouse-one/in"):
        time.sleep(0.01)
    subprocess.run(["/usr/local/sbin/receiver-one", "accept"], check=True)
    assert json.load(shell.stdout)["accepted"]
    shell.wait()
own = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([own.ru_utime + own.ru_stime, own.ru_maxrss / 1024]))
"""


def addresses(number: int, seed: str) -> str:
    numbers = random.Random(4711)  # noqa: S311
    lines = [f"{numbers.getrandbits(40):010x}.user{each}@example.org\n" for each in range(number - 1)]
    return "".join([*lines, f"only-in-{seed}@example.org\n"])


def install(there, name):
    """A gateway of this name."""
    program = (ROOT / "roles/pushed_recipients/files/usr/local/sbin/gatehouse-receiver.py").read_text()
    for old, new in (
        ("/etc/gatehouse/recipients/", f"{SETTINGS}-{name}/"),
        ("/var/lib/gatehouse-recipients", f"/var/lib/gatehouse-{name}"),
        ("/var/spool/gatehouse-recipients", f"/var/spool/gatehouse-{name}"),
        ("/etc/postfix/recipients", f"/etc/postfix/recipients-{name}"),
    ):
        assert old in program
        program = program.replace(old, new)
    shell = f"/usr/local/sbin/receiver-{name}"
    there.put(shell, f"#!/usr/bin/python3 -I\n{program}".encode())
    user, spool, home = f"gatehouse-{name}", f"/var/spool/gatehouse-{name}", f"{SETTINGS}-{name}"
    there.run(
        "bash", "-ec",
        f"chmod 755 {shell}; mkdir -p {home}/.ssh {spool}/in {spool}/making {spool}/answers /var/lib/{user}"
        f" /etc/postfix/recipients-{name}; useradd --system --password '*' --shell {shell} --home {home} {user};"
        f" chgrp {user} {spool}/*; chmod 770 {spool}/in {spool}/making; chmod 2750 {spool}/answers;"
        f" echo restrict,command=\\\"{STORE}\\\" $(cat {SETTINGS}/key.pub) > {home}/.ssh/authorized_keys",
    )  # fmt: skip
    settings = {
        "user": user, "delimiter": "+", "max_age": 24, "shrink": 50, "grace": 0, "aliases": {},
        "mail_hosts": [{"name": STORE, "pushes": True, "domains": ["example.org"], "mailboxes": [], "needed": []}],
    }  # fmt: skip
    there.put(f"{home}/settings.json", json.dumps(settings).encode())
    there.put(f"{SETTINGS}/gateways/{name}.conf", SSH.format(name=name, settings=SETTINGS).encode())
    for kind, text in UNITS.items():
        there.put(f"/etc/systemd/system/receiver-{name}.{kind}", text.format(name=name).encode())
    there.run("bash", "-ec", f"{shell} refresh; systemctl daemon-reload; systemctl start receiver-{name}.path")


def pushing(there, gateways):
    """The mail host's settings."""
    site = {
        "name": STORE, "domains": ["example.org"], "delimiter": "+", "max_age": 24, "gateways": gateways,
        "sources": [{"kind": "list", "value": "/root/list", "domain": ""}],
    }  # fmt: skip
    there.put(f"{SETTINGS}/settings.json", json.dumps(site).encode())


def weigh(there, *command):
    return json.loads(there.run("python3", "-c", WEIGH, *command).stdout)


with host("postfix", "postfix-lmdb", "openssh-server", "openssh-client") as there:
    there.run(
        "bash", "-ec",
        f"mkdir -p {LIBRARY} {SETTINGS}/gateways /var/lib/gatehouse-recipients; systemctl start ssh;"
        f" ssh-keygen -q -t ed25519 -N '' -f {SETTINGS}/key",
    )  # fmt: skip
    for module in ("_recipients.py", "_aside.py"):
        there.put(f"{LIBRARY}/{module}", (ROOT / "plugins/module_utils" / module).read_bytes())
    there.put("/usr/local/bin/doveadm", b"#!/bin/sh\ncat /root/list\n")
    pusher = (ROOT / "roles/recipients/files/usr/local/sbin/gatehouse-recipients.py").read_bytes()
    there.put("/usr/local/sbin/gatehouse-recipients", b"#!/usr/bin/python3 -I\n" + pusher)
    there.run("chmod", "755", "/usr/local/bin/doveadm", "/usr/local/sbin/gatehouse-recipients")
    for name in GATEWAYS:
        install(there, name)

    def fill(number):
        for seed in ("one", "two"):
            there.put(f"/root/{seed}-list", addresses(number, seed).encode())
        there.run("cp", "/root/one-list", "/root/list")
        there.run("bash", "-ec", PUSH)

    pushing(there, GATEWAYS)
    fill(100_000)
    (took,) = measure.seconds(there, (SWAP, PUSH), times=3)
    measure.row("100,000 addresses, a change: until the last of three gateways has answered", took, 5)
    pushing(there, GATEWAYS[:1])
    (took,) = measure.seconds(there, (SWAP, PUSH), times=3)
    measure.row("the same, one gateway", took)
    there.run("bash", "-ec", SWAP)
    measure.row("the same, processor: mail host, with ssh", weigh(there, PUSH)[0])
    there.run("systemctl", "stop", "receiver-one.path")
    there.run("bash", "-ec", SWAP)
    measure.row("the same, processor: gateway, without sshd", weigh(there)[0])
    took = min(weigh(there)[0] for _turn in range(5))
    measure.row("100,000 addresses, no change, processor: gateway, without sshd", took, 0.2)

    for seed in ("one", "two"):
        there.put(f"/root/{seed}-list", addresses(1_000_000, seed).encode())
    there.run("cp", "/root/one-list", "/root/list")
    took, gateway = weigh(there)
    _took, mail_host = weigh(there, "/usr/local/sbin/gatehouse-recipients list")
    measure.row("1,000,000 addresses, processor: gateway, without sshd", took)
    print(
        f"| 1,000,000 addresses, memory: mail host {mail_host:.0f} MB, gateway {gateway:.0f} MB | | | | |", flush=True
    )
raise SystemExit(measure.report())
