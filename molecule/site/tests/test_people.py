"""People send through their mail host: over TLS, after a login, as themselves; and their mail leaves by all
gateways."""

from __future__ import annotations

import base64
import collections
import email
import json
import re
import time

import pytest

STARTTLS, SUBMISSIONS = 587, 465
ALICE, BOB, DAVE = "alice@example.org", "bob@example.org", "dave@sender.example"
SOON = 60  # seconds
HELLO = "EHLO client.example.org"
EICAR = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
HEADER = f"From: {ALICE}\r\nTo: {DAVE}\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\nSubject: hello\r\n"


def plain(login, password):
    return "AUTH PLAIN " + base64.b64encode(f"\0{login}\0{password}".encode()).decode()


@pytest.fixture(scope="module", autouse=True)
def no_guesses_counted(lab):
    """The tests give wrong passwords, and log in more often than a person."""
    lab.store.out("postconf", "-e", "smtpd_client_auth_rate_limit=0")
    lab.store.reload_postfix()
    yield
    lab.store.out("cp", "/etc/postfix/candidate/main.cf", "/etc/postfix/main.cf")
    lab.store.reload_postfix()


@pytest.fixture(scope="module")
def people(lab, smtp):
    """people(line, ..., login=, password=, port=): the last reply line to the login under TLS and to each line."""

    def hold(*lines, login=ALICE, password=None, port=STARTTLS):
        said = plain(login, password or lab.store.lab_passwords[login])
        before = [HELLO, said] if port == SUBMISSIONS else [HELLO, "STARTTLS", HELLO, said]
        tls = port == SUBMISSIONS
        replies = smtp(lab.store.mail_vpn_address, *before, *lines, client=lab.client, port=port, tls=tls)
        return replies[len(before) :]

    return hold


@pytest.fixture(scope="module")
def send(lab):
    """send(texts, login=, sender=, recipient=, port=): [code, text] for each of these messages."""

    def submit(texts, login=ALICE, sender=None, recipient=DAVE, port=STARTTLS):
        packed = [
            {"sender": sender or login, "recipient": recipient,
             "content": base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()}
            for text in texts
        ]  # fmt: skip
        store = lab.store
        order = {"host": store.name, "address": store.mail_vpn_address, "port": port, "messages": packed}
        order |= {"ca": store.out("cat", "/etc/pki/gatehouse/ca.crt"), "login": login}
        return lab.client.python("submit.py", {**order, "password": store.lab_passwords[login]})

    return submit


# In


@pytest.mark.parametrize("port", [STARTTLS, SUBMISSIONS])
def test_what_alice_sends_is_outside_and_signed_with_both_keys(lab, mail, published, send, received, verifies, port):
    mark = mail.new_id()
    assert send([f"{HEADER}Message-ID: {mark}\r\n\r\nhello\r\n"], port=port)[0][0] == 250
    message = received([mark])[mark]
    made = [str(value) for value in email.message_from_bytes(message).get_all("DKIM-Signature", [])]
    assert sorted(re.search(r"a=(\S+);", value)[1] for value in made) == ["ed25519-sha256", "rsa-sha256"]
    assert [verifies(message, index) for index in (0, 1)] == [True, True]
    head = message.partition(b"\r\n\r\n")[0].decode()
    for secret in (lab.client.lab_vpn_address, "client.example.org"):
        assert secret not in head


def test_what_is_for_bob_is_in_his_mailbox_and_saw_no_gateway(lab, mail, send):
    mark = mail.new_id()
    assert send([f"{HEADER}Message-ID: {mark}\r\n\r\nhello\r\n"], recipient="bob+list@example.org")[0][0] == 250
    text = mail.wait_for(BOB, mark)
    assert not [gateway.name for gateway in lab.gateways if gateway.name in text]


def test_an_alias_of_the_site_is_one_here(mail, send):
    mark = mail.new_id()
    text = f"From: {BOB}\r\nTo: info@example.org\r\nMessage-ID: {mark}\r\n\r\nhello\r\n"
    assert send([text], login=BOB, recipient="info@example.org")[0][0] == 250
    assert "Date: " in mail.wait_for(ALICE, mark)


