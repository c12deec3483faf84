"""Who makes too many errors is banned, at that port alone and for a while; and he can have nobody else banned."""

from __future__ import annotations

import base64
import json
import re
import time

import pytest

JAILS = {
    "mail_gateways": {"gatehouse-smtp", "gatehouse-submission"},
    "mail_stores": {
        *("gatehouse-imap", "gatehouse-managesieve", "gatehouse-pop3"),
        *("gatehouse-submission", "gatehouse-submissions"),
    },
}
ERRORS = 3  # of a session, after which Postfix ends it
REFUSED = ["ConnectionRefusedError"]
KNOCK = """
import socket, sys
address, port, source = sys.argv[1:]
print(socket.create_connection((address, int(port)), 10, (source, 0)).makefile().readline())
"""
# A connection by TLS for each wrong password; what is said before STARTTLS, if that is how TLS begins.
LOGIN = """
import json, socket, ssl, sys
order = json.load(sys.stdin)
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
for number in range(order["count"]):
    plain = socket.create_connection((order["host"], order["port"]), 30)
    if order["starttls"]:
        plain.recv(4096)
        plain.sendall(order["starttls"].encode())
        plain.recv(4096)
    with context.wrap_socket(plain) as client:
        if order["greets"]:
            client.recv(4096)
        for line in order["say"]:
            client.sendall(line.encode())
            while not client.recv(4096).startswith(tuple(said.encode() for said in order["answers"])):
                pass
"""
# By jail: the port, how TLS begins there, what a client says, and how answers begin.
GUESSES = {
    "gatehouse-imap": (993, "", ["1 LOGIN alice@example.org wrong\r\n"], ["1 NO"]),
    "gatehouse-pop3": (995, "", ["USER alice@example.org\r\n", "PASS wrong\r\n"], ["+OK", "-ERR"]),
    "gatehouse-managesieve": (
        4190, "STARTTLS\r\n", ['AUTHENTICATE "PLAIN" "AGFsaWNlQGV4YW1wbGUub3JnAHdyb25n"\r\n'], ["NO"],
    ),
    "gatehouse-submission": (
        587, "STARTTLS\r\n", ["EHLO x\r\n", "AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHdyb25n\r\n"], ["250", "535"],
    ),
    "gatehouse-submissions": (
        465, "",
        ["EHLO x\r\n", "AUTH LOGIN\r\n", "YWxpY2VAZXhhbXBsZS5vcmc=\r\n", "d3Jvbmc=\r\n"], ["250", "334", "535"],
    ),
}  # fmt: skip


def banned(host, jail="gatehouse-smtp"):
    return set(host.out("fail2ban-client", "get", jail, "banip").split())


def jails(host):
    return set(re.findall(r"[\w-]+", host.out("fail2ban-client", "status").partition("Jail list:")[2]))


@pytest.fixture(scope="module")
def strangers(lab):
    """strangers(octet, version): an address of the internet's container that nothing keeps from a ban."""
    four, six = lab.internet.lab_address4.rpartition(".")[0], lab.internet.lab_address6.rpartition("::")[0]
    for octet in range(80, 100):
        lab.internet.out("ip", "address", "replace", f"{four}.{octet}/24", "dev", "inet0")
    lab.internet.out("ip", "address", "replace", f"{six}::80/64", "dev", "inet0", "nodad", "preferred_lft", "0")
    return lambda octet, version=4: f"{six}::{octet}" if version == 6 else f"{four}.{octet}"


@pytest.fixture
def impatient(gateway):
    """A gateway that ends a session soon and at once, and bans nobody before the test and after it."""
    gateway.out("fail2ban-client", "unban", "--all")
    gateway.out("postconf", "-e", f"smtpd_hard_error_limit={ERRORS}", "smtpd_error_sleep_time=0")
    gateway.reload_postfix()
    yield gateway
    gateway.out("fail2ban-client", "unban", "--all")
    gateway.out("cp", "/etc/postfix/candidate/main.cf", "/etc/postfix/main.cf")
    gateway.reload_postfix()


