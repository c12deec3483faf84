"""TLS, in and out: what a client can negotiate with each of our ports, and what a gateway believes of a server."""

import json
import re

import pytest

# One handshake after STARTTLS: standard input is {"host", "port", "version", "ciphers", "starttls"}; standard output is
# [version, cipher], or OpenSSL's reason why not. Security level 0 takes away the client's own bars, which would hide
# ours; the reason tells a version that is refused from one that has no cipher left.
HANDSHAKE = """
import json, socket, ssl, sys
order = json.load(sys.stdin)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_ciphers(order["ciphers"])
context.options &= ~(ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1)
context.minimum_version = context.maximum_version = ssl.TLSVersion[order["version"]]
try:
    with socket.create_connection((order["host"], order["port"]), timeout=20) as plain:
        stream = plain.makefile("rb")
        for line in (b"", b"EHLO internet.sender.example", b"STARTTLS") if order["starttls"] else ():
            plain.sendall(line + b"\\r\\n" if line else b"")
            while stream.readline()[3:4] == b"-":
                pass
        with context.wrap_socket(plain) as connection:
            print(json.dumps([connection.version(), connection.cipher()[0]]))
except ssl.SSLError as error:
    print(json.dumps(error.reason))
"""
EVERY_CIPHER = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
GOOD_CIPHERS = {
    f"ECDHE-{key}-{cipher}"
    for key in ("ECDSA", "RSA")
    for cipher in ("AES256-GCM-SHA384", "CHACHA20-POLY1305", "AES128-GCM-SHA256")
}
BAD_VERSIONS = ("TLSv1", "TLSv1_1")


# Many handshakes by TLS 1.2 from one process, each with one cipher alone: standard input is {"host", "port",
# "starttls", "pair": files of a client's certificate and key, or null}; standard output is [ciphers that were offered,
# ciphers that were taken].
EACH_CIPHER = """
import json, socket, ssl, sys
order = json.load(sys.stdin)
def context(ciphers):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.set_ciphers(ciphers + ":@SECLEVEL=0")
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    if order["pair"]:
        made.load_cert_chain(*order["pair"])
    return made
def taken(cipher):
    with socket.create_connection((order["host"], order["port"]), timeout=20) as plain:
        stream = plain.makefile("rb")
        for line in (b"", b"EHLO client.example.org", b"STARTTLS") if order["starttls"] else ():
            plain.sendall(line + b"\\r\\n" if line else b"")
            while stream.readline()[3:4] == b"-":
                pass
        try:
            with context(cipher).wrap_socket(plain) as connection:
                return connection.cipher()[0] == cipher
        except (ssl.SSLError, ConnectionError):
            return False
offered = [each["name"] for each in context("ALL:COMPLEMENTOFALL").get_ciphers() if each["protocol"] != "TLSv1.3"]
print(json.dumps([offered, [cipher for cipher in offered if taken(cipher)]]))
"""


def handshake(lab, host, version, ciphers=EVERY_CIPHER, port=25, starttls=True):
    order = {"host": host, "port": port, "version": version, "ciphers": ciphers, "starttls": starttls}
    return json.loads(lab.internet.out("python3", "-c", HANDSHAKE, given=json.dumps(order)))


def s_client(lab, gateway, *options, given=""):
    return lab.internet.s_client(gateway.mail_ipv4, 25, *options, starttls="smtp", given=given)


@pytest.fixture(scope="module")
def anything_goes(lab):
    """A port on the internet that speaks every version of TLS: the client could, if the server would."""
    host = lab.internet
    host.out(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=old",
        "-keyout", "/tmp/old.key", "-out", "/tmp/old.crt",
    )  # fmt: skip
    host.out(
        "systemd-run", "--unit=anything-goes", "openssl", "s_server", "-accept", "4433", "-key", "/tmp/old.key",
        "-cert", "/tmp/old.crt", "-cipher", EVERY_CIPHER, "-client_renegotiation", "-www",
    )  # fmt: skip
    host.out("sh", "-c", "until ss -Hltn 'sport = 4433' | grep -q .; do :; done")
    yield 4433
    host.out("systemctl", "stop", "anything-goes")


def test_gateway_speaks_tls_1_2_and_1_3_only(lab, gateway, anything_goes):
    for version in BAD_VERSIONS:
        assert handshake(lab, "127.0.0.1", version, port=anything_goes, starttls=False)[0] == version.replace("_", ".")
        assert handshake(lab, gateway.mail_ipv4, version) == "TLSV1_ALERT_PROTOCOL_VERSION"
    for version in ("TLSv1_2", "TLSv1_3"):
        assert handshake(lab, gateway.mail_ipv4, version)[0] == version.replace("_", ".")


def test_ciphers_have_forward_secrecy_and_authenticated_encryption(lab, gateway):
    """Every cipher that the gateway agrees to: offered are all that the client has, less those already found."""
    found = set()
    while True:
        offered = ":".join([EVERY_CIPHER, *(f"!{cipher}" for cipher in found)])
        answer = handshake(lab, gateway.mail_ipv4, "TLSv1_2", offered)
        if answer == "SSLV3_ALERT_HANDSHAKE_FAILURE":
            break
        assert answer[1] not in found
        found.add(answer[1])
    assert found == GOOD_CIPHERS


