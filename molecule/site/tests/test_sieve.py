"""Mail is filed at delivery: marked mail into Junk, the rest as its reader's script says; and no script sends."""

from __future__ import annotations

import json
import uuid

import pytest

BOB = "bob@example.org"
HOME = "/var/spool/dovecot/vmail/example.org/bob"
CONF, JUNK = "/etc/dovecot/dovecot.conf", "/etc/dovecot/sieve/junk.sieve"
# Runs on a gateway, as Postfix would speak: messages straight to the mail host, one for each of the senders.
DELIVER = """
import json, smtplib, sys
order = json.load(sys.stdin)
with smtplib.LMTP(order["socket"]) as client:
    for sender in order["senders"]:
        client.sendmail(sender, [order["to"]], "From: <" + sender + ">\\r\\n" + order["text"])
print("null")
"""
# New ones in each run, since vacation writes once a day to each.
FORGED = [f"{uuid.uuid4().hex}@sender.example" for _number in range(200)]
# What would send: {name: (what the script requires, what it does)}. All but redirect are extensions.
ACTIONS = {
    "redirect": ([], 'redirect "forged@sender.example"; keep;'),
    "reject": (["reject"], 'reject "no";'),
    "ereject": (["ereject"], 'ereject "no";'),
    "vacation": (["vacation"], 'vacation :days 1 :addresses "bob@example.org" "away";'),
    "enotify": (["enotify"], 'notify "mailto:forged@sender.example"; keep;'),
}
# A mail program for Dovecot that writes down to whom it would send. Dovecot has a /tmp of its own.
SENT = "/run/sent"
RECORDER = f'#!/bin/sh\necho "$@" >> {SENT}\ncat > /dev/null\n'


def script_of(action):
    extensions, does = ACTIONS[action]
    return f"require {json.dumps(extensions)};\n{does}\n" if extensions else f"{does}\n"


def put(text, name="mine"):
    return f'PUTSCRIPT "{name}" {{{len(text.encode())}+}}\r\n{text}'


@pytest.fixture
def bobs(lab):
    """Bob's home on the mail host, where no script is before the test and after it."""
    clear = ["rm", "-rf", f"{HOME}/sieve", f"{HOME}/.dovecot.sieve", f"{HOME}/.dovecot.svbin"]
    lab.store.out(*clear)
    yield HOME
    lab.store.out(*clear)


@pytest.fixture
def deliver(lab):
    """deliver(senders, header lines): messages to Bob, by the way from a gateway; the subject that all of them have."""

    def send(senders, *lines, to=BOB):
        mark = uuid.uuid4().hex
        text = "".join(f"{line}\r\n" for line in (f"To: {to}", f"Subject: {mark}", *lines, "", "hello"))
        order = {"socket": f"/run/gatehouse-lmtp/{lab.store.name}", "senders": senders, "to": to, "text": text}
        lab.gateways[0].out("python3", "-c", DELIVER, given=json.dumps(order))
        return mark

    return send


@pytest.fixture
def count(lab):
    """count(mark, folder): how many of Bob's messages in a folder have it in their subject."""

    def find(mark, folder="INBOX"):
        command = ["doveadm", "-f", "tab", "fetch", "-u", BOB, "uid", "mailbox", folder, "subject", mark]
        return len(lab.store.out(*command).split()[1:])

    return find


@pytest.mark.enforcing
def test_a_script_that_its_reader_put_files_mail(managesieve, bobs, deliver, count):
    script = 'require ["fileinto", "mailbox"];\nif header :is "X-Test" "yes" { fileinto :create "Lists"; }\n'
    replies = managesieve(put(script), 'SETACTIVE "mine"', "LISTSCRIPTS", "LOGOUT")
    assert [reply.splitlines()[-1][:2] for reply in replies] == ["OK"] * 5, replies
    assert '"mine" ACTIVE' in replies[3]
    mark = deliver(["carol@sender.example"], "X-Test: yes")
    assert (count(mark, "Lists"), count(mark)) == (1, 0)
    mark = deliver(["carol@sender.example"], "X-Test: no")
    assert (count(mark, "Lists"), count(mark)) == (0, 1)
    assert managesieve(put("if nonsense {", "bad"))[1].startswith("NO")


def test_marked_mail_goes_to_junk_before_any_script_of_its_reader(lab, managesieve, bobs, deliver, count):
    managesieve(put('require "fileinto";\nfileinto "Archive";\n'), 'SETACTIVE "mine"')
    mark = deliver(["carol@sender.example"], "X-Spam-Flag: YES")
    assert (count(mark, "Junk"), count(mark, "Archive"), count(mark)) == (1, 0, 0)
    mark = deliver(["carol@sender.example"], "X-Spam-Flag: NO")
    assert (count(mark, "Junk"), count(mark, "Archive")) == (0, 1)
    # Compiled by the role, or Dovecot would say here that it may not write.
    assert "junk.svbin" not in lab.store.mail_log()