@pytest.fixture
def offend(impatient, smtp):
    """offend(address of the gateway, source, sessions): that many sessions with too many errors."""

    def sessions(address, source, count=5):
        for _number in range(count):
            replies = smtp(address, *["NONSENSE"] * (ERRORS + 1), source=source)
            assert replies == REFUSED or any("too many errors" in reply for reply in replies), replies

    return sessions


def greeted(smtp, address, source=None):
    return smtp(address, "QUIT", source=source)[0].startswith("220 ")


def test_the_jails_are_those_of_the_model(lab):
    for group, names in JAILS.items():
        for name in lab.groups[group]:
            assert jails(lab[name]) == names, name


@pytest.mark.enforcing
@pytest.mark.parametrize("version", [4, 6])
def test_who_makes_too_many_errors_is_banned_there_until_the_ban_is_over(
    lab, impatient, smtp, strangers, offend, wait, version
):
    address = impatient.mail_ipv4 if version == 4 else impatient.mail_ipv6
    source = strangers(80, version)
    offend(address, source, 4)
    time.sleep(3)  # as long as fail2ban may take to read a line, so that four are not five that came late
    assert greeted(smtp, address, source)
    offend(address, source, 1)
    wait(lambda: smtp(address, "QUIT", source=source) == REFUSED, 20, f"a ban of {source}")
    assert banned(impatient) == {source}
    other = lab.internet.lab_address4 if version == 4 else lab.internet.lab_address6
    assert greeted(smtp, address, other)
    assert lab.internet.out("python3", "-c", KNOCK, address, "22", source).startswith("SSH-")
    rest = [["systemctl", "restart", "firewalld"], ["systemctl", "kill", "--signal=KILL", "fail2ban"]]
    for command in (
        ["firewall-cmd", "--reload"], ["firewall-cmd", "--complete-reload"], ["systemctl", "restart", "fail2ban"],
        *(rest if version == 4 else []),
    ):  # fmt: skip
        impatient.out(*command)
        wait(lambda: greeted(smtp, address, other), 20, f"others to be served after {command}")
        wait(lambda: smtp(address, "QUIT", source=source) == REFUSED, 20, f"the ban after {command}")
    wait(lambda: impatient.run("fail2ban-client", "ping", check=False).returncode == 0, 20, "fail2ban")
    # Bans come in turn: when this one holds, what was remembered has been restored, and no ban comes after the unban.
    impatient.out("fail2ban-client", "set", "gatehouse-smtp", "banip", strangers(81))
    wait(lambda: smtp(impatient.mail_ipv4, "QUIT", source=strangers(81)) == REFUSED, 20, f"a ban of {strangers(81)}")
    impatient.out("fail2ban-client", "unban", source)
    wait(lambda: greeted(smtp, address, source), 20, f"{source} to be let out")


@pytest.mark.stress
def test_a_ban_ends_by_itself(impatient, smtp, strangers, offend, wait):
    impatient.out("fail2ban-client", "set", "gatehouse-smtp", "bantime", "4")
    try:
        for _time in range(2):  # the second one is as long as the first
            offend(impatient.mail_ipv4, strangers(82))
            wait(lambda: smtp(impatient.mail_ipv4, "QUIT", source=strangers(82)) == REFUSED, 10, "a ban")
            wait(lambda: greeted(smtp, impatient.mail_ipv4, strangers(82)), 8, "the end of the ban")
    finally:
        impatient.out("fail2ban-client", "reload")
    assert impatient.out("fail2ban-client", "get", "gatehouse-smtp", "bantime").strip() == "600"


def test_whom_an_allow_list_or_the_operator_lets_in_is_not_banned(lab, impatient, smtp, strangers, offend, wait):
    name = ".".join([*reversed(strangers(84).split(".")), "wl.example."])
    lab.nsupdate("wl.example", f"add {name} 60 A 127.0.5.2")
    try:
        offend(impatient.mail_ipv4, strangers(84), 6)
        offend(impatient.mail_ipv4, lab.stranger(72), 6)  # by mail_access
        offend(impatient.mail_ipv4, strangers(85), 5)
        wait(lambda: banned(impatient), 10, "a ban of who is on no list")
        assert banned(impatient) == {strangers(85)}
        assert f"Ignore {strangers(84)} by command" in impatient.out("tail", "-n", "200", "/var/log/fail2ban.log")
    finally:
        lab.nsupdate("wl.example", f"del {name}")


