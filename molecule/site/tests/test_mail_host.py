"""The mail host: gateways deliver to it, people on the VPN read from it, nobody else reaches it."""

import json

import pytest
from lab.hosts import ROOT

CONNECT = """
import json, socket, sys
order = json.load(sys.stdin)
try:
    socket.create_connection((order["host"], order["port"]), timeout=3).close()
    print('"connected"')
except OSError as error:
    print(json.dumps(type(error).__name__))
"""
SPEAK = """
import socket, sys
with socket.create_connection((sys.argv[1], 24), timeout=10) as plain:
    plain.sendall(b"LHLO client.example.org\\r\\n")
    try:
        print(plain.recv(1000))
    except ConnectionResetError:
        print(b"")
"""
# "Administratively prohibited" or "no route", the firewall's no; where nothing listens it is ConnectionRefusedError.
BARRED = ("PermissionError", "OSError")
PORTS = {
    "lmtp": 24,
    "imaps": 993,
    "greylist": 60000,
    "smtp": 25,
    "imap": 143,
    "managesieve": 4190,
    "pop3s": 995,
    "pop3": 110,
}


FOR_GATEWAYS = ("lmtp", "greylist")


def reach(host, address, port):
    return json.loads(host.out("python3", "-c", CONNECT, given=json.dumps({"host": address, "port": port})))


def lhlo(host, store, *options):
    """What the mail host's LMTP port answers to TLS with these options and an LHLO."""
    said = "LHLO client.example.org\r\nQUIT\r\n"
    return host.s_client(store.mail_vpn_address, 24, "-quiet", "-verify_quiet", *options, given=said)


@pytest.mark.enforcing
def test_lmtp_is_verified_tls(mail, gateway, lab, wait):
    mail.wait_for("alice@example.org", mail.send(gateway.mail_ipv4, "alice@example.org"))
    for host, said in (
        (gateway, f"Certificate accepted at depth=0: CN={lab.store.name}"),
        (lab.store, f"Connect from {gateway.mail_vpn_address}"),
    ):
        wait(lambda here=host, line=said: line in here.mail_log(), 10, said)


def test_lmtp_wants_a_gateway_s_certificate(lab, gateway):
    mine = ("-cert", "/etc/pki/gatehouse/private.crt", "-key", "/etc/pki/gatehouse/private.key")
    assert "220 store.example.org" in lhlo(gateway, lab.store, *mine)  # the control
    assert "220 " not in lhlo(gateway, lab.store)
    assert "220 " not in lhlo(lab.store, lab.store, *mine)  # of the CA, but not a gateway's
    gateway.out(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
        "-subj", f"/CN={gateway.name}", "-addext", f"subjectAltName=DNS:{gateway.name}", "-keyout", "/tmp/forged.key",
        "-out", "/tmp/forged.crt",
    )  # fmt: skip
    assert "220 " not in lhlo(gateway, lab.store, "-cert", "/tmp/forged.crt", "-key", "/tmp/forged.key")


def test_lmtp_without_tls_gets_nothing(lab, gateway):
    """A TLS alert at the most; the control is test_lmtp_wants_a_gateway_s_certificate."""
    answer = gateway.out("python3", "-c", SPEAK, lab.store.mail_vpn_address)
    assert "220" not in answer
    assert "LHLO" not in answer


@pytest.mark.parametrize("port", ["lmtp", "imaps", "managesieve", "pop3s", "greylist"])
def test_inside_answers_and_outside_does_not(lab, port):
    store = lab.store
    for host in [*lab.gateways, *([] if port in FOR_GATEWAYS else [lab.client])]:
        assert reach(host, store.mail_vpn_address, PORTS[port]) == "connected"
    for address in (store.lab_address4, store.lab_address6):
        assert reach(lab.internet, address, PORTS[port]) in BARRED


@pytest.mark.parametrize("port", FOR_GATEWAYS)
def test_what_is_for_gateways_is_for_them_alone(lab, port):
    """Who else is on the VPN reaches the mail host; the control with the gateways is above."""
    assert reach(lab.client, lab.store.mail_vpn_address, PORTS[port]) in BARRED
    assert reach(lab.client, lab.store.mail_vpn_address, PORTS["imaps"]) == "connected"


def test_outside_nothing_listens_even_without_the_firewall(lab):
    store = lab.store
    store.out("systemctl", "stop", "firewalld")
    try:
        for name in PORTS:
            for address in (store.lab_address4, store.lab_address6):
                assert reach(lab.internet, address, PORTS[name]) == "ConnectionRefusedError", (name, address)
        assert reach(lab.client, store.mail_vpn_address, PORTS["imaps"]) == "connected"
    finally:
        # systemd calls it started as soon as it is on the bus; it answers once its rules are loaded.
        store.out("systemctl", "start", "firewalld")
        store.out("firewall-cmd", "--list-all")


def test_firewall_closes_outside_what_listens_there(lab):
    """The other half: something does listen on every address, and only the VPN reaches it."""
    store = lab.store
    store.out("systemd-run", "--unit=listener", "python3", "-m", "http.server", "--bind", "::", "143")
    try:
        store.out("sh", "-c", "until ss -Hltn 'sport = 143' | grep -q .; do :; done")
        for address in (store.lab_address4, store.lab_address6):
            assert reach(lab.internet, address, PORTS["imap"]) in BARRED
        assert reach(lab.client, store.mail_vpn_address, PORTS["imap"]) in BARRED  # nor does the VPN's zone
        assert reach(store, "127.0.0.1", PORTS["imap"]) == "connected"  # the control
    finally:
        store.out("systemctl", "stop", "listener")


POP3 = """
import json, poplib, ssl, sys
order = json.load(sys.stdin)
context = ssl.create_default_context(cadata=order["ca"])
context.check_hostname = False
client = poplib.POP3_SSL(order["address"], 995, context=context, timeout=20)
client.user(order["user"])
client.pass_(order["password"])
print(json.dumps(["\\n".join(map(bytes.decode, client.retr(n + 1)[1])) for n in range(client.stat()[0])][-1:]))
client.quit()
"""


@pytest.mark.enforcing
def test_a_mailbox_is_read_by_pop3(lab, mail):
    store = lab.store
    message_id = mail.send(lab.gateways[0].mail_ipv4, "bob@example.org")
    mail.wait_for("bob@example.org", message_id)
    order = {
        "address": store.mail_vpn_address, "user": "bob@example.org",
        "password": store.lab_passwords["bob@example.org"], "ca": store.out("cat", "/etc/pki/gatehouse/ca.crt"),
    }  # fmt: skip
    (text,) = json.loads(lab.client.out("python3", "-c", POP3, given=json.dumps(order)))
    assert message_id in text
    wrong = json.dumps({**order, "password": "wrong"})
    assert "AUTH" in lab.client.run("python3", "-c", POP3, given=wrong, check=False).stderr
    assert reach(lab.client, store.mail_vpn_address, PORTS["pop3"]) in BARRED


def test_wrong_password_is_refused(lab):
    store = lab.store
    order = {
        "host": store.name, "address": store.mail_vpn_address, "port": 993, "user": "alice@example.org",
        "ca": store.out("cat", "/etc/pki/gatehouse/ca.crt"), "password": "wrong", "header": ["Message-ID", "<none>"],
    }  # fmt: skip
    source = (ROOT / "molecule/imap_client.py").read_text()
    refused = lab.client.run("python3", "-c", source, given=json.dumps(order), check=False)
    assert "AUTHENTICATIONFAILED" in refused.stderr
    order["password"] = lab.store.lab_passwords["alice@example.org"]
    assert lab.client.python("imap_client.py", order) == []
