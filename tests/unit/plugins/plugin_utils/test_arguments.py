# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles' variables may be, by the roles' own argument specifications."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _arguments

ROLES = Path(__file__).parents[4] / "roles"
OPTIONS = {}
DEFAULTS = {}
for folder in ROLES.iterdir():
    if folder.name != "mail":
        text = (folder / "meta/argument_specs.yml").read_text()
        OPTIONS.update(yaml.safe_load(text)["argument_specs"]["main"]["options"])
        DEFAULTS.update(yaml.safe_load((folder / "defaults/main.yml").read_text()))
PORT = {"name": "ssh", "port": 22, "zones": ["vpn"]}


def problems(**variables):
    return _arguments.problems({"mx1": variables}, OPTIONS)


def names(options, path=""):
    for key, option in options.items():
        yield path + key
        yield from names(option.get("options") or {}, f"{path}{key}.")


def test_kinds_and_ranges_are_those_of_variables_that_there_are():
    there = set(names(OPTIONS))
    for table in (_arguments.KINDS, _arguments.RANGES, _arguments.WORDS, _arguments.VALUES, _arguments.KEYS):
        assert {name.removesuffix(".*") for name in table} - there == set()


def test_every_default_of_a_role_is_what_it_may_be():
    constants = {name: value for name, value in DEFAULTS.items() if "{{" not in str(value)}
    assert len(constants) > 60
    assert problems(**constants) == []


GOOD = {
    "postfix_maximal_queue_lifetime": ["20d", "0d", "2w", "100d"],
    "postfix_smtpd_error_sleep_time": ["0s", "1m"],
    "postfix_allow_shrink": [True, "true", "False"],
    "postfix_message_size_limit": [65536],
    "postfix_smtpd_client_connection_count_limit": [0],
    "postfix_parameters": [{"mail_name": "Postfix", "default_process_limit": 50}],
    "postfix_recipient_delimiter": ["", "-"],
    "postfix_openssl_conf": ["", "/etc/ssl/x.cnf"],
    "firewall_ssh_zones": [["vpn"], ["internet", "vpn"]],
    "firewall_ports": [[], [PORT], [{**PORT, "protocol": "udp", "sources": ["10.8.0.11", "fd00::/64"]}]],
    "dns_lists_interval": ["5min", "90", "1h 30min", 300],
    "greylist_retry_window": ["48h", "2", 2],
    "platform_journal_size": ["1G", "500M", 100000000],
    "unbound_cache_size": ["64m", "1G", 4194304],
    "spamassassin_required_score": [5, 4.5],
    "awstats_archive": ["https://mirror.example.org/a.tar.gz", "files/awstats-7.9.tar.gz", "/srv/a b.tar.gz"],
    "awstats_archive_checksum": ["sha512:" + "0" * 128],
    "spf_mail_from_reject": ["False", False, "Fail"],
    "certificate_ca_directory": ["pki", "/srv/pki"],
    "opendkim_keys": [[{"domain": "d.example", "type": "rsa", "selector": "s", "stage": "signing", "public": None}]],
}


@pytest.mark.parametrize(
    "name, value",
    [(name, value) for name, values in GOOD.items() for value in values],
    ids=lambda value: str(value)[:40],
)
def test_good_values_pass(name, value):
    assert problems(**{name: value}) == []