LIE = "too many errors after RCPT from unknown[198.18.52.86]"
HOSTILE = [
    LIE,
    f"x[{LIE}",
    f"mx1 postfix/smtpd[1]: {LIE}",
    f"Nov 26 10:00:00 mx1 postfix/smtpd[1]: {LIE}",
    "<HOST>",
    "%(x)s",
    f"a\\nNov 26 10:00:00 mx1 postfix/smtpd[1]: {LIE}",
    f"a\rpostfix/smtpd[1]: {LIE}",
    f"#012mx1 postfix/smtpd[1]: {LIE}",
    "unknown[198.18.52.86]: SASL PLAIN authentication failed: authentication failure",
    ": x" * 40,
    "x" * 2000,
    "[198.18.52.86]",
    "x, rip=198.18.52.86, lip=1",
    "\udcff\udcfe[198.18.52.86]",
    "$(reboot)",
    "';--",
    "é[198.18.52.86]:",
]


def test_what_a_stranger_writes_bans_nobody(lab, gateway, smtp, strangers, no_limits, wait):
    """In HELO, sender, recipient and in place of a command, 200 lines in all, by one who makes each mistake once."""
    for octet, text in enumerate(HOSTILE, 80):
        source = strangers(80 + octet % 20)
        lines = [
            f"EHLO {text}",
            f"HELO {text}",
            "EHLO x.example",
            f"MAIL FROM:<{text}@sender.example>",
            f"MAIL FROM:{text}",
        ]
        lines += [
            "RSET",
            "MAIL FROM:<carol@sender.example>",
            f"RCPT TO:<{text}@example.org>",
            f"RCPT TO:{text}",
            text,
            "QUIT",
        ]
        smtp(gateway.mail_ipv4, *lines, source=source)
        token = base64.b64encode(f"\0{text}\0{text}".encode("utf-8", "surrogateescape")).decode()
        hello = ["EHLO x", "STARTTLS", "EHLO x", f"AUTH PLAIN {token}", f"AUTH {text}", "QUIT"]
        smtp(gateway.mail_vpn_address, *hello, client=lab.client, port=32841)
    time.sleep(4)
    assert banned(gateway) | banned(gateway, "gatehouse-submission") == set()
    status = gateway.out("fail2ban-client", "status", "gatehouse-smtp")
    assert re.search(r"Currently failed:\s+0\n", status), status


def test_a_resolver_that_is_down_bans_nobody(gateway, smtp, strangers, impatient):
    """Fifty sessions of ten honest senders, who are told to come again."""
    before = gateway.out("fail2ban-client", "status", "gatehouse-smtp")
    honest = ["EHLO x.example", "MAIL FROM:<carol@sender.example>", "RCPT TO:<bob@example.org>", "QUIT"]
    gateway.out("systemctl", "stop", "unbound")
    try:
        told = [smtp(gateway.mail_ipv4, *honest, source=strangers(90 + number % 10)) for number in range(50)]
    finally:
        gateway.out("systemctl", "start", "unbound")
    assert {replies[3][:1] for replies in told} == {"4"}, told[0]
    time.sleep(3)
    assert gateway.out("fail2ban-client", "status", "gatehouse-smtp") == before
    assert banned(gateway) == set()


@pytest.fixture
def vpn_too(lab):
    """The VPN's other clients may be banned, until the test is over."""
    network = f"{lab.client.lab_vpn_address.rpartition('.')[0]}.0/24"
    hosts = [
        (host, jail)
        for group, names in JAILS.items()
        for name in lab.groups[group]
        for host in [lab[name]]
        for jail in names
    ]
    try:
        for host, jail in hosts:
            host.out("fail2ban-client", "set", jail, "delignoreip", network)
        yield
    finally:
        for host in {host.name: host for host, _jail in hosts}.values():
            host.out("fail2ban-client", "unban", "--all")
            host.out("fail2ban-client", "reload", "--restart", "--all")


