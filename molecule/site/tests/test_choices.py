"""What a site may choose otherwise: milters over TCP, opendmarc and policyd-spf, cron, a key of one's own, postscreen,
SpamAssassin, and a resolver that asks another one. Then all goes back."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

pytestmark = pytest.mark.stress
TAGS = "platform,unbound,opendkim,public_suffix_list,dmarc,opendmarc,spf,clamav,spamassassin,postfix"
TO = ("EHLO internet.sender.example", "MAIL FROM:<carol@sender.example>", "RCPT TO:<alice@example.org>")
# Talk before the greeting: standard input is {"host"}; standard output is the replies to the lines.
EARLY = """
import json, socket, sys
order = json.load(sys.stdin)
with socket.create_connection((order["host"], 25), 60, (order["source"], 0)) as connection:
    stream = connection.makefile()
    connection.sendall(b"EHLO internet.sender.example\\r\\n")
    connection.settimeout(60)
    greeting = stream.readline()
    while greeting[3:4] == "-":
        greeting = stream.readline()
    replies = [greeting]
    for line in order["lines"]:
        connection.sendall((line + "\\r\\n").encode())
    replies += stream.readlines()
print(json.dumps(replies))
"""
# In parts, lest a filter takes this file for spam.
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-" + "TEST-EMAIL*C.34X"
FORGED = "X-Spam-Flag: YES\r\nX-Spam-Status: Yes, score=99\r\n"
BROUGHT = "news-mx1"  # of mx1: the selector of a key that the operator brings


@pytest.fixture(scope="module")
def private_key():
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


@pytest.fixture(scope="module")
def chosen(lab, private_key):
    def digests():
        command = ("sh", "-c", "cat /etc/opendkim/keys/*_news-*.private | sha256sum")
        return [gateway.out(*command) for gateway in lab.gateways]

    before = digests()
    path = f"/etc/opendkim/keys/example.org_{BROUGHT}.private"
    lab.gateways[0].out("cp", "-p", path, "/root/kept")
    choices = {
        "mail_milter_sockets": "inet",
        "mail_dmarc_judge": "opendmarc",
        "mail_policyd_spf": True,
        "mail_postscreen": True,
        "mail_spamassassin": True,
        "unbound_forward_addresses": [lab["ns.example.net"].lab_address4],
        "public_suffix_list_refresh": "cron",
        "vault_mail_dkim_keys": {f"example.org/{BROUGHT}": private_key},
    }
    run = ("playbooks/site.yml", "--limit", "mail_gateways", "--tags", TAGS)
    results = lab.playbook(*run, "--diff", "--extra-vars", json.dumps(choices))
    assert not [result for result in results if result.get("failed")]
    assert private_key.splitlines()[1] not in json.dumps(results)
    yield
    lab.gateways[0].out("mv", "/root/kept", path)
    assert not [result for result in lab.playbook(*run) if result.get("failed")]
    assert digests() == before


def test_milters_over_tcp_carry_mail(lab, mail, gateway, chosen):
    assert gateway.out("postconf", "-hx", "smtpd_milters").count("inet:127.0.0.1:889") == 4
    text = mail.wait_for("alice@example.org", mail.send(gateway.mail_ipv4, "alice@example.org"))
    assert f"Authentication-Results: {gateway.name}; dmarc=" in text


def test_selinux_lets_the_milters_have_their_ports(lab, chosen):
    """EL's policy has three of them, and what it does not say is said in one transaction."""
    host = next(gateway for gateway in lab.gateways if gateway.family == "RedHat")
    ports = next(
        line for line in host.out("semanage", "port", "--list").splitlines() if line.startswith("milter_port_t")
    )
    assert {"8890", "8891", "8892", "8893", "8894", "8895"} <= set(ports.replace(",", " ").split())


