"""The sockets by which Postfix hands mail to the mail host: for Postfix alone, and by verified TLS alone."""

from __future__ import annotations

import concurrent.futures
import json

import pytest

HOST = "store.example.org"
SOCKET = f"/run/gatehouse-lmtp/{HOST}"
UNIT = f"gatehouse-lmtp-{HOST}.socket"
CONF = f"/etc/stunnel/gatehouse-lmtp-{HOST}.conf"
BOB = "bob@example.org"
HEARD = "/run/heard"

OPEN = f"""
import socket
with socket.socket(socket.AF_UNIX) as tunnel:
    tunnel.settimeout(20)
    try:
        tunnel.connect("{SOCKET}")
        print(tunnel.recv(1000).decode())
    except OSError as error:
        print(type(error).__name__)
"""
# Whoever is spoken to: what it was sent within the time that a message has to arrive.
LISTEN = """
import socket, sys, time
with socket.create_server(("127.0.0.1", 2424)) as server:
    server.settimeout(20)
    print("ready", flush=True)
    client, _address = server.accept()
    client.settimeout(5)
    heard = b""
    try:
        client.sendall(b"220 mail.example LMTP\\r\\n")
        while octets := client.recv(10000):
            heard += octets
    except OSError:
        pass
    print(heard.hex(), "end")
"""
# Half a delivery, and the rest when the file is gone; what a new connection says then, and how the delivery ends.
HALF = f"""
import json, os, socket, sys, time
def tunnel():
    here = socket.socket(socket.AF_UNIX)
    here.settimeout(20)
    here.connect("{SOCKET}")
    return here, here.makefile("rb")
def say(here, heard, line):
    here.sendall(line.encode() + b"\\r\\n")
    while (reply := heard.readline())[3:4] == b"-":
        pass
    return reply.decode()
here, heard = tunnel()
heard.readline()
for line in ("LHLO mx.example.org", "MAIL FROM:<carol@sender.example>", "RCPT TO:<{BOB}>", "DATA"):
    say(here, heard, line)
here.sendall(("Message-ID: " + sys.argv[1] + "\\r\\n\\r\\nhel").encode())
open("/run/half", "w").close()
while os.path.exists("/run/half"):
    time.sleep(0.1)
new = tunnel()[1].readline().decode()
print(json.dumps([new, say(here, heard, "lo\\r\\n.")]))
"""
NOT_THE_MAIL_HOST = {
    # case: what makes the configuration lead elsewhere
    "nobody is there": "s/^connect = .*/connect = 127.0.0.1:9/",
    "has another name": "s/^checkHost = .*/checkHost = other.example.org/",
    "has a certificate of another CA": "s,^CAfile = .*,CAfile = /etc/pki/other.crt,",
    "speaks no TLS": "s/^connect = .*/connect = 127.0.0.1:2424/",
}
OTHER_CA = """
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=other \
    -keyout /dev/null -out /etc/pki/other.crt 2> /dev/null
"""


def connections(gateway):
    return gateway.out("systemctl", "list-units", "--plain", "--no-legend", f"gatehouse-lmtp-{HOST}@*.service")


@pytest.fixture
def no_connection(gateway, wait):
    """None is open that began before the test, and might carry its mail."""
    wait(lambda: connections(gateway) == "", 60, "the end of connections that were kept")


def test_postfix_alone_may_open_it(gateway):
    def opened(user):
        return gateway.out("runuser", "-u", user, "--", "python3", "-c", OPEN).strip()

    assert opened("postfix").startswith(f"220 {HOST} ")
    stranger = "stunnel4" if gateway.family == "Debian" else "stunnel"
    assert [opened(user) for user in ("nobody", "ops", stranger)] == ["PermissionError"] * 3
    assert gateway.out("stat", "--format=%U:%a", SOCKET).strip() == "postfix:600"


@pytest.mark.enforcing
@pytest.mark.usefixtures("no_connection")
def test_each_connection_names_the_mail_host_s_certificate_in_the_mail_log(gateway, mail, wait):
    before = len(gateway.mail_log())
    mail.wait_for(BOB, mail.send(gateway.mail_ipv4, BOB))
    wait(lambda: f"CN={HOST}" in gateway.mail_log()[before:], 20, "the certificate")
    assert "Certificate accepted at depth=0" in gateway.mail_log()[before:]


