"""main.cf as EL 9's Postfix would read it: no parameter and no syntax that is newer than 3.5."""

import base64
import re
from pathlib import Path

import jinja2
import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.filter.core import FilterModule
from ansible.template import Templar, trust_as_template
from ansible_collections.gatehouse.mail.plugins.plugin_utils._postfix_policy import slow

ROOT = Path(__file__).parents[3]
ROLE = ROOT / "roles" / "postfix"
KNOWN = (Path(__file__).parent / "postfix-3.5.25.txt").read_text().splitlines()[1:]
PAIR = {"certificate": "/etc/pki/gatehouse/x.crt", "key": "/etc/pki/gatehouse/x.key"}
SERVICES = ("smtp", "submission", "local")
# Names that main.cf may give values to because master.cf uses them.
OWN = {"submission_milters", "policyd-spf_time_limit", "dns_list_x"}
OWN |= {f"slow1_destination_{what}" for what in ("concurrency_limit", "rate_delay", "recipient_limit")}


NOBODY = {"host": "", "port": 0, "login": ""}
RELAY = {"host": "smtp.example.com", "port": 465, "login": "site"}


def rendered(known, ipv6=True, relayhost=None):
    """{parameter: value} of main.cf where Postfix knows these parameters."""
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701
    environment.filters.update(FilterModule().filters())
    text = environment.from_string((ROLE / "templates/etc/postfix/main.cf.j2").read_text()).render(
        __postfix_known=known,
        ansible_managed="Ansible managed",
        postfix_myhostname="mx1.example.org",
        postfix_virtual_alias_domains=["mx1.example.org"],
        postfix_recipient_delimiter="+",
        postfix_message_size_limit=52428800,
        postfix_lmtp_tls_match=["store.example.org"],
        postfix_lmtp_tls_cafile="/etc/pki/gatehouse/ca.crt",
        postfix_lmtp_tls_certificate=PAIR,
        postfix_smtpd_tls_certificates=[PAIR],
        postfix_map_type="lmdb",
        postfix_relayhost=relayhost or NOBODY,
        postfix_relayhost_ca_file="",
        __postfix_sasl_config_path="/etc/postfix/sasl",
        __postfix_relayhost_table="/etc/postfix/relayhost_password",
        __postfix_ca_bundle="/etc/ssl/certs/ca-certificates.crt",
        postfix_tls_ciphers=["ECDHE-ECDSA-AES128-GCM-SHA256"],
        postfix_openssl_conf="/etc/pki/gatehouse/openssl.cnf",
        __postfix_import_environment="MAIL_CONFIG TZ",
        __postfix_virtual_alias_expansion_limit=1200,
        __postfix_written_type="lmdb",
        __postfix_recipient_maps=["lmdb:/etc/postfix/relay_recipients"],
        __postfix_alias_map="lmdb:/etc/postfix/virtual_alias",
        __postfix_ipv6={"stat": {"exists": ipv6}},
        postfix_policyd_spf=True,
        postfix_postscreen=True,
        postfix_postscreen_dnsbl_threshold=3,
        postfix_postscreen_greet_wait="6s",
        postfix_tried_checks=["reject_non_fqdn_sender"],
        __postfix_policy={
            "postscreen_dnsbl_sites": ["bl.example=127.0.0.2*3"],
            "dns_list_classes": {"dns_list_x": ["reject_rbl_client bl.example=127.0.0.[2..11]"]},
            "milters": dict.fromkeys(SERVICES, "{ unix:/run/x/x.sock, default_action=tempfail }"),
            "slow": slow([{"domains": ["a.example"], "concurrency": 2}]),
        },
        __postfix_chain={
            "smtpd_relay_restrictions": ["reject_unauth_destination"],
            "smtpd_sender_restrictions": ["reject_non_fqdn_sender", "reject_unknown_sender_domain"],
        },
        __postfix_submission=True,
        postfix_maximal_queue_lifetime="10d",
        postfix_maximal_backoff_time="10m",
        postfix_anvil_rate_time_unit="60s",
        postfix_smtpd_client_new_tls_session_rate_limit=60,
        postfix_smtpd_client_connection_count_limit=20,
        postfix_smtpd_client_connection_rate_limit=60,
        postfix_smtpd_client_message_rate_limit=120,
        postfix_smtpd_client_recipient_rate_limit=600,
        postfix_smtpd_recipient_limit=200,
        postfix_smtpd_soft_error_limit=3,
        postfix_smtpd_error_sleep_time="2s",
        postfix_smtpd_hard_error_limit=10,
        postfix_parameters={},
    )
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    logical = "\n".join(lines).replace("\n ", " ")
    return {
        name.strip(): value.strip() for name, _equals, value in (line.partition("=") for line in logical.split("\n"))
    }