def guess(smtp, address, count, client):
    token = base64.b64encode(b"\0alice@example.org\0wrong").decode()
    lines = ["EHLO x", "STARTTLS", "EHLO x", f"AUTH PLAIN {token}", "QUIT"]
    return [smtp(address, *lines, client=client, port=32841) for _number in range(count)]


def test_wrong_passwords_close_that_port_to_who_guesses(lab, gateway, smtp, vpn_too, wait):
    me, address = lab.client.lab_vpn_address, gateway.mail_vpn_address
    (other,) = [host for host in lab.gateways if host is not gateway]
    assert all(replies[4].startswith("535 ") for replies in guess(smtp, address, 5, lab.client))
    wait(lambda: smtp(address, "QUIT", client=lab.client, port=32841) == REFUSED, 20, "a ban of the client")
    assert smtp(address, "QUIT", client=lab.client)[0].startswith("220 ")
    assert smtp(other.mail_vpn_address, "QUIT", client=lab.client, port=32841)[0].startswith("220 ")
    assert banned(gateway, "gatehouse-submission") == {me}
    before = gateway.mail_log().count("SASL PLAIN authentication failed")
    for host in (other, lab.store):
        guess(smtp, address, 10, host)
    time.sleep(3)
    assert gateway.mail_log().count("SASL PLAIN authentication failed") == before + 20
    assert banned(gateway, "gatehouse-submission") == {me}


@pytest.mark.stress  # Dovecot lets who guesses wait ever longer
@pytest.mark.parametrize("jail", GUESSES)
def test_wrong_passwords_at_the_mail_host_close_that_port(lab, vpn_too, wait, jail):
    port, starttls, say, answers = GUESSES[jail]
    address = lab.store.mail_vpn_address
    order = {"host": address, "port": port, "starttls": starttls, "say": say, "answers": answers}
    order["greets"] = port != 587  # which says nothing after STARTTLS until it is asked
    lab.gateways[0].out("python3", "-c", LOGIN, given=json.dumps({**order, "count": 6}))  # who never is
    lab.client.out("python3", "-c", LOGIN, given=json.dumps({**order, "count": 5}))
    wait(lambda: banned(lab.store, jail) == {lab.client.lab_vpn_address}, 20, "a ban of the client")

    def knock(host, at):
        source = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)"
        return "ConnectionRefusedError" in host.run("python3", "-c", source, address, str(at), check=False).stderr

    wait(lambda: knock(lab.client, port), 20, "the ban")
    assert [knock(lab.client, at) for at, *_rest in GUESSES.values() if at != port] == [False] * (len(GUESSES) - 1)
    assert not knock(lab.gateways[0], port)


def run_site(lab, host, tags="fail2ban", **variables):
    """site.yml's role fail2ban on a host; the tasks that changed something."""
    return [task for _host, task in lab.site(tags=tags, limit=host.name, **variables)]


@pytest.mark.stress
def test_the_vpn_may_be_banned_and_never_our_own_hosts(lab, gateway, smtp, no_limits, wait):
    """A hundred wrong passwords from the other gateway and from the mail host, with the limit on logins lifted."""
    (other,) = [host for host in lab.gateways if host is not gateway]
    gateway.out("postconf", "-e", "smtpd_client_auth_rate_limit=0")
    gateway.reload_postfix()
    try:
        assert run_site(lab, gateway, mail_bans_vpn=True)
        assert run_site(lab, gateway, mail_bans_vpn=True) == []
        before = gateway.mail_log().count("SASL PLAIN authentication failed")
        for host in (other, lab.store):
            replies = guess(smtp, gateway.mail_vpn_address, 100, host)
            assert all(each[4].startswith("535 ") for each in replies), replies[-1]
        guess(smtp, gateway.mail_vpn_address, 5, lab.client)
        wait(lambda: banned(gateway, "gatehouse-submission") == {lab.client.lab_vpn_address}, 20, "a ban of the client")
        assert gateway.mail_log().count("SASL PLAIN authentication failed") == before + 205
        for host in (other, lab.store):
            assert smtp(gateway.mail_vpn_address, "QUIT", client=host, port=32841)[0].startswith("220 ")
    finally:
        gateway.out("fail2ban-client", "unban", "--all")
        run_site(lab, gateway)
    guess(smtp, gateway.mail_vpn_address, 6, lab.client)
    time.sleep(3)
    assert banned(gateway, "gatehouse-submission") == set()


