"""Drift: what was broken by hand is what the next run reports and mends, and nothing else.

A file that was changed and not loaded is also reported by the task that looks for such files. Molecule's idempotence
comes after this.
"""

BREAKAGE = {
    # what is broken: (host, command, tasks that report a change)
    "a line in main.cf": (
        "gateway",
        "echo soft_bounce = yes >> /etc/postfix/main.cf",
        ["Put the candidate into place", "Reload Postfix"],
    ),
    "a table's index deleted": (
        "gateway",
        "rm /etc/postfix/relay_recipients.lmdb",
        ["Write the lookup tables", "Reload Postfix"],
    ),
    "a milter stopped": ("gateway", "systemctl stop gatehouse-dmarc", ["Start the judge"]),
    "the scanner stopped": ("gateway", "systemctl stop clamav-daemon", ["Start ClamAV"]),
    "who signs for whom": (
        "gateway",
        "echo '*@example.net example.org/mx2' >> /etc/opendkim/opendkim.SigningTable",
        [
            "Look for files that opendkim has not read",
            "Write which key signs for whom",
            "Reload opendkim",
            "Restart opendkim",
        ],
    ),
    "a signing key made readable": (
        "gateway",
        "chmod 644 /etc/opendkim/keys/example.org_mx2.private",
        ["Keep the private keys private"],
    ),
    "a login removed": (
        "gateway",
        "saslpasswd2 -d -u example.org bob",
        ["Set the users and their passwords"],
    ),
    "Postfix stopped": ("gateway", "systemctl stop postfix; postfix stop 2>&1; true", ["Start Postfix"]),
    "a port opened in the zone's file": (
        "store",
        'sed -i \'s,</zone>,<port port="143" protocol="tcp"/></zone>,\' /etc/firewalld/zones/internet.xml',
        ["Look for files that firewalld has not read", "Write the zones", "Reload firewalld"],
    ),
    "a key made readable": ("store", "chmod 644 /etc/pki/gatehouse/private.key", ["Make the host's keys"]),
    "resolv.conf rewritten": ("store", "echo nameserver 192.0.2.53 > /etc/resolv.conf", ["Write resolv.conf"]),
    "stunnel stopped": ("store", "systemctl stop gatehouse-lmtp.socket", ["Listen for the gateways"]),
    "the way to the mail host stopped": (
        "gateway",
        "systemctl stop gatehouse-lmtp-store.example.org.socket",
        ["Listen for Postfix"],
    ),
    "postgrey stopped": ("store", "systemctl stop postgrey", ["Start postgrey"]),
    "a password changed": (
        "store",
        "sed -i s/^alice/mallory/ /etc/dovecot/users",
        [
            "Look for files that Dovecot has not read",
            "Write Dovecot's files",
            "Reload Dovecot",
            "Look for a Postfix of people's mail",
            "Reload Postfix",
        ],
    ),
}

HANDLERS = ("Reload", "Restart", "Look for a Postfix")  # which check mode does not run


def changes(results):
    assert not [result for result in results if result.get("failed")]
    return sorted({(result["host"], result["task"]) for result in results if result.get("changed")})


def test_drift_is_reported_and_mended(lab, mail):
    """All of it at once: check mode reports the union and mends nothing, a run does both. The run that comes after this
    changes nothing on any host."""
    hosts = {"gateway": lab.gateways[-1], "store": lab.store}
    for host, command, _tasks in BREAKAGE.values():
        hosts[host].out("sh", "-c", command)
    only = ("playbooks/site.yml", "--limit", ",".join(host.name for host in hosts.values()))
    expected = sorted({(hosts[host].name, task) for host, _command, tasks in BREAKAGE.values() for task in tasks})
    looked = changes(lab.playbook(*only, "--check", "--diff"))
    assert looked == [(host, task) for host, task in expected if not task.startswith(HANDLERS)]
    assert changes(lab.playbook(*only)) == expected
    mail.wait_for("alice@example.org", mail.send(hosts["gateway"].mail_ipv4, "info@example.org"))