# Sender, client, header lines; the victims have p=reject. {id} is the gateway's name.
DECEIVERS = {
    "an @ in quotes": ('<"a@reject.example"@sender.example>', 66, ["From: a@reject.example"]),
    "an @ in quotes, ours": ('<"a@example.org"@sender.example>', 66, ["From: ceo@example.org"]),
    "a source route": ("<@sender.example:a@reject.example>", 66, ["From: a@reject.example"]),
    "results": (
        "<ceo@example.org>",
        69,
        [
            "Authentication-Results: (;) {id}; dkim=pass header.d=example.org",
            "DKIM-Signature: v=9",
            "From: ceo@example.org",
        ],
    ),
    "results in pieces": (
        "<ceo@example.org>",
        69,
        ["Authentication-Results:\r\n {id}\r\n ; dkim=pass header.d=example.org", "From: ceo@example.org"],
    ),
    "Received-SPF": ("<ceo@example.org>", 69, ["Received-SPF: pass (x) receiver={id}", "From: ceo@example.org"]),
    "plainly": ("<ceo@example.org>", 69, ["From: ceo@example.org"]),
    "a From that shows another": ("<m@sender.example>", 66, ["From: ceo@example.org <m@sender.example>"]),
    "a From that is not closed": ("<m@sender.example>", 69, ["From: ceo@example.org>"]),
    "two addresses": ("<m@sender.example>", 66, ["From: ceo@example.org, m@sender.example"]),
}
HONEST = (
    "carol@sender.example",
    '"Carolson, Carol" <carol@sender.example>',
    "=?utf-8?q?C=C3=A4rol?= <carol@sender.example>",
)


@pytest.mark.parametrize("name", DECEIVERS)
def test_opendmarc_is_deceived_neither(lab, mail, message, gateway, chosen, published, name):
    sender, octet, header = DECEIVERS[name]
    text = message(mail.new_id(), [line.format(id=gateway.name) for line in header])
    (reply,) = mail.offer(gateway, [(sender, "<alice@example.org>", text)], source=lab.stranger(octet))
    assert reply[0] == "5", reply


@pytest.mark.parametrize("author", HONEST)
def test_with_opendmarc_honest_mail_comes_in(mail, message, gateway, chosen, author):
    mark = mail.new_id()
    offered = [("<carol@sender.example>", "<alice@example.org>", message(mark, [f"From: {author}"]))]
    assert mail.offer(gateway, offered)[0].startswith("250 ")
    assert b"dmarc=none" in mail.stored([mark])[mark]


def test_with_opendmarc_a_login_is_held_to_its_addresses(mail, gateway, submit, chosen):
    texts = [
        f"From: {who}\r\nMessage-ID: {mail.new_id()}\r\n\r\nhello\r\n"
        for who in ("alice@example.org", "bob@example.org")
    ]
    assert [code for code, _text in submit(gateway, texts)] == [250, 550]


def test_policyd_spf_says_what_it_found(mail, gateway, chosen):
    text = mail.wait_for("alice@example.org", mail.send(gateway.mail_ipv4, "alice@example.org"))
    assert "Received-SPF: Pass (mailfrom) identity=mailfrom" in text


def test_cron_refreshes_in_place_of_the_timer(gateway, chosen):
    assert "gatehouse-public-suffix-list" in gateway.out("cat", "/etc/cron.d/gatehouse-public-suffix-list")
    timer = gateway.run("systemctl", "is-active", "gatehouse-public-suffix-list.timer", check=False)
    assert timer.stdout == "inactive\n"


def test_a_key_that_the_operator_brings_is_there(lab, private_key, chosen):
    path = f"/etc/opendkim/keys/example.org_{BROUGHT}.private"
    assert lab.gateways[0].out("cat", path) == private_key
    assert lab.gateways[0].out("stat", "-c", "%a %U", path) == "600 opendkim\n"


@pytest.fixture
def header_of(mail, smtp, gateway, chosen, wait):
    """header_of(body, [more header lines], [folders=]): the header with which a stranger's message arrives there."""

    def deliver(body, more="", folders=("INBOX", "Junk")):
        message_id = mail.new_id()
        header = (
            "From: carol@sender.example\r\nTo: alice@example.org\r\nSubject: hello\r\n"
            f"Date: Wed, 25 Nov 2026 10:00:00 +0000\r\nMessage-ID: {message_id}\r\n{more}"
        )
        replies = smtp(gateway.mail_ipv4, *TO, "DATA", f"{header}\r\n{body}\r\n.", "QUIT")
        assert replies[-2].startswith("250 "), replies
        (text,) = wait(
            lambda: [
                text for folder in folders for text in mail.copies("alice@example.org", message_id, folder=folder)
            ],
            60,
            f"{message_id} in {folders}",
        )
        return text.replace("\r\n", "\n").partition("\n\n")[0]

    return deliver