DATABASE = "/var/lib/fail2ban/fail2ban.sqlite3"
DAMAGED = f"systemctl stop fail2ban; head --bytes=20000 /dev/urandom > {DATABASE}; systemctl start fail2ban"
# A log that takes no line, as on a full file system.
FULL = "systemctl stop fail2ban; mv /var/log/fail2ban.log /root; ln -s /dev/full /var/log/fail2ban.log"
LOG_AGAIN = "rm /var/log/fail2ban.log; mv /root/fail2ban.log /var/log"
FAULTS = {
    "stopped": ("systemctl stop fail2ban", "true"),
    "killed": ("systemctl kill --signal=KILL fail2ban", "true"),
    "disabled": ("systemctl disable --now fail2ban", "true"),
    "firewalld stopped and started": ("systemctl stop firewalld; systemctl start firewalld", "true"),
    "database damaged": (DAMAGED, "true"),
    "log full": (f"{FULL}; systemctl start fail2ban", LOG_AGAIN),
    "a jail gone": ("fail2ban-client stop gatehouse-smtp", "true"),
}


@pytest.mark.stress
@pytest.mark.parametrize("fault", FAULTS)
def test_what_breaks_fail2ban_stops_no_mail_and_is_mended(lab, impatient, smtp, mail, strangers, offend, wait, fault):
    broken, mended = FAULTS[fault]
    address, source = impatient.mail_ipv4, strangers(86)
    impatient.out("sh", "-c", broken)
    try:
        mail.wait_for("alice@example.org", mail.send(address, "alice@example.org"))
        run_site(lab, impatient)
        assert jails(impatient) == JAILS["mail_gateways"]
        offend(address, source)
        wait(lambda: smtp(address, "QUIT", source=source) == REFUSED, 10, "a ban")
        mail.wait_for("alice@example.org", mail.send(address, "alice@example.org"))
    finally:
        impatient.out("sh", "-c", mended)
        impatient.out("systemctl", "restart", "fail2ban")
        wait(lambda: impatient.run("fail2ban-client", "ping", check=False).returncode == 0, 20, "fail2ban")
    assert run_site(lab, impatient) == []


@pytest.mark.stress
def test_firewalld_takes_fail2ban_with_it_when_it_starts_again(gateway, wait):
    gateway.out("systemctl", "stop", "firewalld")
    assert gateway.run("systemctl", "is-active", "fail2ban", check=False).stdout.strip() == "inactive"
    gateway.out("systemctl", "start", "firewalld")
    wait(lambda: gateway.run("fail2ban-client", "ping", check=False).returncode == 0, 20, "fail2ban")
    assert jails(gateway) == JAILS["mail_gateways"]


@pytest.mark.stress
def test_a_log_that_is_rotated_loses_no_error(impatient, smtp, strangers, offend, wait):
    offend(impatient.mail_ipv4, strangers(87), 3)
    wait(lambda: f"Found {strangers(87)}" in impatient.out("tail", "/var/log/fail2ban.log"), 5, "the first errors")
    impatient.out("logrotate", "--force", "/etc/logrotate.d/gatehouse")
    offend(impatient.mail_ipv4, strangers(87), 2)
    wait(lambda: banned(impatient) == {strangers(87)}, 10, "a ban")


