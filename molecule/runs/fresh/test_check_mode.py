"""`site.yml --check --diff` before the first run: it ends well on bare hosts of both families, and leaves them bare."""

import re
import subprocess

# What package managers and Ansible leave when they have only looked: caches, logs, databases opened for reading, and
# Ansible's own folder. A folder stands there with all that lies on the way to it.
LOOKED = re.compile(
    r"/home/ops/\.ansible(/.*)?|/var/cache/(apt|dnf)(/.*)?|/var/log/.*|/var/lib/apt/.*|/var/lib/dnf/history\.sqlite.*"
    r"|/var/lib/rpm/rpmdb\.sqlite-(shm|wal)|/(run|tmp)(/.*)?"
)
FOLDERS = {
    "/",
    "/home",
    "/home/ops",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/lib/apt",
    "/var/lib/dnf",
    "/var/lib/rpm",
    "/var/log",
}
INSTALLED = "dpkg-query --show 2> /dev/null || rpm --query --all | sort"
CHECKSUMS = "find /etc /usr/local /home /root /srv -type f -exec sha256sum {} + | sort -k2"
UNITS = "systemctl list-unit-files --state=enabled --no-legend; ss -Hltun"


def state(host):
    """All that a run could change, a line each: places of files, their content, packages, units and ports."""
    changed = subprocess.run(["podman", "diff", host.container], capture_output=True, text=True, check=True, timeout=60)
    lines = {line for line in changed.stdout.splitlines() if not LOOKED.fullmatch(line[2:]) and line[2:] not in FOLDERS}
    return lines.union(*(host.out("sh", "-c", command).splitlines() for command in (INSTALLED, CHECKSUMS, UNITS)))


def test_check_mode_changes_nothing_on_fresh_hosts(lab):
    hosts = [*lab.gateways, lab.store]
    before = {host.name: state(host) for host in hosts}
    run = lab.start_playbook("playbooks/site.yml", "--check", "--diff")
    said, _nothing = run.communicate(timeout=600)
    assert run.returncode == 0, said
    for host in hosts:
        assert re.search(rf"^{re.escape(host.name)} .* changed=[1-9]", said, re.MULTILINE)  # there would be much to do
    assert {host.name: sorted(state(host) ^ before[host.name]) for host in hosts} == {host.name: [] for host in hosts}


def test_a_change_would_be_seen(lab):
    """The control: one empty file."""
    for host in [*lab.gateways, lab.store]:
        before = state(host)
        host.out("touch", "/etc/new")
        assert "A /etc/new" in state(host) - before
        host.out("rm", "/etc/new")
