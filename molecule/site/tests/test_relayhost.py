"""All mail for the world leaves by one server, over TLS that is verified and with a login; off, nothing is left."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.stress  # it takes several runs of site.yml

HOST, LOGIN, PASSWORD = "internet.sender.example", "site@sender.example", "correct horse relays"
FOLDER, CRT, KEY, REQUEST = (f"/var/tmp/smarthost{end}" for end in ("", ".crt", ".key", ".csr"))
RELAY = {
    "mail_relayhost": {"host": HOST, "port": 465, "login": LOGIN},
    "vault_mail_relayhost_password": PASSWORD,
    "postfix_relayhost_ca_file": "/etc/pki/gatehouse/ca.crt",
}
BY_STARTTLS = {"mail_relayhost": {"host": HOST, "login": LOGIN}}  # at 587
SILENT = f"{FOLDER}.silent"
SERVER = (Path(__file__).parents[2] / "smarthost.py").read_text()
SIGN = """
umask 077; work=$(mktemp --directory); cat > $work/csr; echo subjectAltName=DNS:$2 > $work/extensions
openssl x509 -req -in $work/csr -CA $1/ca.crt -CAkey $1/ca.key -days 2 -set_serial 77 -extfile $work/extensions
rm -r $work
"""


def settings(host):
    return host.out("sh", "-c", "postconf -n; postconf -M; find /etc/postfix -type f | sort")


@pytest.fixture(scope="module")
def relayed(lab):
    """relayed(changes): the gateway with a relay host and these changes to it; without any of it in the end."""
    host = lab.gateways[0]

    def run(**variables):
        return lab.site(tags="postfix", limit=host.name, **variables)

    def use(changes):
        chosen = {**RELAY, **changes}
        run(**chosen)
        assert run(**chosen) == []
        return host

    before = settings(host)
    yield use
    run()
    assert settings(host) == before
    assert run() == []


@pytest.fixture(scope="module")
def smarthost(lab, state):
    """smarthost(number): the messages that it took with this Message-ID, as one text."""
    outside = lab.internet
    key = ("-newkey", "rsa:2048", "-nodes", "-keyout", KEY)
    outside.out("openssl", "req", "-new", *key, "-subj", f"/CN={HOST}", "-out", REQUEST)
    sign = ["sh", "-c", SIGN, "sign", str(state / "pki"), HOST]
    signed = subprocess.run(sign, input=outside.out("cat", REQUEST), capture_output=True, text=True, check=True).stdout
    outside.run("tee", CRT, given=signed)
    outside.out("mkdir", "-p", FOLDER)
    order = {"certificate": CRT, "key": KEY, "login": LOGIN, "password": PASSWORD, "folder": FOLDER, "silent": SILENT}
    outside.run("tee", f"{FOLDER}.json", given=json.dumps(order))
    outside.run("tee", f"{FOLDER}.py", given=SERVER)
    start = f"python3 {FOLDER}.py < {FOLDER}.json > {FOLDER}.log 2>&1 & echo $!"
    pid = outside.out("sh", "-c", start).strip()
    yield lambda number: outside.out("sh", "-c", f"grep -lFr '{number}' {FOLDER} | xargs -r cat")
    outside.out("kill", pid)
    outside.out("sh", "-c", f"rm -r {FOLDER} {FOLDER}.*")


# What is changed, and what the log says why the message waits; the first one is right, and it leaves.
CASES = {
    "as it should be": ({}, ""),
    "by STARTTLS": (BY_STARTTLS, ""),
    "another password": ({"vault_mail_relayhost_password": "correct horse guesses"}, "SASL authentication failed"),
    "a certificate of nobody's": ({"postfix_relayhost_ca_file": ""}, "Server certificate not verified"),
}


@pytest.mark.parametrize("case", CASES)
def test_mail_leaves_by_the_relay_host_that_is_verified_or_waits(lab, mail, submit, wait, smarthost, relayed, case):
    changes, why = CASES[case]
    gateway = relayed(changes)
    number = mail.new_id()
    text = f"TLS-Required: no\r\n{letter(number)}"
    try:
        assert submit(gateway, [text])[0][0] == 250
        if why:
            wait(lambda: why in gateway.mail_log(), 60, why)
            assert smarthost(number) == ""
        else:
            wait(lambda: smarthost(number), 60, "the message")
            assert smarthost(number).count("DKIM-Signature:") == 2
            assert gateway.out("stat", "--format=%a %U", "/etc/postfix/relayhost_password.lmdb").split() == [
                "600",
                "root",
            ]
    finally:
        gateway.out("postsuper", "-d", "ALL")
    # What comes in is as before.
    mail.wait_for("bob@example.org", mail.send(gateway.mail_ipv4, "bob@example.org"))
    assert PASSWORD not in gateway.out("postconf", "-n") + gateway.mail_log()


def letter(number):
    return f"From: alice@example.org\r\nTo: dave@sender.example\r\nMessage-ID: {number}\r\n\r\nhello\r\n"


def test_mail_waits_while_the_relay_host_offers_no_login(lab, mail, submit, wait, smarthost, relayed):
    """Without AUTH Postfix sends without a login, and is told 530."""
    gateway, number = relayed({}), mail.new_id()
    lab.internet.out("touch", SILENT)
    try:
        assert submit(gateway, [letter(number)])[0][0] == 250
        wait(lambda: any("530 5.7.0" in str(message) for message in gateway.queue()), 60, "the refusal")
        assert smarthost(number) == ""
    finally:
        lab.internet.out("rm", SILENT)
    gateway.out("postqueue", "-f")
    wait(lambda: smarthost(number), 60, "the message")


def test_no_mail_is_returned_while_the_relay_host_changes_and_goes(lab, mail, submit, wait, smarthost, relayed):
    gateway = relayed({})
    log = len(gateway.mail_log())
    chosen = json.dumps({**RELAY, **BY_STARTTLS})
    for more in (("--extra-vars", chosen), ()):
        run = ("playbooks/site.yml", "--limit", gateway.name, "--tags", "postfix", *more)
        process, numbers = lab.start_playbook(*run, output=subprocess.DEVNULL), []
        while process.returncode is None:
            numbers.append(mail.new_id())
            assert submit(gateway, [letter(numbers[-1])])[0][0] == 250
            with contextlib.suppress(subprocess.TimeoutExpired):  # a login has its limit in a minute
                process.wait(2)
        assert process.returncode == 0
        gateway.out("postqueue", "-f")  # what met the moment of the change waits for its next attempt
        if more:
            wait(lambda: all(map(smarthost, numbers)), 60, "all messages")  # noqa: B023
            assert gateway.out("cat", "/etc/postfix/relayhost_password").split() == [
                f"[{HOST}]:587",
                *f"{LOGIN}:{PASSWORD}".split(),
            ]
        wait(lambda: gateway.queue() == [], 60, "an empty queue")
    assert "status=bounced" not in gateway.mail_log()[log:]
