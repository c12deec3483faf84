"""A kernel that enforces denies nothing that the site does, and what is taken from the policy is missed, and mended."""

from __future__ import annotations

import re
import subprocess

import pytest
from lab.hosts import STATE
from lab.mail import EICAR

# In this order: what was denied is asked when all of it has been done. Tests that ask for fixture gateway would be
# put elsewhere by pytest.
pytestmark = pytest.mark.enforcing
ALICE = "alice@example.org"
JUDGE = "/usr/local/libexec/gatehouse-dmarc"
RANGE = "net.ipv4.ip_local_port_range"
# What the roles have added: ports, file contexts, booleans that are on, modules.
ADDED = r"""
semanage port --list --locallist --noheading | tr -d , | awk '{for (n = 3; n <= NF; n++) print "port", $1, $2, $n}'
semanage fcontext --list --locallist --noheading | awk 'NF {print "fcontext", $1, $NF}'
semanage boolean --list --locallist --noheading | awk '!/off/ && NF {print "boolean", $1}'
semodule --list=full | awk '$1 == 400 {print "module", $2}'
"""
DENIED = re.compile(r"denied +\{ ([^}]+) \} for .*?scontext=\w+:\w+:(\w+)\S* tcontext=\w+:\w+:(\w+)\S* tclass=(\w+)")
# clamd is pointed at a file that it may read by the boolean alone; what it says.
SCAN = """
import socket, sys
here = socket.socket(socket.AF_UNIX)
here.connect("/run/clamd.scan/clamd.sock")
here.sendall(b"nSCAN /srv/scan/file\\n")
print(here.makefile().readline())
"""


@pytest.fixture(scope="module")
def machines(lab):
    return [host for host in lab.hosts.values() if host.variables.get("lab_machine")]


@pytest.fixture
def run(lab):
    """run(host, tags, variables): the tasks of site.yml that change something."""

    def play(host, tags, **variables):
        return {task for _host, task in lab.site(tags=tags, limit=host.name, **variables)}

    return play


def added(host):
    return set(host.out("bash", "-s", given=ADDED).splitlines())


@pytest.fixture
def mended(lab, run):
    """What the roles have added, with which a trial also ends; site.yml gives it back after one that broke off."""
    gateway = lab.gateways[0]
    before = added(gateway)
    yield before
    after = added(gateway)
    if after != before:
        run(gateway, "platform,opendkim,dmarc,clamav,stunnel,postfix")
    assert after == before


def in_log(host, files):
    """{(source, target, class, permission): by whom and what} of the denials in these files."""
    found = {}
    for line in host.out("sh", "-c", f"cat {files}").splitlines():
        if match := DENIED.search(line):
            permissions, source, target, what = match.groups()
            by = " ".join(re.findall(r"(?:comm|exe|name|path|dest)=\S+", line))
            found |= {(source, target, what, permission): by for permission in permissions.split()}
    return found


def is_silent(source, target, what, permission):
    """Whether the distribution's policy would not have logged it."""
    rule = ["--dontaudit", f"--source={source}", f"--target={target}", f"--class={what}", f"--perms={permission}"]
    asked = ["sesearch", *rule, STATE / "policy.dontaudit"]
    return subprocess.run(asked, check=True, capture_output=True, text=True, timeout=60).stdout.strip() != ""


def denials(host):
    """What was denied since site.yml first came, but for what was before, and what the policy would not have logged."""
    bare = in_log(host, "/var/log/audit/bare")
    new = in_log(host, "/var/log/audit/audit.log*")
    return {key: by for key, by in new.items() if key not in bare and not is_silent(*key)}


def boot(host):
    return host.run("cat", "/proc/sys/kernel/random/boot_id", check=False).stdout


def test_it_enforces_and_excepts_no_domain(machines):
    assert [host.name for host in machines] == ["mx1.example.org", "store.example.org"]
    for host in machines:
        assert host.out("getenforce").strip() == "Enforcing"
        assert host.out("semanage", "permissive", "--list", "--noheading").strip() == ""
        assert "permissive=1" not in host.out("sh", "-c", "cat /var/log/audit/audit.log*")


def test_the_mail_host_tells_the_gateways_who_is_there(lab):
    lab.store.out("systemctl", "start", "gatehouse-recipients")
    lab.store.out("gatehouse-recipients", "status")


def test_after_a_reboot_all_is_there(lab, machines, mail, send, received, wait):
    before = {host.name: boot(host) for host in machines}
    for host in machines:
        host.run("systemctl", "reboot", check=False)
    wait(lambda: all(boot(host) not in ("", before[host.name]) for host in machines), 60, "both machines")
    for host in machines:
        host.run("systemctl", "is-system-running", "--wait", check=False)
        assert host.out("systemctl", "list-units", "--failed", "--plain", "--no-legend") == ""
    mail.wait_for(ALICE, mail.send(lab.gateways[0].mail_ipv4, ALICE))
    mark = mail.new_id()
    assert send([f"From: {ALICE}\r\nMessage-ID: {mark}\r\n\r\nhello\r\n"])[0][0] == 250
    received([mark])


def test_milters_listen_on_ports_by_choice_and_leave_none_behind(lab, mail, header, run, mended):
    gateway = lab.gateways[0]
    tags = "opendkim,dmarc,clamav,postfix"
    try:
        run(gateway, tags, mail_milter_sockets="inet")
        assert "inet:127.0.0.1:8894" in gateway.out("postconf", "-h", "smtpd_milters").replace(" ", "")
        (said,) = mail.offer(gateway, [("<carol@sender.example>", f"<{ALICE}>", f"{header}\r\n{EICAR}\r\n")])
        assert said.startswith("550 5.7.1 refused by ClamAV")
        mail.wait_for(ALICE, mail.send(gateway.mail_ipv4, ALICE))
        assert added(gateway) - mended == {"port milter_port_t tcp 8892", "port milter_port_t tcp 8894"}
    finally:
        run(gateway, tags)