def test_a_stranger_s_own_mark_counts_for_nothing(gateway, mail, smtp, header):
    message_id = mail.new_id()
    smtp(
        gateway.mail_ipv4, "EHLO internet.sender.example", "MAIL FROM:<carol@sender.example>", f"RCPT TO:<{BOB}>",
        "DATA",
        f"{header}To: {BOB}\r\nX-Spam-Flag: YES\r\nMessage-ID: {message_id}\r\n\r\nhello\r\n.", "QUIT",
    )  # fmt: skip
    assert "X-Spam-Flag" not in mail.wait_for(BOB, message_id)  # in the inbox


def test_managesieve_takes_no_password_before_starttls(lab, managesieve):
    assert managesieve("LOGOUT")[0].startswith("OK")
    assert managesieve(tls=False)[0].startswith("NO")
    assert managesieve(password="wrong")[0].startswith("NO")
    probe = "import socket, sys; c = socket.create_connection((sys.argv[1], 4190), 10); print(c.recv(4096).decode())"
    greeting = lab.client.out("python3", "-c", probe, lab.store.mail_vpn_address)
    assert '"SASL" ""' in greeting
    assert '"STARTTLS"' in greeting


@pytest.mark.parametrize("extension", ["reject", "ereject", "vacation", "enotify", "editheader", "regex"])
def test_what_would_send_or_forge_is_refused_when_it_is_put(managesieve, bobs, extension):
    text = f'require "{extension}";\nkeep;\n'
    assert managesieve(put(text))[1].startswith("NO"), extension
    assert managesieve(put(text.replace(extension, "envelope")))[1].startswith("OK")


@pytest.fixture
def recorder(lab):
    """recorder(allowed): a function that gives what Dovecot sent, with a mail program that writes it down; with all of
    Sieve allowed, or as the site has it."""
    store = lab.store
    conf = store.out("cat", CONF)

    def use(allowed):
        lines = [line for line in conf.splitlines() if not allowed or "sieve_extensions" not in line]
        text = "\n".join([*lines, "sendmail_path = /usr/local/bin/recorder", ""])
        if allowed:
            text = text.replace("sieve_max_redirects = 0", "sieve_max_redirects = 4")
        store.run("tee", CONF, given=text)
        store.out("systemctl", "reload", "dovecot")
        store.out("sh", "-c", f"rm -f {SENT}; touch {SENT}; chmod 666 {SENT}")
        return lambda: store.out("cat", SENT).splitlines()

    store.run("tee", "/usr/local/bin/recorder", given=RECORDER)
    store.out("chmod", "755", "/usr/local/bin/recorder")
    yield use
    store.out("rm", "-f", "/usr/local/bin/recorder", SENT)
    store.run("tee", CONF, given=conf)
    store.out("systemctl", "reload", "dovecot")


@pytest.mark.parametrize("action", ACTIONS)
def test_no_script_sends_anything_to_forged_senders(lab, bobs, deliver, count, recorder, wait, action):
    """A script that came past ManageSieve. Each message is kept, and none is refused."""
    lab.store.run("tee", f"{bobs}/.dovecot.sieve", given=script_of(action))
    lab.store.out("chown", "vmail:vmail", f"{bobs}/.dovecot.sieve")
    sent = recorder(allowed=False)
    mark = deliver(FORGED)
    assert count(mark) == len(FORGED)
    assert sent() == []
    lab.store.out("doveadm", "expunge", "-u", BOB, "mailbox", "INBOX", "subject", mark)
    # The control: what is switched off would have sent.
    if action != "ereject":  # which refuses in LMTP, and leaves it to the gateway to tell the sender
        sent = recorder(allowed=True)
        deliver([f"{uuid.uuid4().hex}@sender.example"])
        wait(sent, 20, "what would have been sent")


@pytest.mark.parametrize("total", [8, pytest.param(200, marks=pytest.mark.stress)])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_script_writes_to_none_of_the_senders_that_strangers_forged(lab, bobs, mail, count, wait, action, total):
    """All the way from the internet by both gateways into the mailbox, and no host has mail for any of them."""
    mark, hosts = uuid.uuid4().hex, [*lab.gateways, lab.store]
    lab.store.run("tee", f"{bobs}/.dovecot.sieve", given=script_of(action).replace("forged@", f"{mark}-redirect@"))
    lab.store.out("chown", "vmail:vmail", f"{bobs}/.dovecot.sieve")
    for number, gateway in enumerate(lab.gateways):
        senders = [f"{mark}-{sender}@sender.example" for sender in range(number, total, len(lab.gateways))]
        header = f"To: {BOB}\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\nSubject: {mark}\r\n"
        texts = [f"From: {sender}\r\nMessage-ID: {mail.new_id()}\r\n{header}\r\nhello\r\n" for sender in senders]
        messages = [(f"<{sender}>", f"<{BOB}>", text) for sender, text in zip(senders, texts, strict=True)]
        replies = mail.offer(gateway, messages)
        assert [reply for reply in replies if not reply.startswith("250 ")] == []
    wait(lambda: count(mark) == total, 120, f"{total} messages in Bob's mailbox")
    wait(lambda: not any(host.queue() for host in hosts), 60, "empty queues")

    def logged(word):
        logs = [*(host.mail_log() for host in hosts), lab.internet.journal()]
        return [line for log in logs for line in log.splitlines() if f"{word}=<{mark}-" in line]

    wait(lambda: len(logged("from")) >= total, 20, "the logs to tell of these messages")  # the control
    assert logged("to") == []