BAD = {
    "an archive by a protocol of its own": (
        {"awstats_archive": "ftp://x.example/a.tar.gz"},
        '"ftp://x.example/a.tar.gz" is neither a URL nor a path on the controller; write one that begins with "https://"',
    ),
    "a checksum without its kind": (
        {"awstats_archive_checksum": "0" * 64},
        'is no checksum; write "sha256:" and the 64 digits that sha256sum prints',
    ),
    "a short checksum": ({"awstats_archive_checksum": "sha256:00"}, '"sha256:00" is no checksum'),
    "a time in words": ({"postfix_maximal_queue_lifetime": "20 Tage"}, '"20 Tage" is not a time of Postfix'),
    "a time without its unit": ({"postfix_maximal_queue_lifetime": 10}, "10 is not a time of Postfix"),
    "a time below zero": ({"postfix_maximal_backoff_time": "-1s"}, '"-1s" is not a time'),
    "a time that is none": ({"postfix_anvil_rate_time_unit": "0s"}, '"0s" is not a time of Postfix, or out of range'),
    "101 days": ({"postfix_maximal_queue_lifetime": "101d"}, "out of range"),
    "a size below zero": ({"postfix_message_size_limit": -1}, "-1 is out of range; write an integer from 65536 to "),
    "a size in words": ({"platform_journal_size": "1 GB"}, '"1 GB" is not a size; write a number with K, M, G or T'),
    "a size without a number": ({"unbound_cache_size": "m"}, '"m" is not a size'),
    "a limit below zero": (
        {"postfix_smtpd_client_message_rate_limit": -1},
        "-1 is out of range; write an integer from 0",
    ),
    "a number in quotes": ({"platform_mail_log_days": "31"}, '"31" is a string, not an integer'),
    "a boolean for a number": ({"platform_mail_log_days": True}, "true is a boolean, not an integer"),
    "a boolean in quotes": ({"clamav_alert_exceeds_max": "no"}, '"no" is a string, not a boolean'),
    "a shrink in words": ({"postfix_allow_shrink": "perhaps"}, '"perhaps" is a string, not a boolean'),
    "a zone": (
        {"firewall_ssh_zones": ["vpn", "wpn"]},
        '[1]: "wpn" is none of what it may be; write one of "internet", ',
    ),
    "a string for a list": ({"firewall_ssh_zones": "vpn"}, '"vpn" is a string, not a list; write ["vpn"]'),
    "a mapping for a list": ({"platform_ntp_pools": {"a": 1}}, "is a mapping, not a list"),
    "a list in a list": ({"platform_ntp_pools": [["a"]]}, "[0]: ['a'] is a list, not a string"),
    "an empty element": ({"platform_ntp_pools": [""]}, '[0]: "" is empty'),
    "nothing": ({"platform_ntp_pools": None}, "null is empty, not a list"),
    "nothing for a string": ({"platform_mail_log": None}, "null is empty, not a string"),
    "an empty path": ({"platform_mail_log": ""}, '"" is empty'),
    "a relative path": ({"platform_mail_log": "mail.log"}, '"mail.log" is not an absolute path'),
    "a quote in a path": ({"platform_mail_log": '/x"y'}, "is not an absolute path"),
    "a number for an address": ({"greylist_listen": 60000}, "60000 is not an address and a port"),
    "a mapping without what a role reads": (
        {"postfix_milter_chains": {"smtp": [], "local": []}},
        ".submission: is missing; write all of smtp, submission, local",
    ),
    "a number for a path": (
        {"opendkim_inventory_file": 1.5},
        "1.5 is a number with a point, not a string; write a path",
    ),
    "a mapping without lists": ({"postfix_access": {"clients": None, "senders": [], "recipients": []}}, "not a list"),
    "an alias without a target": ({"postfix_virtual_alias_maps": {"a@b.example": []}}, "[] is an empty list; write at"),
    "an alias for nothing": ({"postfix_virtual_alias_maps": {"a@b.example": None}}, "null is empty, not a list"),
    "a recipient with a space": ({"postfix_relay_recipients": ["a b"]}, '[0]: "a b" holds white space'),
    "a login without a realm": ({"sasl_logins": ["alice"]}, '[0]: "alice" is not a login; write it in full'),
    "a network for a policy service": ({"postfix_greylist": "0.0.0.0/0"}, "is not where a policy service listens"),
    "no socket": (
        {"opendkim_sockets": {"opendkim": "x", "opendkim-ed25519": "inet:1@::1"}},
        '"x" is not where a milter',
    ),
    "a quote in a socket": ({"clamav_milter_socket": 'local:/run/x"y'}, "is not where a milter listens"),
    "a quote in a URL": ({"public_suffix_list_url": 'https://x.example/"'}, "is not a URL"),
    "a quote in an interface": ({"firewall_vpn_interface": 'wg"0'}, "is not the name of an interface"),
    "a key that is no string": ({"postfix_parameters": {(1, 2): "x"}}, "(1, 2) is no key of it; write keys in quotes"),
    "a key with a space": ({"postfix_parameters": {"a b": "x"}}, '"a b" is no key of it'),
    "half a character": ({"clamav_milter_reject_msg": "\ud800"}, "a lone surrogate"),
    "a line break": ({"clamav_milter_reject_msg": "x\nOnInfected Accept"}, "holds a line break"),
    "yes without quotes": (
        {"clamav_concurrent_database_reload": True},
        'true is none of what it may be; write one of "auto", "yes", "no"',
    ),
    "a port": ({"firewall_ssh_port": 65536}, "65536 is out of range; write an integer from 1 to 65535"),
    "a port of the list": ({"firewall_ports": [{**PORT, "port": 0}]}, "[0].port: 0 is out of range"),
    "a protocol": ({"firewall_ports": [{**PORT, "protocol": "icmp"}]}, '[0].protocol: "icmp" is none of'),
    "an option that is missing": (
        {"firewall_ports": [{"name": "x", "port": 1}]},
        "[0].zones: is missing; write all of {",
    ),
    "an option with a slip": (
        {"firewall_ports": [{**PORT, "source": []}]},
        '"source" is not a known key; did you mean',
    ),
    "a string for a mapping": ({"postfix_parameters": "a = b"}, '"a = b" is a string, not a mapping'),
    "a boolean for a parameter": (
        {"postfix_parameters": {"smtpd_tls_auth_only": True}},
        "true is a boolean, not a string",
    ),
    "a word for a boolean": ({"clamav_selinux_booleans": {"x": "on"}}, '.x: "on" is a string, not a boolean'),
    "everybody": (
        {"postfix_exempt_clients": ["0.0.0.0/0"]},
        '[0]: "0.0.0.0/0" is neither an address nor a network, or',
    ),
    "host bits": ({"spf_skip_addresses": ["10.8.0.1/24"]}, '[0]: "10.8.0.1/24" is neither'),
    "a name for an address": ({"dmarc_nameservers": ["dns.example"]}, '[0]: "dns.example" is not an IP address'),
    "a short name": ({"postfix_myhostname": "mx1"}, '"mx1" is not a full host name'),
    "a span": ({"dns_lists_interval": "5 minuten"}, '"5 minuten" is not a time of systemd.time(7); write one such as'),
    "no span": ({"dns_lists_interval": "0min"}, '"0min" is not a time of systemd.time(7)'),
    "a window": ({"greylist_retry_window": "2d"}, '"2d" is neither days nor hours'),
    "a prefix": ({"greylist_ipv4cidr": 64}, "64 is out of range; write an integer from 1 to 32"),
    "a socket": ({"dmarc_socket": "unix:/run/x"}, '"unix:/run/x" is not where a milter listens'),
    "a URL": ({"public_suffix_list_url": "publicsuffix.org"}, '"publicsuffix.org" is not a URL'),
    "a score": ({"spamassassin_required_score": "5"}, '"5" is a string, not a number'),
    "two words in one": (
        {"platform_ntp_pools": ["a.example b.example"]},
        '[0]: "a.example b.example" holds white space',
    ),
    "an interface": ({"firewall_vpn_interface": "wg0:1"}, '"wg0:1" is not the name of an interface'),
    "a map type": (
        {"postfix_map_type": "btree"},
        '"btree" is none of what it may be; write one of "lmdb", "cdb", "hash"',
    ),
}