def test_postscreen_keeps_its_cache_by_choice(lab, mail, run, mended):
    gateway = lab.gateways[0]
    try:
        run(gateway, "postfix", mail_postscreen=True)
        assert added(gateway) - mended == {"module gatehouse_postfix_cache"}
        mail.wait_for(ALICE, mail.send(gateway.mail_ipv4, ALICE))
        assert "PASS NEW" in gateway.mail_log()
    finally:
        run(gateway, "postfix")


def test_nothing_of_ours_was_denied(machines):
    for host in machines:
        assert "lost 0\n" in host.out("auditctl", "-s")
        oldest = host.out("sh", "-c", "ls -t /var/log/audit/audit.log* | tail -1").strip()
        assert host.out("head", "-1", oldest) == host.out("head", "-1", "/var/log/audit/bare")
    assert {host.name: denials(host) for host in machines} == {host.name: {} for host in machines}


@pytest.mark.usefixtures("mended")
def test_without_its_label_the_judge_is_out_of_reach(lab, mail, header, run):
    gateway = lab.gateways[0]
    gateway.out("semanage", "fcontext", "--delete", JUDGE)
    gateway.out("restorecon", JUDGE)
    gateway.out("systemctl", "restart", "gatehouse-dmarc")
    (said,) = mail.offer(gateway, [("<carol@sender.example>", f"<{ALICE}>", f"{header}\r\nhello\r\n")])
    assert said.startswith("451 4.7.1")
    assert {"connectto", "write"} & {right for source, *_to, right in denials(gateway) if source == "postfix_smtpd_t"}
    assert "Teach SELinux" in run(gateway, "dmarc")
    mail.wait_for(ALICE, mail.send(gateway.mail_ipv4, ALICE))


@pytest.mark.usefixtures("mended")
def test_a_file_that_lost_its_label_is_given_it_back(lab, mail, run):
    gateway = lab.gateways[0]
    gateway.out("chcon", "--type=usr_t", JUDGE)
    assert run(gateway, "dmarc") >= {"Teach SELinux", "Restart the judge"}
    assert ":greylist_milter_exec_t:" in gateway.out("stat", "--format=%C", JUDGE)
    mail.wait_for(ALICE, mail.send(gateway.mail_ipv4, ALICE))


@pytest.mark.usefixtures("mended")
def test_without_its_module_postfix_cannot_speak_to_stunnel(lab, mail, run, wait):
    gateway = lab.gateways[0]
    gateway.out("semodule", "--remove=gatehouse_lmtp")
    mark = mail.send(gateway.mail_ipv4, ALICE)
    wait(lambda: [message for message in gateway.queue() if message["queue_name"] == "deferred"], 30, "mail that waits")
    assert "postfix_smtp_t" in {source for source, *_rest in denials(gateway)}
    assert "Teach SELinux" in run(gateway, "stunnel")
    gateway.out("postqueue", "-f")
    mail.wait_for(ALICE, mark)


@pytest.mark.usefixtures("mended")
def test_without_its_port_nobody_submits(lab, smtp, run):
    """The kernel asks for its label outside the range alone from which it gives ports; a refusal is not logged."""
    gateway = lab.gateways[0]
    taken = gateway.out("sysctl", "-n", RANGE).strip()
    gateway.out("sysctl", "-w", f"{RANGE}=40000 60999")
    try:
        gateway.out("semanage", "port", "--delete", "--proto", "tcp", "32841")
        gateway.run("systemctl", "restart", "postfix", check=False)
        assert smtp(gateway.mail_vpn_address, "QUIT", client=lab.client, port=32841) == ["ConnectionRefusedError"]
        denied = in_log(gateway, "/var/log/audit/audit.log*")
        assert ("postfix_master_t", "name_bind") in {(source, right) for source, *_to, right in denied}
        assert "Label the ports for SELinux" in run(gateway, "platform,postfix")
        assert smtp(gateway.mail_vpn_address, "QUIT", client=lab.client, port=32841)[0].startswith("220 ")
    finally:
        gateway.out("sysctl", "-w", f"{RANGE}={taken}")


@pytest.mark.usefixtures("mended")
def test_without_its_boolean_clamd_reads_no_file(lab, run):
    gateway = lab.gateways[0]
    try:
        gateway.out("sh", "-c", "mkdir -p /srv/scan; echo harmless > /srv/scan/file; chmod -R a+rX /srv/scan")
        assert gateway.out("python3", "-c", SCAN).endswith("OK\n\n")
        gateway.out("semanage", "boolean", "--modify", "--off", "antivirus_can_scan_system")
        assert gateway.out("python3", "-c", SCAN).endswith("ERROR\n\n")
        assert "clamd_t" in {source for source, *_rest in denials(gateway)}
        assert "Teach SELinux" in run(gateway, "clamav")
        assert gateway.out("python3", "-c", SCAN).endswith("OK\n\n")
    finally:
        gateway.out("rm", "-rf", "/srv/scan")


def test_what_is_switched_off_is_taken_back(lab, mail, run, mended):
    gateway = lab.gateways[0]
    assert "boolean antivirus_can_scan_system" in mended
    try:
        run(gateway, "clamav,postfix", mail_virus_scanner=False)
        assert not [line for line in added(gateway) if "antivirus" in line or "clam" in line]
        mail.wait_for(ALICE, mail.send(gateway.mail_ipv4, ALICE))
    finally:
        run(gateway, "clamav,postfix")