def test_spam_is_marked_and_let_in(header_of):
    """And stands in Junk, where the mail host puts what is marked."""
    header = header_of(GTUBE, folders=["Junk"])
    assert "\nX-Spam-Flag: YES\n" in header
    assert "\nX-Spam-Status: Yes, " in header


def test_what_is_no_spam_is_marked_as_such_whatever_its_sender_says(header_of):
    header = header_of("an ordinary message", FORGED)
    assert "X-Spam-Flag" not in header
    assert "\nX-Spam-Status: No, " in header


@pytest.mark.parametrize(
    "fault, cure",
    [
        ("systemctl stop spamd", "systemctl start spamd"),
        ("systemctl kill --signal=STOP spamd", "systemctl kill --signal=CONT spamd"),
    ],
    ids=["stopped", "hung"],
)
def test_without_spamd_mail_is_let_in_unmarked(gateway, header_of, fault, cure):
    gateway.out("sh", "-c", fault)
    try:
        header = header_of(GTUBE, FORGED)
    finally:
        gateway.out("sh", "-c", cure)
    assert "X-Spam-" not in header
    assert "\nX-Spam-Flag: YES\n" in header_of(GTUBE)


@pytest.mark.parametrize(
    "fault",
    [
        "systemctl kill --kill-who=main --signal=KILL spamd",
        # A refresh that was cut short leaves a folder, which SpamAssassin prefers to its package's rules.
        "runuser -u $(systemctl show --property=User --value spamd) -- mkdir -p /var/lib/spamassassin/4.000001/x"
        " && systemctl restart spamd",
    ],
    ids=["killed", "with a refresh cut short"],
)
def test_spamd_comes_back_by_itself(gateway, header_of, wait, fault):
    gateway.out("sh", "-c", fault)
    wait(lambda: "\nX-Spam-Flag: YES\n" in header_of(GTUBE), 60, "spamd to mark again")


def test_without_its_milter_mail_is_let_in_unmarked(gateway, header_of):
    gateway.out("systemctl", "stop", "spamass-milter")
    try:
        header = header_of(GTUBE)
    finally:
        gateway.out("systemctl", "start", "spamass-milter")
    assert "X-Spam-" not in header


def test_postscreen_lets_pass_whom_it_knows_nothing_against(lab, smtp, mail, gateway, chosen):
    """Also .70, which one list has and another one trusts, and the client on the VPN, which a list has as well."""
    mail.wait_for("alice@example.org", mail.send(gateway.mail_ipv4, "alice@example.org"))
    assert smtp(gateway.mail_ipv4, *TO, source=lab.stranger(70))[-1].startswith("250 ")
    assert smtp(gateway.mail_vpn_address, *TO, client=lab.client)[-1].startswith("250 ")
    assert smtp(gateway.mail_ipv4, *TO, source=lab.stranger(71))[-1].endswith("nothing good ever came from here")


@pytest.mark.parametrize("octet, zone", [(67, "bl.example"), (76, "keyed.example")])
def test_postscreen_refuses_who_is_listed(lab, smtp, gateway, chosen, octet, zone):
    """smtpd would say 554. The second list wants a key, which the resolver puts in though it asks another one."""
    reply = smtp(gateway.mail_ipv4, *TO, source=lab.stranger(octet))[-1]
    assert reply.startswith("550 5.7.1 ")
    assert f"blocked using {zone}" in reply


def test_postscreen_refuses_who_cannot_wait(lab, gateway, chosen):
    """From an address that has not passed before, which postscreen would remember."""
    order = {"host": gateway.mail_ipv4, "source": lab.stranger(75), "lines": [*TO[1:], "QUIT"]}
    replies = json.loads(lab.internet.out("python3", "-c", EARLY, given=json.dumps(order)))
    assert any(reply.startswith("550 5.5.1 Protocol error") for reply in replies), replies


def test_a_resolver_may_ask_another_one(lab, gateway, chosen):
    assert f". IN forward {lab['ns.example.net'].lab_address4}" in gateway.out("unbound-control", "list_forwards")
    flags = gateway.out("dig", "example.org", "MX").partition("flags:")[2].partition(";")[0]
    assert " ad" in flags