@pytest.mark.parametrize("variables, said", BAD.values(), ids=BAD)
def test_a_bad_value_is_refused_with_host_key_and_remedy(variables, said):
    (problem,) = problems(**variables)
    (name,) = variables
    assert problem.startswith(f"host mx1: {name}")
    assert said in problem
    assert "; " in problem.partition(said[:5])[2]


def test_the_remedy_holds_on_the_command_line():
    """A role reads its variable as it is, so a string is none of these, whatever it means."""
    for name, word in (
        ("clamav_alert_exceeds_max", "false"),
        ("platform_mail_log_days", "7"),
        ("platform_ntp_pools", "[]"),
    ):
        (problem,) = problems(**{name: word})
        assert problem.endswith(f"""in INI as Python has it, with -e as JSON: -e '{{"{name}": …}}'""")


def test_secrets_are_not_shown():
    said = problems(
        certificate_ca_passphrase="hunter2",
        clamav_freshclam_http_proxy_password=["hunter2"],
        opendkim_private_keys=["hunter2"],
        sasl_passwords="hunter2",
        unbound_zone_keys={"zen.spamhaus.org": "hunter2"},
    )
    assert len(said) == 5
    assert "hunter2" not in "".join(said)


def test_what_is_derived_is_not_written():
    """Its parts must fit one another and the model; whoever knows the model writes a template with mail_model in it."""
    (problem,) = problems(sasl_passwords={"store@example.org": "hunter2"})
    assert problem == (
        "host mx1: sasl_passwords: is made by the collection from other variables; "
        "remove it; write vault_mail_login_passwords"
    )
    assert set(_arguments.DERIVED) <= set(OPTIONS)


def test_one_mistake_of_all_hosts_is_said_once_and_two_mistakes_twice():
    shared = {"platform_mail_log_days": -1}
    hosts = {"mx1": shared, "mx2": dict(shared), "store": {"platform_mail_log_days": -2}}
    assert [line.partition(";")[0] for line in _arguments.problems(hosts, OPTIONS)] == [
        "host mx1: platform_mail_log_days: -1 is out of range",
        "host store: platform_mail_log_days: -2 is out of range",
    ]