@pytest.mark.parametrize("port", [STARTTLS, SUBMISSIONS])
def test_a_wrong_password_is_refused(people, port):
    assert people("QUIT", password="correct horse alice guesses", port=port)[0][:3] == "535"
    assert people("QUIT", login="nobody-here@example.org", password="x", port=port)[0][:3] == "535"
    assert people("QUIT", port=port)[0][:3] == "235"


def test_nothing_goes_before_tls_or_without_a_login(lab, smtp):
    store = lab.store
    said = (plain(ALICE, store.lab_passwords[ALICE]), f"MAIL FROM:<{ALICE}>")
    replies = smtp(store.mail_vpn_address, HELLO, *said, "QUIT", client=lab.client, port=STARTTLS)
    assert [reply[:3] for reply in replies[2:4]] == ["530", "530"]
    lines = (HELLO, f"MAIL FROM:<{ALICE}>", f"RCPT TO:<{BOB}>", "QUIT")
    replies = smtp(store.mail_vpn_address, *lines, client=lab.client, port=SUBMISSIONS, tls=True)
    assert replies[3].startswith("554 5.7.1 ")


@pytest.mark.parametrize(
    ("login", "sender", "code"),
    [
        (ALICE, ALICE, "250"),
        (ALICE, "alice+shop@example.org", "250"),
        (ALICE, "info@example.org", "250"),  # an alias of hers alone
        (ALICE, "", "250"),  # a notice of her program's
        (ALICE, BOB, "553"),
        (ALICE, "nobody-here@example.org", "553"),
        (ALICE, "alice@sender.example", "553"),
        (BOB, "info@example.org", "553"),
        (BOB, BOB, "250"),
    ],
)
def test_a_person_sends_as_himself(people, login, sender, code):
    replies = people(f"MAIL FROM:<{sender}>", f"RCPT TO:<{DAVE}>", "QUIT", login=login)
    assert (replies[0][:3], replies[2][:3]) == ("235", code)


@pytest.mark.parametrize("recipient", [BOB, DAVE])
@pytest.mark.parametrize(
    ("author", "code"),
    [(ALICE, 250), ("Info <info@example.org>", 250), (BOB, 550), (f"{ALICE}, {BOB}", 550), ("ceo@sender.example", 550)],
)
def test_the_from_field_is_of_who_logged_in(mail, send, author, code, recipient):
    """Also in what never leaves the mail host."""
    text = HEADER.replace(ALICE, author, 1) + f"Message-ID: {mail.new_id()}\r\n\r\nhello\r\n"
    assert send([text], recipient=recipient)[0][0] == code


def test_recipients_that_cannot_be_are_refused_at_once(people):
    recipients = ("nobody-here@example.org", "dave@no-such.example", BOB, "info@example.org", DAVE)
    replies = people(f"MAIL FROM:<{ALICE}>", *(f"RCPT TO:<{recipient}>" for recipient in recipients), "QUIT")
    assert [reply[:3] for reply in replies[2:7]] == ["550", "450", "250", "250", "250"]


def test_nobody_answers_on_the_internet_nor_on_port_25(lab):
    knock = "timeout 3 bash -c 'head -1 < /dev/tcp/{}/{}'"
    for address in (lab.store.lab_address4, lab.store.lab_address6):
        for port in (STARTTLS, SUBMISSIONS, 25):
            assert "220 " not in lab.internet.run("sh", "-c", knock.format(address, port), check=False).stdout
    assert "220 " in lab.client.out("sh", "-c", knock.format(lab.store.mail_vpn_address, STARTTLS))
    listening = lab.store.out("ss", "--no-header", "--listening", "--tcp", "--numeric").split()
    ours = [word for word in listening if re.search(r":(?:25|465|587)$", word)]
    assert sorted(ours) == [f"{lab.store.mail_vpn_address}:{port}" for port in (SUBMISSIONS, STARTTLS)]