def test_postfix_3_5_knows_every_parameter():
    assert sorted(set(rendered(KNOWN)) - set(KNOWN) - OWN) == []


def test_no_table_is_of_a_type_that_el_10_lacks():
    """Also where Postfix itself would make one: these three are hash and btree by default."""
    values = rendered(KNOWN)
    assert [name for name, value in values.items() if re.search(r"\b(hash|btree|dbm):", value)] == []
    assert values["default_database_type"] == "lmdb"
    assert values["address_verify_map"].startswith("$default_database_type:")
    assert values["postscreen_cache_map"].startswith("lmdb:")


def test_a_newer_parameter_would_be_found():
    assert "smtpd_forbid_bare_newline" in KNOWN
    assert not {"smtpd_relay_before_recipient_restrictions", "tls_ffdhe_auto_groups"} & set(KNOWN)


@pytest.mark.parametrize("known", [KNOWN, [*KNOWN, "smtpd_relay_before_recipient_restrictions"]], ids=["3.5", "3.6"])
def test_values_have_the_syntax_of_3_5(known):
    values = rendered(known)
    # A cidr or pcre table within main.cf is of 3.7; inline is of 3.0.
    assert not [name for name, value in values.items() if ">=" in value or re.search("(?:cidr|pcre|regexp):{", value)]
    assert values["compatibility_level"] == ("2" if known is KNOWN else "3.6")
    assert values["smtpd_forbid_bare_newline"] == "normalize"


def test_where_the_kernel_has_no_ipv6_postfix_is_told_so():
    """It would warn at each start and check."""
    assert [rendered(KNOWN, ipv6)["inet_protocols"] for ipv6 in (True, False)] == ["all", "ipv4"]


def test_a_relay_host_is_verified_and_without_one_dane_decides():
    values, without = rendered(KNOWN, relayhost=RELAY), rendered(KNOWN)
    assert set(values) <= {*KNOWN, *OWN}
    assert values["relayhost"] == "[smtp.example.com]:465"
    assert (values["smtp_tls_security_level"], without["smtp_tls_security_level"]) == ("secure", "dane")
    assert (values["smtp_tls_wrappermode"], values["smtp_sasl_auth_enable"]) == ("yes", "yes")
    assert "smtp_tls_wrappermode" not in rendered(KNOWN, relayhost={**RELAY, "port": 587})
    assert "smtp_sasl_password_maps" not in rendered(KNOWN, relayhost={**RELAY, "login": ""})
    assert values["smtp_delivery_status_filter"] == "pcre:/etc/postfix/outgoing_refusals"
    assert not {"relayhost", "smtp_sasl_auth_enable", "smtp_tls_CAfile", "smtp_delivery_status_filter"} & set(without)


# What Postfix' smtp says of a delivery (RFC 3463 and words), and whether mail then waits.
REFUSALS = {
    "5.7.0 host relay.example.com[192.0.2.1] said: 530 5.7.0 Must log in (in reply to MAIL FROM command)": True,
    "5.5.1 host smtp.example.com[192.0.2.1] said: 530-5.5.1 Access denied 530 5.5.1 (in reply to MAIL FROM)": True,
    "5.0.0 host smtp.example.com[192.0.2.1] said: 550 relay not permitted (in reply to RCPT TO command)": True,
    "5.7.1 host smtp.example.com[192.0.2.1] said: 554 5.7.1 <a@b.example>: Relay access denied": True,
    "5.5.4 host smtp.example.com[192.0.2.1] said: 503 5.5.4 Error: send AUTH command first.": True,
    "5.7.1 host smtp.example.com[192.0.2.1] said: 553 5.7.1 <a@b.example>: Sender rejected: not logged in": True,
    "5.7.1 host smtp.example.com[192.0.2.1] said: 550 5.7.1 Authentication is required": True,
    "5.7.1 host relay.example.com[192.0.2.1] said: 554 5.7.1 Message looks like spam": False,
    "5.1.1 host relay.example.com[192.0.2.1] said: 550 5.1.1 <relay@b.example>: User unknown": False,
    "5.7.26 host smtp.example.com[192.0.2.1] said: 550 5.7.26 Unauthenticated email is not accepted": False,
    "4.7.0 host smtp.example.com[192.0.2.1] said: 454 4.7.0 Temporary authentication failure": False,
}


