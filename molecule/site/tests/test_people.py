"""People send through their mail host: over TLS, after a login, as themselves; and their mail leaves by all
gateways."""

from __future__ import annotations

import base64
import collections
import contextlib
import email
import re
import time
import uuid

import pytest
from lab.mail import DOORS, EICAR

STARTTLS, SUBMISSIONS, GATEWAYS_PORT = 587, 465, 32841
ALICE, BOB, DAVE = "alice@example.org", "bob@example.org", "dave@sender.example"
SOON = 60  # seconds
HELLO = "EHLO client.example.org"
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


# In


@pytest.mark.enforcing
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


def test_what_its_owner_sends_as_an_alias_is_outside_as_the_alias_s(mail, published, send, received, verifies):
    mark = mail.new_id()
    text = HEADER.replace(ALICE, "Info <info@example.org>", 1) + f"Message-ID: {mark}\r\n\r\nhello\r\n"
    assert send([text], sender="info@example.org")[0][0] == 250
    message = received([mark])[mark]
    parsed = email.message_from_bytes(message)
    assert (parsed["Return-Path"], parsed["From"]) == ("<info@example.org>", "Info <info@example.org>")
    assert verifies(message)


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
        (BOB, "sales@example.org", "250"),  # by mail_sender_addresses
        (ALICE, "sales@example.org", "553"),
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


def test_each_gateway_takes_a_password_of_its_own_and_no_other(lab, smtp, vault):
    login = f"submission@{lab.store.name}"
    rows = lab.store.out("postmap", "-s", "lmdb:/etc/postfix/gateway_passwords").splitlines()
    passwords = dict(row.split("\t" + login + ":") for row in rows)
    assert set(passwords) == {gateway.name for gateway in lab.gateways}
    secret = vault["vault_mail_login_passwords"][login]
    for gateway in lab.gateways:
        for other, password in [*passwords.items(), ("the secret itself", secret)]:
            said = (HELLO, "STARTTLS", HELLO, plain(login, password), "QUIT")
            replies = smtp(gateway.mail_vpn_address, *said, client=lab.client, port=32841)
            assert replies[4][:3] == ("235" if other == gateway.name else "535"), (gateway.name, other)
    for host in (*lab.gateways, lab.store):
        assert (
            host.run("grep", "--recursive", "--files-with-matches", "--text", secret, "/etc", check=False).stdout == ""
        )


@pytest.mark.parametrize("port", [STARTTLS, SUBMISSIONS])
def test_odd_line_ends_leave_as_one_message_or_not_at_all(lab, published, people, as_one, port):
    assert "\r\n..\r\n" in as_one(lambda lines: people(*lines, port=port)[1:])


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


@pytest.fixture
def waits(lab, mail, send, arrived, wait):
    """waits(reason): messages for the world stay on the mail host for it, and nothing is returned; they are outside
    once the with statement has ended."""

    @contextlib.contextmanager
    def hold(reason, count=8):
        before, to = returned(lab), f"{uuid.uuid4().hex}@sender.example"
        marks = [mail.new_id() for _number in range(count)]
        texts = [f"{HEADER}TLS-Required: no\r\nMessage-ID: {mark}\r\n\r\nhello\r\n" for mark in marks]
        assert {code for code, _text in send(texts, recipient=to)} == {250}

        def reasons():
            recipients = [recipient for entry in lab.store.queue() for recipient in entry["recipients"]]
            return [recipient.get("delay_reason", "") for recipient in recipients if recipient["address"] == to]

        wait(lambda: [reason in said for said in reasons()] == [True] * count, SOON, f"all messages to wait: {reason}")
        yield
        wait(lambda: all(arrived(marks).values()), SOON, f"{count} messages outside")
        assert set(arrived(marks).values()) == {1}
        assert returned(lab) == before

    return hold


@pytest.mark.stress
def test_mail_waits_while_the_name_of_the_gateways_is_gone(lab, waits):
    """The resolver says that there is no such name, then that the name has no records; and then it does not answer."""
    store = lab.store
    name = store.out("postconf", "-h", "relayhost").partition(":")[0]
    try:
        store.out("unbound-control", "local_data_remove", name)
        with waits("Host not found"):
            store.out("unbound-control", "local_data", f"{name}. 60 IN TXT gone")
            with waits("Host found but no data record"):
                store.out("systemctl", "stop", "unbound")
                store.out("postqueue", "-f")
                time.sleep(20)
                assert len(store.queue()) == 16
                store.out("systemctl", "start", "unbound")  # which knows the name again
    finally:
        store.out("systemctl", "restart", "unbound")