OF_MAIL_HOSTS = ("IMAP", "submission", "submissions", "LMTP")  # which have one certificate


def doors(lab):
    """{name of a port of ours: (client, host, port, with STARTTLS, the client's certificate and key)}.

    By the VPN, where no door counts how many come. The LMTP port tells who has no certificate the same as who has no
    cipher, so a gateway knocks there.
    """
    found = {}
    for gateway in lab.gateways:
        for port in (25, 32841):
            found[f"{gateway.name} {port}"] = (lab.client, gateway.mail_vpn_address, port, True, None)
    pair = [f"/etc/pki/gatehouse/private.{ending}" for ending in ("crt", "key")]
    found["IMAP"] = (lab.client, lab.store.mail_vpn_address, 993, False, None)
    found["submission"] = (lab.client, lab.store.mail_vpn_address, 587, True, None)
    found["submissions"] = (lab.client, lab.store.mail_vpn_address, 465, False, None)
    found["LMTP"] = (lab.gateways[0], lab.store.mail_vpn_address, 24, False, pair)
    return found


def each_cipher(client, host, port, starttls, pair):
    order = {"host": host, "port": port, "starttls": starttls, "pair": pair}
    return json.loads(client.out("python3", "-c", EACH_CIPHER, given=json.dumps(order)))


def signed(client, host, port, starttls, pair, digest):
    """The hash over which a handshake by TLS 1.2 is signed when this one is the only one offered; None if it fails."""
    shown = ("-cert", pair[0], "-key", pair[1]) if pair else ()
    offer = ("-tls1_2", "-cipher", "ALL:@SECLEVEL=0", "-sigalgs", f"ECDSA+{digest}:RSA+{digest}")
    session = client.s_client(host, port, *shown, *offer, starttls="smtp" if starttls else "")
    found = re.search("Peer signing digest: (.*)", session)
    return found.group(1) if found else None


def test_every_port_takes_the_same_ciphers_each_offered_alone(lab, anything_goes):
    offered, taken = each_cipher(lab.internet, "127.0.0.1", anything_goes, False, None)
    assert {"AES128-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-ARIA128-GCM-SHA256", "CAMELLIA128-SHA", "AES128-CCM8"} <= set(
        taken
    )
    assert set(offered) > GOOD_CIPHERS
    # A port has certificates with keys of one kind or both.
    for name, door in doors(lab).items():
        good = {cipher for cipher in GOOD_CIPHERS if name not in OF_MAIL_HOSTS or "ECDSA" in cipher}
        assert set(each_cipher(*door)[1]) == good, name


def test_no_port_signs_a_handshake_over_sha_1_or_sha_224(lab, anything_goes):
    for digest in ("SHA1", "SHA224", "SHA256"):
        assert signed(lab.internet, "127.0.0.1", anything_goes, False, None, digest) == digest
        good = "SHA256" if digest == "SHA256" else None
        assert {name: signed(*door, digest) for name, door in doors(lab).items()} == dict.fromkeys(doors(lab), good)


def test_tls_1_3_has_no_finite_field_groups(lab, gateway):
    assert "Server Temp Key: X25519" in s_client(lab, gateway, "-tls1_3", "-groups", "ffdhe2048:X25519")
    assert "Server Temp Key" not in s_client(lab, gateway, "-tls1_3", "-groups", "ffdhe2048:ffdhe3072")


def test_client_may_not_renegotiate(lab, gateway, anything_goes):
    """A line "R" makes openssl s_client ask for it."""
    options = ("-tls1_2", "-no_ign_eof")
    session = s_client(lab, gateway, *options, given="R\nQUIT\n")
    assert "RENEGOTIATING" in session
    assert "no renegotiation" in session
    session = lab.internet.s_client("127.0.0.1", anything_goes, *options, given="R\nQ\n")
    assert "RENEGOTIATING" in session
    assert "no renegotiation" not in session


def test_gateway_neither_compresses_nor_forgets_extended_master_secret(lab, gateway):
    session = s_client(lab, gateway, "-tls1_2")
    assert "Compression: NONE" in session
    assert "Extended master secret: yes" in session
    assert "NO_COMPRESSION" in gateway.out("postconf", "-h", "tls_ssl_options")


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (("-tls1_2", "-sigalgs", "ECDSA+SHA256"), "NIST CURVE: P-256"),
        (("-tls1_2", "-sigalgs", "RSA+SHA256"), "Public-Key: (3072 bit)"),
        (("-tls1_3",), "NIST CURVE: P-256"),
    ],
    ids=["ECDSA", "RSA", "the client's choice"],
)
def test_gateway_shows_both_certificates(lab, gateway, options, key):
    shown = lab.internet.out("openssl", "x509", "-noout", "-text", given=s_client(lab, gateway, *options))
    assert key in shown
    assert f"DNS:{gateway.name}" in shown


