"""The private CA's certificates are issued anew before they end, and what shows them shows the new ones."""

from __future__ import annotations

import pytest

DOORS = {
    "gateway": ((25, "smtp"), (32841, "smtp")),
    "mail host": ((587, "smtp"), (465, ""), (993, ""), (4190, "sieve")),
}


@pytest.fixture
def shown(lab):
    """shown(): {(host, port): the serial number of the certificate there}."""

    def ask(host, port, protocol):
        said = lab.client.s_client(host.mail_vpn_address, port, starttls=protocol)
        return lab.client.out("openssl", "x509", "-noout", "-serial", given=said)

    places = [(host, *door) for host in lab.gateways for door in DOORS["gateway"]]
    places += [(lab.store, *door) for door in DOORS["mail host"]]
    return lambda: {(host.name, port): ask(host, port, protocol) for host, port, protocol in places}


@pytest.mark.enforcing
def test_a_certificate_is_renewed_in_time_and_shown_at_once(lab, mail, send, received, shown):
    before = shown()
    assert "Write openssl.cnf and the certificates" in {
        task for _host, task in lab.site(tags="certificate", certificate_renew_days=1000)
    }
    after = shown()
    assert [place for place, serial in after.items() if serial == before[place]] == []
    for gateway in lab.gateways:  # each verifies the mail host, and that one them
        mail.wait_for("alice@example.org", mail.send(gateway.mail_ipv4, "alice@example.org"))
    mark = mail.new_id()
    assert send([f"From: alice@example.org\r\nMessage-ID: {mark}\r\n\r\nhello\r\n"])[0][0] == 250
    received([mark])
    assert lab.site(tags="certificate") == []