@pytest.fixture
def forged(lab):
    """show(gateway): it shows a certificate of another CA, for its name, on the submission port; back(): no more."""
    made = "/etc/pki/gatehouse/forged"

    def show(gateway):
        gateway.out(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
            "-subj", f"/CN={gateway.name}", "-addext", f"subjectAltName=DNS:{gateway.name}",
            "-keyout", f"{made}.key", "-out", f"{made}.crt",
        )  # fmt: skip
        service = f"{gateway.mail_vpn_address}:{GATEWAYS_PORT}/inet"
        gateway.out("postconf", "-P", f"{service}/smtpd_tls_chain_files={made}.key,{made}.crt")
        gateway.reload_postfix()

    def back():
        for gateway in lab.gateways:
            gateway.out("rm", "-f", f"{made}.key", f"{made}.crt")
            gateway.out("cp", "/etc/postfix/candidate/master.cf", "/etc/postfix/master.cf")
            gateway.reload_postfix()

    yield show, back
    back()


@pytest.mark.stress
def test_no_mail_goes_to_a_gateway_with_the_certificate_of_another_ca(lab, burst, waits, forged):
    show, back = forged
    first, second = lab.gateways
    show(first)
    assert burst(20)[first.name] == 0
    show(second)
    with waits("Server certificate not"):
        back()


@pytest.mark.stress
def test_no_mail_goes_while_the_gateways_refuse_the_password(lab, waits):
    store, table = lab.store, "/etc/postfix/gateway_passwords"
    text = store.out("cat", table)

    def use(content):
        store.run("tee", table, given=content)
        store.out("postmap", f"lmdb:{table}")
        store.reload_postfix()

    use(f"{text.rstrip()}x\n")
    try:
        with waits("SASL authentication failed"):
            use(text)
    finally:
        use(text)


def run_site(lab, **variables):
    """site.yml for the mail host, as who changed its people would run it."""
    lab.site(tags="dovecot,submission,dmarc", limit=lab.store.name, **variables)


@pytest.mark.stress  # two runs of site.yml
def test_a_changed_password_holds_as_soon_as_the_run_has_ended(lab, doors, vault):
    old, new = lab.store.lab_passwords[BOB], "correct horse bob has changed"
    assert [doors(BOB, password) for password in (old, new)] == [DOORS, []]  # and Dovecot remembers both
    made = lab.store.out("doveadm", "pw", "-s", "BLF-CRYPT", "-p", new).strip()
    hashes = {**vault["vault_mail_password_hashes"], BOB: made}
    try:
        run_site(lab, vault_mail_password_hashes=hashes)
        assert [doors(BOB, password) for password in (old, new)] == [[], DOORS]
    finally:
        run_site(lab)
    assert [doors(BOB, password) for password in (old, new)] == [DOORS, []]


@pytest.mark.stress  # two runs of site.yml
def test_a_removed_mailbox_takes_no_login_as_soon_as_the_run_has_ended(lab, doors, people, vault):
    password = lab.store.lab_passwords[BOB]

    def told():
        """What Alice is told when she writes to him."""
        return people(f"MAIL FROM:<{ALICE}>", f"RCPT TO:<{BOB}>", "QUIT")[2][:3]

    assert (doors(BOB, password), told()) == (DOORS, "250")
    logins = {"mail_logins": {ALICE: ALICE, "store@example.org": "@example.org"}}
    secrets = ("vault_mail_password_hashes", "vault_mail_login_passwords")
    without = {"mail_mailboxes": [ALICE], "mail_mailbox_quotas": {}, **logins}
    without |= {key: {login: secret for login, secret in vault[key].items() if login != BOB} for key in secrets}
    try:
        run_site(lab, **without)
        assert (doors(BOB, password), told()) == ([], "550")
        assert doors(ALICE, lab.store.lab_passwords[ALICE]) == DOORS
    finally:
        run_site(lab)
    assert (doors(BOB, password), told()) == (DOORS, "250")