def test_sockets_and_passwords_are_postfix_own(lab):
    modes = {
        "/var/spool/postfix/private/auth": "600 postfix",
        "/var/spool/postfix/private/dovecot-lmtp": "600 postfix",
        "/etc/postfix/gateway_passwords": "600 root",
        "/etc/postfix/gateway_passwords.lmdb": "600 root",
    }
    for path, mode in modes.items():
        assert lab.store.out("stat", "--format=%a %U", path).strip() == mode, path


# What is no end of data, and what only looks like a line's end.
ENDINGS = ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\n.\r", "\r.\r\n", "\r.\n", "\r\n\0.\r\n", "\r\n..\r\n"]


@pytest.mark.parametrize("port", [STARTTLS, SUBMISSIONS])
def test_odd_line_ends_arrive_as_one_message_or_not_at_all(mail, people, port):
    seconds = []
    envelope = (f"MAIL FROM:<{ALICE}>", f"RCPT TO:<{BOB}>", "DATA")
    header = f"From: {ALICE}\r\nTo: {BOB}\r\nSubject: one\r\nMessage-ID: {{}}\r\n\r\n"
    for ending in ENDINGS:
        seconds.append(mail.new_id())
        text = header.format(mail.new_id()) + "one" + ending
        text += "\r\n".join(envelope) + "\r\n" + header.format(seconds[-1]) + "two\r\n.\r\n"
        people(*envelope, {"raw": text}, port=port)
    last = mail.new_id()
    people(*envelope, header.format(last) + "three\r\n.", "QUIT", port=port)
    mail.wait_for(BOB, last)
    assert set(mail.arrived(seconds).values()) == {0}


# Out


@pytest.fixture
def arrived(lab):
    """arrived(marks): how often each of them is in the receiver's mailbox outside."""

    def count(marks):
        lines = lab.internet.out("sh", "-c", "grep -rhi '^message-id:' /home/world/Maildir || true").splitlines()
        found = collections.Counter(line.partition(":")[2].strip() for line in lines)
        return {mark: found[mark] for mark in marks}

    return count


@pytest.fixture
def burst(lab, mail, send, arrived, received, wait):
    """burst(count, within=seconds): so many messages to the world, each outside once; how many each gateway took."""

    def leave(count, within=SOON):
        before = returned(lab)
        marks = [mail.new_id() for _number in range(count)]
        texts = [f"{HEADER}Message-ID: {mark}\r\n\r\nhello\r\n" for mark in marks]
        started = time.monotonic()
        assert {code for code, _text in send(texts)} == {250}
        wait(lambda: all(arrived(marks).values()), within, f"{count} messages outside")
        print(f"{count} messages outside within {time.monotonic() - started:.0f} s")
        assert set(arrived(marks).values()) == {1}
        assert returned(lab) == before
        hops = [" ".join(email.message_from_bytes(text).get_all("Received")) for text in received(marks).values()]
        taken = {gateway.name: sum(f"from {gateway.name} " in hop for hop in hops) for gateway in lab.gateways}
        print(taken)
        return taken

    return leave


def returned(lab):
    """How many messages the mail host returned to who sent them."""
    return lab.store.mail_log().count("status=bounced")


def test_every_gateway_takes_some(burst):
    taken = burst(40)
    assert sum(taken.values()) == 40
    assert min(taken.values()) > 0


@pytest.mark.stress
def test_the_gateways_share_the_mail(burst):
    taken = burst(200)
    assert sum(taken.values()) == 200
    assert 60 <= min(taken.values()) <= max(taken.values()) <= 140