def test_keys_are_root_s_alone_and_certificates_everybody_s(lab):
    for host in [*lab.gateways, lab.store]:
        listed = host.out("find", "/etc/pki/gatehouse", "-printf", "%m %u:%g %y %f\n").splitlines()
        assert "600 root:root f private.key" in listed
        modes = {"d": "755", "key": "600", "crt": "644", "cnf": "644"}
        for line in listed:
            mode, owner, kind, name = line.split()
            assert (mode, owner) == (modes["d" if kind == "d" else name.rpartition(".")[2]], "root:root"), line


def test_mail_from_the_internet_comes_encrypted(lab, mail):
    [message_id] = mail.queue(1)
    text = mail.wait_for("bob@example.org", message_id)
    assert "(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384" in text


@pytest.fixture
def published(lab):
    """published(data): the TLSA record of the internet's port 25, in its signed zone, or none; none in the end."""
    name = "_25._tcp.internet.sender.example."

    def publish(data=None):
        knot = lab["ns.example.net"]
        knot.out("knotc", "zone-begin", "sender.example")
        knot.run("knotc", "zone-unset", "sender.example", name, "TLSA", check=False)  # where there is one
        if data:
            knot.out("knotc", "zone-set", "sender.example", name, "60", "TLSA", data)
        knot.out("knotc", "zone-commit", "sender.example")
        for gateway in lab.gateways:  # unbound and Postfix' processes remember what they asked for
            gateway.out("unbound-control", "flush_zone", "sender.example")
            gateway.reload_postfix()

    yield publish
    publish()


@pytest.fixture
def tls_server(lab):
    """The internet's Postfix with a certificate that nobody knows; what TLSA data "3 1 1" makes it known."""
    host = lab.internet
    host.out(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
        "-subj", "/CN=unknown", "-keyout", "/etc/postfix/dane.key", "-out", "/etc/postfix/dane.crt",
    )  # fmt: skip
    host.out("postconf", "-e", "smtpd_tls_chain_files=/etc/postfix/dane.key,/etc/postfix/dane.crt",
             "smtpd_tls_security_level=may")  # fmt: skip
    host.reload_postfix()
    yield host.out(
        "sh",
        "-c",
        "openssl x509 -in /etc/postfix/dane.crt -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum",
    ).split()[0]
    host.out("postconf", "-X", "smtpd_tls_chain_files", "smtpd_tls_security_level")
    host.reload_postfix()


def sent(gateway, wait, expected):
    """Send a message out; the lines of the log that hold this, waited for."""

    def log():
        return gateway.out("grep", "postfix/smtp.", "/var/log/gatehouse-mail.log").splitlines()

    gateway.reload_postfix()  # or the queue manager may remember that nobody answered there some minutes ago
    before = len(log())
    gateway.out("sendmail", "-f", f"root@{gateway.name}", "dave@sender.example", given="Subject: out\n\nhello\n")
    return wait(lambda: [line for line in log()[before:] if expected in line], 30, expected)


@pytest.fixture
def sha_1_server(lab, tls_server):
    """The internet's Postfix, which can sign a handshake over SHA-1 and no other hash."""
    host = lab.internet
    text = "openssl_conf=a\n[a]\nssl_conf=b\n[b]\nsystem_default=c\n[c]\nSignatureAlgorithms=ECDSA+SHA1:RSA+SHA1\n"
    host.out("tee", "/etc/postfix/sha1.cnf", given=text)
    names = host.out("postconf", "-d", "-h", "import_environment").strip()
    host.out("postconf", "-e", "smtpd_tls_protocols=!TLSv1.3",
             f"import_environment={names} OPENSSL_CONF=/etc/postfix/sha1.cnf")  # fmt: skip
    host.out("systemctl", "restart", "postfix")
    yield
    host.out("postconf", "-X", "smtpd_tls_protocols", "import_environment")
    host.out("systemctl", "restart", "postfix")


def test_mail_to_a_receiver_that_has_only_sha_1_goes_encrypted(lab, gateway, wait, sha_1_server):
    door = (lab.internet, "127.0.0.1", 25, True, None)
    assert (signed(*door, "SHA1"), signed(*door, "SHA256")) == ("SHA1", None)
    assert sent(gateway, wait, "TLS connection established to internet.sender.example")
    assert sent(gateway, wait, "status=sent")


def test_mail_out_is_held_to_dane(lab, gateway, wait, published, tls_server):
    """To a receiver without TLSA as it comes; with the right record verified; with a wrong one not at all."""

    def send(expected):
        return sent(gateway, wait, expected)

    send("Untrusted TLS connection established to internet.sender.example")
    published(f"3 1 1 {tls_server}")
    send("Verified TLS connection established to internet.sender.example")
    published(f"3 1 1 {'0' * 64}")
    [refused] = send("status=deferred")
    assert "Server certificate not" in refused
    gateway.out("postsuper", "-d", "ALL", "deferred")
