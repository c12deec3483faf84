"""Off is absent: what is switched off neither runs nor is started again, and its files and labels are gone."""

from __future__ import annotations

import re

import pytest

# What a host has of something, a line each: units, processes, labels of SELinux, and files that no package brought,
# neither as its own nor by a script, nor systemd for a script of its own. A slice that is empty is systemd's. Debian's
# package enables clamd's socket, which the role masks, and enabled it stays until it is unmasked.
TRACES = r"""
systemctl list-units --all --plain --no-legend --state=active,activating,failed | awk '!/[.]slice/ {print "unit", $1}'
systemctl list-unit-files --no-legend --state=enabled,enabled-runtime,masked | awk '{print "enabled", $1}'
ps -eo args= | sed 's/^/process /'
for list in port fcontext; do semanage $list --list --locallist --noheading 2> /dev/null | sed 's/^/label /'; done
semanage boolean --list --noheading 2> /dev/null | awk '/^antivirus/ {print "boolean", $1, $2}'
semodule --list=full 2> /dev/null | sed -n 's/^400/module/p'
comm -23 <(find /etc /usr/local /run /opt -not -type d -not -path '/etc/rc?.d/K*' -not -path '/etc/apparmor.d/local/*' \
        -not -path '/etc/logrotate.d/clamav-*' -not -path '/run/systemd/generator.late/*' \
        -not -path '*/clamav-daemon.service.d/extend.conf' \
        -not -path '*.target.wants/clamav-daemon.socket' -not -path '/etc/dbconfig-common/*' | sort) \
    <({ cat /var/lib/dpkg/info/*.list; rpm --query --all --list; } 2> /dev/null | sort) | sed 's/^/file /'
"""
JUDGES = "postfix,dmarc,opendmarc,spf,public_suffix_list"
# name: what is written, tags of the roles, traces of what goes with it, and of what goes without it
OPTIONS = {
    "no scanner": ({"mail_virus_scanner": False}, "clamav,postfix", None, r"clam|boolean .*\(on"),
    "no greylist": (
        {"mail_greylisting": False}, "firewall,platform,greylist,postfix", None, "postgrey|gatehouse-greylist"
    ),
    "no statistics": ({"mail_statistics": False}, "awstats,postfix", None, "statistics|awstats"),
    "spamassassin": ({"mail_spamassassin": True}, "spamassassin,postfix", "spamd|spamass|sa-update", None),
    "opendmarc and policyd-spf": (
        {"mail_dmarc_judge": "opendmarc", "mail_policyd_spf": True}, JUDGES, "opendmarc|policyd-spf", None
    ),
    "milters on TCP": (
        {"mail_milter_sockets": "inet"}, f"platform,{JUDGES},opendkim,clamav", "milter_port|gatehouse_clamav", None
    ),
    "no sieve": (
        {"mail_sieve": False}, "firewall,platform,dovecot,fail2ban,postfix", None, "dovecot.*sieve"
    ),
    "no pop3": ({"mail_pop3": False}, "firewall,platform,dovecot,fail2ban,postfix", None, "pop3-login"),
    "no submission for people": (
        {"mail_submission": False},
        "firewall,platform,unbound,dovecot,dmarc,submission,fail2ban,sasl,postfix",
        None,
        r"(?:unit|enabled) .*postfix|process \S*/postfix/|postfix.service.d|-dmarc"
        "|postfix/(?:main|master|candidate|mailbox|gateway)",
    ),
    "a relay host": (
        {
            "mail_relayhost": {"host": "internet.sender.example", "login": "site@sender.example"},
            "vault_mail_relayhost_password": "correct horse relays",
        },
        "postfix",
        "relayhost",
        None,
    ),
    "pushed recipients": (
        {"mail_recipients_sources": [{"doveadm": "*"}]},
        "recipients,postfix",
        "gatehouse-recei|gatehouse-recip|/recipients",
        None,
    ),
    "no bans": ({"mail_bans": False}, "fail2ban,postfix", None, "fail2ban"),
}  # fmt: skip
OFTEN = {"no bans": "mx2.example.org"}  # on this host alone in `make test`; everything on all hosts in `make stress`
STORE_ALONE = ["no submission for people"]  # of what gateways have for themselves


def traces(hosts, pattern):
    return {
        host.name: sorted(
            line for line in host.out("bash", "-s", given=TRACES).splitlines() if re.search(pattern, line)
        )
        for host in hosts
    }


@pytest.mark.parametrize(
    ("name", "limit"), [*OFTEN.items(), *(pytest.param(name, "all", marks=pytest.mark.stress) for name in OPTIONS)]
)
def test_what_is_switched_off_leaves_no_trace(lab, mail, name, limit):
    variables, tags, with_it, without_it = OPTIONS[name]
    hosts = [host for host in (*lab.gateways, lab.store) if limit in ("all", host.name)]
    if name in STORE_ALONE:
        hosts = [lab.store]

    def run(**chosen):
        return lab.site(tags=tags, limit=limit, **chosen)

    before = traces(hosts, with_it or without_it)
    try:
        assert run(**variables)
        on = traces(hosts, with_it or without_it)
        assert run(**variables) == []
        print(f"{name}: {[len(lines) for lines in (*before.values(), *on.values())]} traces before, and with it")
        if without_it:
            assert {host: lines for host, lines in on.items() if lines} == {}
            assert any(before.values())
        else:
            assert any(on.values())
        for gateway in lab.gateways:
            mail.wait_for("alice@example.org", mail.send(gateway.mail_ipv4, "alice@example.org"))
    finally:
        run()
    after = traces(hosts, with_it or without_it)
    assert without_it or {host: lines for host, lines in after.items() if lines} == {}
    assert {host: set(lines) ^ set(before[host]) for host, lines in after.items()} == {host: set() for host in before}
    assert run() == []