@pytest.mark.usefixtures("no_connection")
def test_a_connection_is_kept_for_the_next_message(gateway, mail, wait):
    before = len(gateway.mail_log())
    for _number in range(3):
        mail.wait_for(BOB, mail.send(gateway.mail_ipv4, BOB))
    wait(lambda: gateway.mail_log()[before:].count("status=sent") >= 3, 20, "three deliveries")
    assert gateway.mail_log()[before:].count("Certificate accepted at depth=0") == 1


@pytest.mark.parametrize("case", NOT_THE_MAIL_HOST)
@pytest.mark.usefixtures("no_connection")
def test_mail_waits_where_the_other_side_is_not_the_mail_host(gateway, mail, wait, case):
    """And goes, once, when it is."""
    gateway.out("sh", "-ec", OTHER_CA)
    gateway.out("sed", "-i.orig", NOT_THE_MAIL_HOST[case], CONF)
    try:
        if case == "speaks no TLS":
            output = f"--property=StandardOutput=truncate:{HEARD}"
            gateway.out("systemd-run", "--unit=listen", "--quiet", output, "python3", "-uc", LISTEN)
            wait(lambda: "ready" in gateway.run("cat", HEARD, check=False).stdout, 20, "a listener")
        number = mail.send(gateway.mail_ipv4, BOB)
        wait(lambda: [one for one in gateway.queue() if one["queue_name"] == "deferred"], 60, "a first try")
        if case == "speaks no TLS":
            wait(lambda: "end" in gateway.out("cat", HEARD), 30, "what the listener was sent")
            heard = bytes.fromhex(gateway.out("cat", HEARD).removeprefix("ready").removesuffix("end\n"))
            assert heard[:1] in (b"", b"\x16")  # a ClientHello (RFC 8446, 5.1) and no word of LMTP
            assert b"LHLO" not in heard
        assert mail.arrived([number]) == {number: 0}
    finally:
        gateway.out("mv", f"{CONF}.orig", CONF)
        gateway.out("rm", "-f", "/etc/pki/other.crt", HEARD)
    gateway.out("postqueue", "-f")
    mail.wait_for(BOB, number)
    assert mail.arrived([number]) == {number: 1}
    assert mail.bounced() == []


@pytest.mark.enforcing
@pytest.mark.parametrize("side", ["gateway", "mail host"])
def test_what_changes_holds_from_the_next_connection_on_and_ends_none(lab, gateway, mail, wait, side):
    """A certificate that goes, and a socket that is made anew, in the middle of a delivery."""
    changed, unit = {"gateway": (gateway, UNIT), "mail host": (lab.store, "gatehouse-lmtp.socket")}[side]
    certificate = "/etc/pki/gatehouse/private.crt"
    number = mail.new_id()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        half = pool.submit(gateway.out, "python3", "-c", HALF, number)
        try:
            wait(lambda: gateway.run("test", "-e", "/run/half", check=False).returncode == 0, 20, "half a message")
            changed.out("mv", certificate, f"{certificate}.away")
            changed.out("systemctl", "restart", unit)
            gateway.out("rm", "/run/half")
            new, end = json.loads(half.result().splitlines()[-1])
        finally:
            gateway.out("rm", "-f", "/run/half")
            changed.out("mv", f"{certificate}.away", certificate)
    assert new == ""
    assert end.startswith("250 ")
    assert mail.arrived([number]) == {number: 1}
    assert gateway.out("python3", "-c", OPEN).startswith("220 ")


@pytest.mark.enforcing
@pytest.mark.same_on_all_gateways
def test_whoever_is_killed_is_there_for_the_next_message(gateway, mail, wait):
    """Twenty times, with mail under way; what was just being handed over may come twice (RFC 5321, 6.1)."""
    ids = []
    for _number in range(20):
        ids += mail.send_many(5, gateway.mail_ipv4, BOB)
        gateway.run("pkill", "--signal", "KILL", "--exact", "stunnel", check=False)
        gateway.out("postqueue", "-f")
    wait(lambda: not gateway.queue() and all(mail.arrived(ids).values()), 120, "100 messages")
    assert mail.bounced() == []
    assert gateway.out("systemctl", "is-active", UNIT).strip() == "active"