ABSENCES = {
    "stopped": ("systemctl stop postfix", "systemctl start postfix"),
    "hung": ("systemctl kill --signal=STOP postfix", "systemctl kill --signal=CONT postfix"),
    "black-holed": (
        "firewall-cmd --zone=drop --change-interface=vpn0",
        "firewall-cmd --zone=vpn --change-interface=vpn0",
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "stopped" else pytest.mark.stress) for name in ABSENCES]
)
def test_a_gateway_that_is_away_holds_up_no_mail(lab, burst, name):
    away, back = (command.split() for command in ABSENCES[name])
    gateway = lab.gateways[0]  # whose unit is all of Postfix
    gateway.out(*away)
    try:
        taken = burst(40 if name == "stopped" else 200)
    finally:
        gateway.out(*back)
    assert taken[gateway.name] == 0


def test_a_gateway_that_does_not_know_whom_the_mail_host_may_write_as_returns_nothing(lab, burst):
    """As it is before its turn, when a domain is new: what it refuses leaves by another one."""
    gateway = lab.gateways[0]
    gateway.out("postconf", "-e", "smtpd_sender_login_maps=static:somebody-else")
    gateway.reload_postfix()
    try:
        taken = burst(8, within=240)  # each is tried again within 30 s, and then it may be the same gateway
    finally:
        gateway.out("cp", "/etc/postfix/candidate/main.cf", "/etc/postfix/main.cf")
        gateway.reload_postfix()
    assert taken[gateway.name] == 0
    assert "not owned by user" in lab.store.mail_log()


def test_what_a_gateway_says_of_the_message_comes_back_to_who_wrote_it(lab, mail, send, wait):
    before = returned(lab)
    text = f"{HEADER}Message-ID: {mail.new_id()}\r\n\r\n{EICAR}\r\n"
    assert send([text])[0][0] == 250
    wait(lambda: returned(lab) == before + 1, SOON, "the virus to come back")
    assert "refused by ClamAV" in lab.store.mail_log()


def test_programs_of_the_host_send_as_nobody_but_root(lab, mail):
    mark = mail.new_id()
    text = f"From: {BOB}\nTo: {ALICE}\nMessage-ID: {mark}\n\nhello\n"
    command = ("sendmail", "-f", BOB, ALICE)
    refused = lab.store.run("runuser", "-u", "nobody", "--", *command, given=text, check=False)
    assert refused.returncode != 0
    lab.store.out(*command, given=text)
    mail.wait_for(ALICE, mark)


@pytest.mark.stress
def test_without_any_gateway_mail_waits_and_leaves_when_one_is_back(lab, mail, send, arrived, wait):
    before = returned(lab)
    marks = [mail.new_id() for _number in range(10)]
    for gateway in lab.gateways:
        gateway.out("systemctl", "stop", "postfix")
    try:
        assert {code for code, _text in send([f"{HEADER}Message-ID: {mark}\r\n\r\nhello\r\n" for mark in marks])} == {
            250
        }
        time.sleep(45)  # as long as its tries become rare
        assert len(lab.store.queue()) == 10
        lab.gateways[1].out("systemctl", "start", "postfix")
        wait(lambda: all(arrived(marks).values()), SOON, "10 messages outside")
    finally:
        for gateway in lab.gateways:
            gateway.out("systemctl", "start", "postfix")
    assert set(arrived(marks).values()) == {1}
    assert returned(lab) == before


@pytest.mark.stress  # two runs of site.yml
def test_a_changed_password_holds_as_soon_as_the_run_has_ended(lab, people, vault):
    old, new = lab.store.lab_passwords[BOB], "correct horse bob has changed"

    def run(*more):
        results = lab.playbook("playbooks/site.yml", "--tags", "dovecot", "--limit", lab.store.name, *more)
        assert [result for result in results if result.get("failed")] == []

    def answers():
        return [people("QUIT", login=BOB, password=password)[0][:3] for password in (old, new)]

    assert answers() == ["235", "535"]  # and Dovecot remembers both
    made = lab.store.out("doveadm", "pw", "-s", "BLF-CRYPT", "-p", new).strip()
    hashes = {**vault["vault_mail_password_hashes"], BOB: made}
    try:
        run("--extra-vars", json.dumps({"vault_mail_password_hashes": hashes}))
        assert answers() == ["535", "235"]
    finally:
        run()
    assert answers() == ["235", "535"]
