"""What a site may choose otherwise: milters over TCP, policyd-spf, cron, and a key of one's own. Then all goes back."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

pytestmark = pytest.mark.stress
TAGS = "platform,opendkim,opendmarc,spf,clamav,postfix"
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
        "mail_policyd_spf": True,
        "opendmarc_public_suffix_list_refresh": "cron",
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
    assert gateway.out("postconf", "-hx", "smtpd_milters").count("inet:127.0.0.1:889") == 3
    text = mail.wait_for("alice@example.org", mail.send(gateway.mail_ipv4, "alice@example.org"))
    assert f"Authentication-Results: {gateway.name}; dmarc=" in text


def test_selinux_lets_the_milters_have_their_ports(lab, chosen):
    """EL's policy has three of them, and what it does not say is said in one transaction."""
    host = next(gateway for gateway in lab.gateways if gateway.lab_image == "el9")
    ports = next(
        line for line in host.out("semanage", "port", "--list").splitlines() if line.startswith("milter_port_t")
    )
    assert {"8890", "8891", "8893", "8894"} <= set(ports.replace(",", " ").split())


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
