"""site.yml killed at twenty moments: no gateway notices, and the next run ends where an undisturbed one would have."""

import json
import random
import subprocess
import time

import pytest

pytestmark = pytest.mark.stress

KILLS = 20
# Not the records beside the lookup tables: they hold the index's inode and times, which differ each time it is built.
CHECKSUMS = (
    "cd /etc && find firewalld unbound dovecot stunnel postfix opendkim* gatehouse clam* freshclam.conf mail"
    " rsyslog.d logrotate.d sysctl.d systemd chrony* resolv.conf -type f"
    " ! -name '*.old' ! -name '.*.built' -exec sha256sum {} + 2> /dev/null"
    " | sort -k2; find . -name '*.aside-*'"
)
# Two inventories that differ in what every role with a daemon writes, so that each run has something to do.
ONE = {}
OTHER = {
    "mail_message_size_limit": 30000000,
    "mail_aliases": {"sales@example.org": "bob@example.org"},
    "platform_mail_log_days": 5,
    "platform_ntp_pools": ["pool.example.net"],
    "platform_reserved_ports": [32841],
    "firewall_ports": "{{ mail_model.listen + [{'name': 'spare', 'port': 2525, 'zones': ['vpn']}] }}",
    "unbound_cache_size": "32m",
    "clamav_freshclam_checks": 6,
    "dovecot_mail_max_userip_connections": 5,
    "dovecot_lmtp_clients": "{{ mail_model.gateways | map(attribute='name') | list + ['mx3.example.org'] }}",
}


def mail_hosts(lab):
    return [*lab.gateways, lab.store]


def checksums(lab):
    return {host.name: host.out("sh", "-c", CHECKSUMS) for host in mail_hosts(lab)}


def working(lab):
    """What the daemons themselves say of what they work with."""
    said = {}
    for host in mail_hosts(lab):
        said[host.name, "unbound"] = host.out("unbound-control", "get_option", "msg-cache-size")
        said[host.name, "firewalld"] = host.out("firewall-cmd", "--zone=vpn", "--list-ports")
    for gateway in lab.gateways:
        order = {"host": "127.0.0.1", "port": 25, "send": ["EHLO localhost.example.org"]}
        said[gateway.name, "Postfix"] = gateway.python("smtp_client.py", order)[1][1]
    return said


def test_killed_runs_leave_whole_gateways_and_the_next_run_finishes(lab, mail):
    # The seed is the day's, and a failure shows it.
    seed = int(time.time())
    moments = random.Random(seed)  # noqa: S311
    print(f"seed {seed}")
    lab.site(**OTHER)
    other = working(lab)
    started = time.monotonic()
    lab.site(**ONE)
    duration = time.monotonic() - started
    expected, one = checksums(lab), working(lab)
    assert all(one[name] != other[name] for name in one)  # or it would not be seen which of the two they work with
    sent = []
    for number in range(KILLS):
        playbook = lab.start_playbook(
            "playbooks/site.yml", "--extra-vars", json.dumps(ONE if number % 2 else OTHER), output=subprocess.DEVNULL
        )
        moment = (number + moments.random()) * duration / KILLS
        try:
            playbook.wait(moment)
        except subprocess.TimeoutExpired:
            lab.kill_playbook(playbook)
        print(f"killed after {moment:.0f} s of {duration:.0f}")
        for gateway in lab.gateways:
            for command in (["postfix", "check"], ["postconf", "-n"]):
                assert gateway.run(*command).stderr == "", (seed, number)
            sent.append(mail.send(gateway.mail_ipv4, "bob@example.org"))
    lab.site(**ONE)
    assert checksums(lab) == expected, seed
    assert working(lab) == one, seed
    assert lab.site(**ONE) == [], seed
    assert set(mail.arrived(sent).values()) == {1}, seed
    assert mail.bounced() == []