@pytest.mark.parametrize("status", REFUSALS)
def test_what_a_relay_host_says_of_us_makes_mail_wait_and_of_the_message_does_not(status):
    rules = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__postfix_relayhost_refusals"]
    assert {rule["value"] for rule in rules} == {"4$1"}
    found = [re.search(rule["key"].strip("/"), status, re.IGNORECASE | re.DOTALL) for rule in rules]
    assert any(found) == REFUSALS[status]
    assert all("4" + match[1] == "4" + status[1:] for match in found if match)


def test_the_rows_of_the_relay_host_s_table_are_read_as_they_were_written():
    """An old row stays beside the new one until Postfix has been reloaded; blanks may be in a password."""
    written = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__postfix_relayhost_rows"]
    text = "[a.example]:587 site:with blanks and # in it\n[b.example]:465 other:x\n"
    used = {"content": base64.b64encode(text.encode()).decode()}
    for found, rows in (
        (used, {"[a.example]:587": "site:with blanks and # in it", "[b.example]:465": "other:x"}),
        ({"failed": True, "msg": "file not found"}, {}),
    ):
        templar = Templar(DataLoader(), variables={"__postfix_relayhost_used": found})
        assert templar.template(trust_as_template(written)) == rows


@pytest.mark.parametrize(("targets", "limit"), [(0, 1000), (1000, 1000), (1200, 1200)])
def test_an_alias_may_have_as_many_targets_as_it_has(targets, limit):
    """virtual_alias_expansion_limit is 1000 by default, and beyond it no message for the alias is taken."""
    written = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__postfix_virtual_alias_expansion_limit"]
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701
    aliases = {"everyone@example.org": list(range(targets)), "info@example.org": [1]} if targets else {}
    assert int(environment.from_string(written).render(postfix_virtual_alias_maps=aliases)) == limit


def test_only_a_socket_of_stunnel_s_is_a_next_hop_without_tls():
    """Of all services that deliver, one speaks no TLS; only the transport table names it, and with a socket alone."""
    services = re.split(r"(?m)^(?=[a-z])", (ROLE / "templates/etc/postfix/master.cf.j2").read_text())
    assert [one.split()[0] for one in services if "tls_security_level=none" in one] == ["stunnel"]
    assert [path.name for path in ROLE.rglob("*") if path.is_file() and "stunnel:" in path.read_text()] == []
    policy = (ROOT / "plugins/plugin_utils/_postfix_policy.py").read_text()
    assert re.findall(r"stunnel:\S{5}", policy) == ["stunnel:unix:"]
    values = rendered(KNOWN)
    assert values["lmtp_tls_security_level"] == "secure"
    assert values["lmtp_tls_wrappermode"] == "yes"


def test_a_tried_check_warns():
    assert " ".join(rendered(KNOWN)["smtpd_sender_restrictions"].split()) == (
        "warn_if_reject reject_non_fqdn_sender, reject_unknown_sender_domain"
    )


def test_the_password_of_the_old_relay_host_stays_until_postfix_is_reloaded():
    tasks = [task["name"] for task in yaml.safe_load((ROLE / "tasks/configure.yml").read_text())]
    steps = [
        "Write the password at the relay host",
        "Put the candidate into place",
        "Leave the relay host that was there",
    ]
    steps += ["Keep no other password", "Take away a password that nobody uses"]
    assert [task for task in tasks if task in steps] == steps


FORGED = ["Authentication-Results", "ARC-Authentication-Results", "ARC-Seal", "X-Spam-Flag", "X-Virus-Scanned"]
FORGED += ["Received-SPF", "DKIM-Filter"]
OTHERS = ["DKIM-Signature", "Subject", "Received", "X-Test"]


@pytest.mark.parametrize("field", [*FORGED, *OTHERS])
def test_verdicts_of_others_come_in_by_no_door(field):
    """Neither from the world, nor from a person to another one on the same mail host."""
    submission = yaml.safe_load((ROOT / "roles/submission/vars/main.yml").read_text())["__submission_tables"]
    [ours] = [table["entries"] for table in submission if table["path"] == "/etc/postfix/verdicts"]
    theirs = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__postfix_verdicts"]
    for rules in (ours, theirs):
        keys = [re.sub(r"\{\{.*?\}\}", "Received-SPF|", rule["key"]).strip("/") for rule in rules]
        assert any(re.match(key, f"{field}: x", re.IGNORECASE) for key in keys) == (field in FORGED)
    text = (ROOT / "roles/submission/templates/etc/postfix/main.cf.j2").read_text()
    assert re.findall(r"(?m)^(\w+) = .*pcre:/etc/postfix/verdicts", text) == ["header_checks"]