@pytest.mark.stress
def test_another_port_is_closed_at_once(lab, gateway, wait):
    """To who is banned already, too."""

    def rules():
        return gateway.out("nft", "list", "table", "inet", "gatehouse-bans")

    gateway.out("fail2ban-client", "set", "gatehouse-submission", "banip", "192.0.2.99")
    wait(lambda: "dport 32841" in rules(), 10, "the rule")
    try:
        assert "Restart fail2ban" in run_site(lab, gateway, mail_ports={"submission": 32842})
        wait(lambda: "dport 32842" in rules(), 10, "the new rule")
        assert "dport 32841" not in rules()
        assert banned(gateway, "gatehouse-submission") == {"192.0.2.99"}
    finally:
        run_site(lab, gateway)
        gateway.out("fail2ban-client", "unban", "--all")
    assert run_site(lab, gateway) == []


SOMEBODY = """
[sshd]
enabled = true
backend = polling
logpath = /var/log/gatehouse-mail.log

[somebody]
enabled = true
backend = polling
filter = sshd
logpath = /var/log/gatehouse-mail.log
"""


@pytest.mark.stress
def test_jails_of_somebody_else_stay(lab, gateway):
    file, theirs = "/etc/fail2ban/jail.d/somebody.local", {"sshd", "somebody"}
    gateway.run("tee", file, given=SOMEBODY)
    try:
        run_site(lab, gateway)
        assert jails(gateway) == JAILS["mail_gateways"] | theirs
        gateway.out("fail2ban-client", "set", "somebody", "banip", "192.0.2.98")
        run_site(lab, gateway, "postfix", mail_bans=False)
        assert jails(gateway) == theirs
        assert banned(gateway, "somebody") == {"192.0.2.98"}
        assert run_site(lab, gateway, "postfix", mail_bans=False) == []
    finally:
        gateway.out("fail2ban-client", "unban", "--all")
        gateway.out("rm", file)
        run_site(lab, gateway)
    assert jails(gateway) == JAILS["mail_gateways"]
    assert run_site(lab, gateway) == []


@pytest.mark.stress
def test_a_candidate_that_would_ban_the_wrong_ones_does_not_go_live(gateway):
    """A filter that finds nothing, one that finds too much, one that does not compile, a jail without its filter."""
    program, candidate = "gatehouse-fail2ban-candidate", "/etc/fail2ban/candidate"
    smtp_filter, settings = f"{candidate}/filter.d/gatehouse-smtp.conf", f"{candidate}/jail.d/gatehouse.local"
    assert json.loads(gateway.out(program)) == {"jails": sorted(jails(gateway)), "placed": []}
    for file, old, new, said in (
        (smtp_filter, "too many errors", "to many errors", "does not find"),
        (smtp_filter, "too many errors after", ".*", "does not find"),
        (smtp_filter, "<ADDR>", "<ADDR>(", "does not find"),
        (settings, "filter = gatehouse-smtp", "filter = gatehouse-none", "gatehouse-none"),
        (settings, "/var/log/gatehouse-mail.log", "/var/log/nothing.log", "not found any log file"),
    ):
        text = gateway.out("cat", file)
        assert old in text
        gateway.run("tee", file, given=text.replace(old, new))
        try:
            result = gateway.run(program, check=False)
        finally:
            gateway.run("tee", file, given=text)
        assert (result.returncode, said in result.stderr) == (1, True), (new, result)


@pytest.mark.stress
def test_no_line_takes_long(gateway):
    lines = [
        f"Nov 26 10:00:00 mx1 postfix/smtpd[1]: {': x' * 40}",
        f"Nov 26 10:00:00 mx1 dovecot: imap-login: Disconnected{': x' * 40}",
    ]
    lines = [
        *(line for line in lines for _number in range(10)),
        f"Nov 26 10:00:00 mx1 dovecot: imap-login: Disconnected: {'x (auth failed, 1' * 65536}",
    ]
    gateway.run("tee", "/tmp/lines.log", given="\n".join(lines) + "\n")
    for name in ("gatehouse-smtp", *GUESSES):
        started = time.monotonic()
        command = ["fail2ban-regex", "--out=ip", "/tmp/lines.log", f"/etc/fail2ban/filter.d/{name}.conf"]
        assert gateway.run(*command, check=False).stdout == ""
        assert time.monotonic() - started < 3, name
    gateway.out("rm", "/tmp/lines.log")
