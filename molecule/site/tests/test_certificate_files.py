"""Certificates of the operator's own are for port 25. Who sends by submission verifies the private CA's there."""

from __future__ import annotations

import json
import subprocess

import pytest

pytestmark = pytest.mark.stress  # it takes several runs of site.yml

CA = "/etc/pki/gatehouse/ca.crt"


def make(folder, name):
    """A pair of files for this name that the private CA has nothing to do with, as mail_certificate_files has it."""
    pair = {"certificate": str(folder / f"{name}.crt"), "key": str(folder / f"{name}.key")}
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", "/CN=another CA", "-addext", f"subjectAltName=DNS:{name}",
         "-out", pair["certificate"], "-keyout", pair["key"]],
        check=True, capture_output=True,
    )  # fmt: skip
    return pair


@pytest.fixture(scope="module")
def brought(lab, tmp_path_factory):
    """{gateway: the operator's certificate}, which the gateways have; in the end it is gone, and its key with it."""
    folder = tmp_path_factory.mktemp("brought")
    beside = folder / "hosts.json"  # since an extra variable would give the files to the mail host as well

    def run(*more):
        return lab.site(*more, tags="certificate,postfix", limit="mail_gateways")

    def there(gateway):
        """Whose keys for port 25 lie on the gateway."""
        return gateway.out("sh", "-c", "cd /etc/pki/gatehouse && ls public-*").split()

    issued = ["public-ecdsa.crt", "public-ecdsa.key", "public-rsa.crt", "public-rsa.key"]

    def write():
        pairs = {gateway.name: make(folder, gateway.name) for gateway in lab.gateways}
        hosts = {name: {"mail_certificate_files": [pair]} for name, pair in pairs.items()}
        beside.write_text(json.dumps({"all": {"hosts": hosts}}))
        return {name: (folder / f"{name}.crt").read_text() for name in pairs}

    try:
        write()
        assert run("-i", str(beside))
        pids = [gateway.out("cat", "/var/spool/postfix/pid/master.pid") for gateway in lab.gateways]
        texts = write()  # renewed
        assert run("-i", str(beside))
        assert run("-i", str(beside)) == []
        assert [gateway.out("cat", "/var/spool/postfix/pid/master.pid") for gateway in lab.gateways] == pids
        assert [there(gateway) for gateway in lab.gateways] == [
            ["public-0.crt", "public-0.key", *issued] for _gateway in lab.gateways
        ]
        yield texts
    finally:
        run()
        assert [there(gateway) for gateway in lab.gateways] == [issued for _gateway in lab.gateways]
        assert run() == []


@pytest.fixture
def verifies(lab, gateway):
    """verifies(port, ca): whether a client on the VPN that trusts this CA alone believes the gateway by its name."""

    def ask(port, ca):
        lab.client.out("tee", "/tmp/trusted.crt", given=ca)
        trusted = ("-CAfile", "/tmp/trusted.crt", "-no-CApath", "-no-CAstore")
        verified = ("-verify_return_error", "-verify_hostname", gateway.name)
        said = lab.client.s_client(gateway.mail_vpn_address, port, *trusted, *verified, starttls="smtp")
        assert "CONNECTED" in said
        return "Verification: OK" in said

    return ask


def test_submission_shows_the_private_ca_s_certificate_whatever_port_25_shows(gateway, brought, verifies):
    private = gateway.out("cat", CA)
    shown = {(port, name): verifies(port, ca) for port in (25, 32841) for name, ca in
             (("private", private), ("brought", brought[gateway.name]))}  # fmt: skip
    assert shown == {
        (25, "private"): False,
        (25, "brought"): True,
        (32841, "private"): True,
        (32841, "brought"): False,
    }


def test_who_verifies_the_private_ca_sends_all_the_same(mail, message, gateway, submit, received, brought):
    mark = mail.new_id()
    ((code, _text),) = submit(gateway, [message(mark, ["From: alice@example.org"])])
    assert code == 250
    assert mark.encode() in received([mark])[mark]


def test_the_mail_host_sends_all_the_same(lab, mail, message, send, received, brought):
    """By each of the gateways, which it believes by the private CA alone."""
    marks = [mail.new_id() for _number in range(20)]
    assert {code for code, _text in send([message(mark, ["From: alice@example.org"]) for mark in marks])} == {250}
    hops = b"".join(received(marks).values()).decode()
    assert [gateway.name for gateway in lab.gateways if f"from {gateway.name} " not in hops] == []


def test_a_key_that_is_gone_is_no_reason_to_reload(lab, doors):
    """Dovecot 2.4 would reload all the same, and say that all is well."""
    store, key, bob = lab.store, "/etc/pki/gatehouse/private.key", "bob@example.org"
    dovecot = ("playbooks/site.yml", "--tags", "dovecot", "--limit", store.name)
    store.out("mv", key, f"{key}.gone")
    try:
        store.out(
            "sed", "-i", "s/^postmaster_address = .*/postmaster_address = x@example.org/", "/etc/dovecot/dovecot.conf"
        )
        (failed,) = [result for result in lab.playbook(*dovecot) if result.get("failed")]
        assert key in failed["stderr"]
    finally:
        store.out("mv", f"{key}.gone", key)
    lab.site(tags="dovecot", limit=store.name)
    assert doors(bob, store.lab_passwords[bob], store, [993]) == [993]
