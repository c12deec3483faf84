"""What the daemons themselves say of their configuration."""

import re
import secrets

import pytest


def test_postfix_has_no_complaint(gateway):
    for command in (["postconf", "-n"], ["postconf", "-M"], ["postconf", "-P"], ["postfix", "check"]):
        assert gateway.run(*command).stderr == ""


def test_postfix_would_have_complained(gateway):
    """The control: an unknown parameter is a word on standard error and nothing more."""
    gateway.out("cp", "-r", "/etc/postfix/candidate", "/tmp/broken")
    gateway.out("sh", "-c", "echo smtpd_tls_protcols = x >> /tmp/broken/main.cf")
    assert "unused parameter: smtpd_tls_protcols" in gateway.run("postconf", "-c", "/tmp/broken", "-n").stderr
    gateway.out("rm", "-r", "/tmp/broken")


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("smtpd_forbid_bare_newline", "normalize"),
        ("smtpd_forbid_bare_newline_exclusions", ""),
        ("smtpd_forbid_unauth_pipelining", "yes"),
        ("message_reject_characters", "\\0\\r"),  # CR alone among them, so it need not be replaced
        ("cleanup_replace_stray_cr_lf", "no"),
        ("mynetworks", "127.0.0.0/8 [::1]/128"),
        ("smtpd_relay_restrictions", "reject_unauth_destination"),
    ],
)
def test_protection_is_on(gateway, parameter, value):
    assert gateway.out("postconf", "-h", parameter).strip() == value


def test_dovecot_has_no_complaint(lab):
    assert lab.store.run("doveconf", "-n").stderr == ""


def test_unbound_has_no_complaint(lab):
    for host in [*lab.gateways, lab.store]:
        checked = host.run("unbound-checkconf")
        assert "no errors" in checked.stdout
        assert "warning" not in checked.stdout + checked.stderr


def test_resolver_validates(gateway):
    assert "127.0.0.1" in gateway.out("cat", "/etc/resolv.conf")
    answer = gateway.out("dig", "@127.0.0.1", "example.org", "MX")
    flags = next(line for line in answer.splitlines() if "flags:" in line)
    assert " ad" in flags.partition(";;")[2].partition(";")[0]
    assert gateway.name in answer


def test_ca_key_stays_on_the_controller(lab, state):
    assert (state / "pki" / "ca.key").stat().st_mode & 0o777 == 0o600
    for host in [*lab.gateways, lab.store]:
        assert host.out("find", "/", "-xdev", "-name", "ca.key") == ""


def test_no_header_of_a_message_makes_tls_optional(lab):
    """TLS-Required: no (RFC 8689), since Postfix 3.10. test_people and test_relayhost have such mail."""
    for host in [*lab.gateways, lab.store]:
        if "\ntls_required_enable = " in host.out("postconf", "-d"):
            assert host.out("postconf", "-h", "tls_required_enable").strip() == "no", host.name


def test_units_are_up_and_start_at_boot(lab):
    for host, units in [(lab.store, ["dovecot", "gatehouse-lmtp.socket"]), *((g, ["postfix"]) for g in lab.gateways)]:
        for unit in [*units, "firewalld", "unbound", "rsyslog"]:
            assert host.out("systemctl", "is-active", unit).strip() == "active", (host.name, unit)
            assert host.out("systemctl", "is-enabled", unit).strip() == "enabled", (host.name, unit)


def test_a_flood_of_mail_costs_no_line_of_the_log(lab, wait):
    """And none is in it twice, as where rsyslog reads the journal and is handed its lines as well."""
    for host in [*lab.gateways, lab.store]:
        mark = f"flood-{secrets.token_hex(4)}"
        host.out("sh", "-c", f"seq 25000 | logger --priority mail.info --tag {mark}")

        def lines(host=host, mark=mark):
            return re.findall(rf" {mark}(?:\[\d+\])?: (\d+)$", host.mail_log(), re.MULTILINE)

        wait(lambda lines=lines: "25000" in lines()[-2:], 60, "the last line")
        assert lines() == [str(number) for number in range(1, 25001)], host.name
