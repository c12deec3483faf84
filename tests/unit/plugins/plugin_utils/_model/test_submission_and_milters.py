# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may submit, and where milters listen, from inventories alone."""

from __future__ import annotations

import pytest
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import milters
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import model as _model
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import InventoryError

PASSWORD = "a password of the test"
HASH = "{BLF-CRYPT}$2b$10$" + "u" * 53


def build(gateway=None, more=None, store=None, **values):
    shared = {
        "mail_vpn_networks": ["10.99.0.0/24"],
        "mail_domains": [{"name": "example.org"}, {"name": "example.net", "allow_empty": True}],
        "mail_mailboxes": ["alice@example.org"],
        "mail_postmaster": "alice@example.org",
        "mail_unrouted_addresses": True,
        "vault_mail_password_hashes": {"alice@example.org": HASH},
        **values,
    }
    hosts = {
        "mx1.example.org": {**shared, "mail_ipv4": "198.51.100.11", "mail_vpn_address": "10.99.0.11"} | (gateway or {}),
        "store.example.org": {**shared, "mail_vpn_address": "10.99.0.31"} | (store or {}),
    }
    hosts |= {host: {**shared, **own} for host, own in (more or {}).items()}
    stores = ["store.example.org", *(more or {})]
    return _model.build(hosts, {"mail_gateways": ["mx1.example.org"], "mail_stores": stores})


RELAY = {"host": "smtp.example.com", "port": 465, "login": "site@example.com"}


def test_all_mail_for_the_world_may_leave_by_one_server():
    model = build(mail_relayhost=RELAY, vault_mail_relayhost_password="given by them")["mx1.example.org"]
    assert model["relayhost"] == RELAY
    assert "given by them" not in str(model)
    without = build(mail_relayhost={"host": "Smtp.Example.com"})["mx1.example.org"]
    assert without["relayhost"] == {"host": "smtp.example.com", "port": 587, "login": ""}
    assert build()["mx1.example.org"]["relayhost"] == {"host": "", "port": 0, "login": ""}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mail_relayhost": "smtp.example.com"}, "mail_relayhost"),
        ({"mail_relayhost": {"port": 587}}, "mail_relayhost.host: is missing; write {host: smtp.example.com"),
        ({"mail_relayhost": {"host": "[smtp.example.com]"}}, "mail_relayhost.host"),
        ({"mail_relayhost": {"host": "mx1.example.org"}}, '"mx1.example.org" is ours, so that mail would go round'),
        ({"mail_relayhost": {"host": "example.org"}}, '"example.org" is ours, so that mail would go round'),
        ({"mail_relayhost": {**RELAY, "port": 0}}, "mail_relayhost.port"),
        ({"mail_relayhost": {**RELAY, "tls": False}}, "mail_relayhost.tls"),
        ({"mail_relayhost": RELAY}, "vault_mail_relayhost_password: is missing, and mail_relayhost has a login"),
        ({"mail_relayhost": {**RELAY, "login": "a:b"}}, 'mail_relayhost.login: "a:b" is no login'),
        (
            {"mail_relayhost": {"host": "smtp.example.com"}, "vault_mail_relayhost_password": "given by them"},
            "vault_mail_relayhost_password: is written, and mail_relayhost has no login",
        ),
        ({"vault_mail_relayhost_password": "given by them"}, "is written, and there is no mail_relayhost; remove it"),
        ({"mail_relayhost": RELAY, "vault_mail_relayhost_password": "given\nby them"}, "is no password: a string"),
        ({"mail_relayhost": RELAY, "vault_mail_relayhost_password": 12345678}, "is no password: a string"),
        ({"mail_relayhost": RELAY, "vault_mail_relayhost_password": " given by them"}, "begins or ends with a blank"),
        (
            {
                "mail_relayhost": {"host": "smtp.example.com"},
                "mail_slow_destinations": [{"domains": ["example.edu"], "delay": 5}],
            },
            "mail_slow_destinations: is written beside mail_relayhost, by which all mail leaves; remove one of the two",
        ),
        (
            {
                "mail_relayhost": RELAY,
                "vault_mail_relayhost_password": "given by them",
                "mail_external_targets": ["carol@example.edu"],
            },
            "mail_external_targets: is written beside mail_relayhost with a login, which mail of strangers may not",
        ),
    ],
)
def test_a_server_that_could_not_take_our_mail_is_refused(values, words):
    with pytest.raises(InventoryError) as error:
        build(**values)
    assert any(words in problem for problem in error.value.problems), error.value.problems
    assert not any("by them" in problem for problem in error.value.problems)


def test_forwarded_mail_may_leave_by_a_server_that_asks_for_no_login():
    model = build(mail_relayhost={"host": "smtp.example.com"}, mail_external_targets=["carol@example.edu"])
    assert model["mx1.example.org"]["relayhost"]["host"] == "smtp.example.com"


def with_logins(logins, **passwords):
    return {"mail_logins": logins, "vault_mail_login_passwords": dict.fromkeys(logins, PASSWORD) | passwords}


def test_an_address_with_an_owner_belongs_to_the_owners_of_its_domain_too():
    logins = {"Alice@example.org": "alice@example.org", "store@example.org": ["@example.org", "@example.net"]}
    model = build(**with_logins(logins))["mx1.example.org"]
    assert model["logins"] == {
        "alice@example.org": ["alice@example.org"],
        "store@example.org": ["@example.net", "@example.org"],
    }
    assert model["senders"] == {
        "@example.net": ["store@example.org"],
        "@example.org": ["store@example.org"],
        "alice@example.org": ["alice@example.org", "store@example.org"],
    }


WAY = "submission@store.example.org"
BOB = {
    "mail_mailboxes": ["alice@example.org", "bob@example.org"],
    "vault_mail_password_hashes": {"alice@example.org": HASH, "bob@example.org": HASH},
    "mail_aliases": {
        "info@example.org": "alice@example.org",
        "all@example.org": ["alice@example.org", "bob@example.org"],
    },
}
SECRET = "a secret of 24 characters"[:24]
PEOPLE = {"mail_submission": True, "vault_mail_login_passwords": {WAY: SECRET}}


def test_people_send_as_their_mailbox_and_as_the_aliases_that_end_in_it_alone():
    models = build(**BOB, **PEOPLE)
    senders = models["store.example.org"]["stored_senders"]
    assert {name: logins for name, logins in senders.items() if "example.net" not in name} == {
        "alice@example.org": ["alice@example.org"],
        "bob@example.org": ["bob@example.org"],
        "info@example.org": ["alice@example.org"],
        "postmaster@example.org": ["alice@example.org"],
        "abuse@example.org": ["alice@example.org"],
    }
    assert models["mx1.example.org"]["stored_senders"] == {}
    assert build(**BOB)["store.example.org"]["stored_senders"] == {}


def test_of_the_domains_that_a_mail_host_pushes_each_login_owns_its_address():
    sources = {"mail_recipients_sources": [{"doveadm": "*"}]}
    models = build(**BOB, **PEOPLE, store=sources)
    assert models["store.example.org"]["self_sender_domains"] == ["example.net", "example.org"]
    assert models["mx1.example.org"]["self_sender_domains"] == []
    assert build(**BOB, **PEOPLE)["store.example.org"]["self_sender_domains"] == []


INTERNET = {"mail_submission_zones": ["vpn", "internet"]}


def test_people_may_come_from_the_internet_with_jails():
    store = build(**BOB, **PEOPLE, **INTERNET, store={"mail_ipv4": "198.51.100.31"})["store.example.org"]
    listen = {entry["name"]: entry["zones"] for entry in store["listen"]}
    assert (listen["submission_starttls"], listen["submissions"]) == (["internet", "vpn"], ["internet", "vpn"])
    assert listen["imaps"] == ["vpn"]
    assert store["submission_public_addresses"] == ["198.51.100.31"]
    both = {"mail_ipv4": "198.51.100.31", "mail_ipv6": "2a0c:b641:5::31"}
    store = build(**BOB, **PEOPLE, **INTERNET, store=both)["store.example.org"]
    assert store["submission_public_addresses"] == ["198.51.100.31"]
    inside = build(**BOB, **PEOPLE, store={"mail_ipv4": "198.51.100.31"})["store.example.org"]
    assert inside["submission_public_addresses"] == []
    assert {"gatehouse-submission", "gatehouse-submissions"} <= {jail["name"] for jail in store["jails"]}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {**PEOPLE, **INTERNET},
            "host store.example.org: mail_ipv4: is missing, and people submit on the internet (mail_submission_zones)",
        ),
        (
            {**PEOPLE, **INTERNET, "store": {"mail_ipv6": "2a0c:b641:5::31"}},
            "host store.example.org: mail_ipv4: is missing, and people submit on the internet (mail_submission_zones)",
        ),
        (
            {**PEOPLE, **INTERNET, "mail_bans": False, "store": {"mail_ipv4": "198.51.100.31"}},
            "mail_bans: false leaves guesses at passwords unlimited on the internet (mail_submission_zones); write",
        ),
        ({"mail_submission_zones": ["vpn", "dmz"]}, 'mail_submission_zones[1]: "dmz" is no zone, or is there twice'),
        ({"mail_submission_zones": ["internet"]}, 'lacks vpn; write ["vpn"] or ["internet", "vpn"]'),
        ({"mail_submission_zones": "vpn"}, "mail_submission_zones"),
    ],
)
def test_people_on_the_internet_who_could_not_come_or_guess_freely_are_refused(values, words):
    with pytest.raises(InventoryError) as error:
        build(**BOB, **values)
    assert any(words in problem for problem in error.value.problems), error.value.problems
    build(**BOB, **INTERNET, mail_bans=False)  # without submission it is a word about nothing


MORE = {"Bob@example.org": ["info@example.org", "sales@example.org"], "alice@example.org": "@example.net"}


def test_a_mailbox_may_have_more_senders_and_a_domain_s_owner_those_of_others_in_it():
    more = {**MORE, "bob@example.org": ["info@example.org", "list@example.net"]}
    del more["Bob@example.org"]
    senders = build(**BOB, **PEOPLE, mail_sender_addresses=more)["store.example.org"]["stored_senders"]
    assert senders["info@example.org"] == ["alice@example.org", "bob@example.org"]
    assert senders["@example.net"] == ["alice@example.org"]
    assert senders["list@example.net"] == ["alice@example.org", "bob@example.org"]
    assert senders["bob@example.org"] == ["bob@example.org"]
    assert "sales@example.org" not in senders


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {**PEOPLE, "mail_sender_addresses": {"carol@example.org": "info@example.org"}},
            '"carol@example.org" is not a mailbox; write one of mail_mailboxes',
        ),
        (
            {**PEOPLE, "mail_sender_addresses": {"bob@example.org": "bob@sender.example"}},
            "is in a domain that is not ours",
        ),
        ({**PEOPLE, "mail_sender_addresses": {"bob@example.org": []}}, "may send as nobody"),
        ({**PEOPLE, "mail_sender_addresses": ["bob@example.org"]}, "mail_sender_addresses"),
    ],
)
def test_more_senders_of_nobody_or_that_are_not_ours_are_refused(values, words):
    with pytest.raises(InventoryError) as error:
        build(**BOB, **values)
    assert any(words in problem for problem in error.value.problems), error.value.problems
    build(**BOB, **PEOPLE, mail_sender_addresses=MORE)
    build(**BOB, mail_sender_addresses=MORE)  # it may stay, with its password


def test_a_sender_in_a_domain_of_another_mail_host_is_refused():
    domains = [
        {"name": "example.org", "store": "store.example.org"},
        {"name": "example.net", "store": "two.example.org"},
    ]
    for domain in domains:
        domain["allow_empty"] = True
    secrets = {WAY: SECRET, "submission@two.example.org": SECRET}
    values = {
        **BOB,
        "mail_submission": True,
        "vault_mail_login_passwords": secrets,
        "mail_domains": domains,
        "more": {"two.example.org": {"mail_vpn_address": "10.99.0.32"}},
    }
    with pytest.raises(InventoryError) as error:
        build(**values, mail_sender_addresses=MORE)
    (problem,) = error.value.problems
    assert '"@example.net" is in a domain of two.example.org, and store.example.org sends for its own alone' in problem
    build(**values, mail_sender_addresses={"bob@example.org": "sales@example.org"})


def test_the_gateways_submission_may_have_a_number_that_a_mail_host_has_too():
    assert build(mail_ports={"submission": 587})["mx1.example.org"]["ports"]["submission_starttls"] == 587


def test_selinux_lets_the_judge_listen_on_a_mail_host_where_people_send():
    judge = {"port": "8892", "proto": "tcp", "setype": "milter_port_t"}
    assert judge in build(**BOB, **PEOPLE, mail_milter_sockets="inet")["store.example.org"]["selinux_ports"]
    assert judge not in build(**BOB, mail_milter_sockets="inet")["store.example.org"]["selinux_ports"]


def test_a_mail_host_sends_for_its_domains_by_all_gateways_that_stay():
    models = build(**BOB, **PEOPLE)
    assert models["mx1.example.org"]["logins"] == {WAY: ["@example.net", "@example.org", "@store.example.org"]}
    assert models["store.example.org"]["way_out"] == {
        "name": "gateways.gatehouse.internal",
        "login": WAY,
        "gateways": ["mx1.example.org"],
        "records": [
            "gateways.gatehouse.internal. 60 IN MX 10 mx1.example.org.",
            "mx1.example.org. 60 IN A 10.99.0.11",
        ],
    }
    assert models["mx1.example.org"]["way_out"]["records"] == []
    assert models["mx1.example.org"]["mail_host_logins"] == [WAY]
    listen = {entry["name"]: entry for entry in models["store.example.org"]["listen"]}
    for name, port in (("submission_starttls", 587), ("submissions", 465)):
        assert listen[name] == {"name": name, "port": port, "protocol": "tcp", "zones": ["vpn"]}
    jails = {jail["name"]: jail["port"] for jail in models["store.example.org"]["jails"]}
    assert (jails["gatehouse-submission"], jails["gatehouse-submissions"]) == (587, 465)
    assert models["store.example.org"]["selinux_ports"] == []  # Postfix may go to any port


def test_without_submission_for_people_there_is_nothing_of_it():
    store = build(**BOB, vault_mail_login_passwords={WAY: SECRET})["store.example.org"]  # its password may stay
    assert [entry["name"] for entry in store["listen"] if "submission" in entry["name"]] == []
    assert [role for role in store["absent"] if role in ("submission", "dmarc")] == ["submission", "dmarc"]
    assert (store["logins"], store["mail_host_logins"]) == ({}, [])
    assert "submission" not in build(**BOB, **PEOPLE)["store.example.org"]["absent"]


def test_users_of_the_operator_s_own_need_no_hash():
    model = build(mail_users="external", vault_mail_password_hashes={})["store.example.org"]
    assert (model["users"], model["stored_mailboxes"]) == ("external", ["alice@example.org"])
    assert build()["store.example.org"]["users"] == "inventory"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mail_users": "external"}, "vault_mail_password_hashes: is written, and mail_users is external; remove it"),
        ({"vault_mail_password_hashes": {}}, 'mailbox "alice@example.org" has no password hash'),
        (
            {
                "mail_users": "external",
                "vault_mail_password_hashes": {},
                "mail_mailbox_quotas": {"alice@example.org": "20G"},
            },
            "mail_mailbox_quotas: is written, and mail_users is external; remove it; write userdb_quota_rule",
        ),
        ({"mail_users": "ldap"}, 'mail_users: "ldap" is not who keeps the users; write one of inventory, external'),
    ],
)
def test_users_that_nobody_or_two_would_keep_are_refused(values, words):
    with pytest.raises(InventoryError) as error:
        build(**values)
    assert any(words in problem for problem in error.value.problems), error.value.problems


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mail_submission": True}, "vault_mail_login_passwords: is missing"),
        (
            {"mail_submission": True, "vault_mail_login_passwords": {}},
            f'login "{WAY}" has no password; make one with `openssl rand -base64 24`',
        ),
        # 12 characters are enough for who must log in for each guess, and not for who has what was made of them.
        (
            {"mail_submission": True, "vault_mail_login_passwords": {WAY: SECRET[:23]}},
            "is shorter than 24 characters; make one",
        ),
        ({**PEOPLE, "mail_logins": {WAY: "@example.org"}}, "is the login of a mail host; remove it"),
        ({"mail_submission": "perhaps"}, "mail_submission"),
    ],
)
def test_a_mail_host_that_could_not_send_is_refused(values, words):
    with pytest.raises(InventoryError) as error:
        build(**BOB, **values)
    assert any(words in problem for problem in error.value.problems), error.value.problems


def test_submission_is_on_the_vpn_where_somebody_may_log_in():
    quiet, busy = (
        build(**values)["mx1.example.org"] for values in ({}, with_logins({"a@example.org": "@example.org"}))
    )
    assert [entry["name"] for entry in quiet["listen"]] == ["smtp"]
    entry = {"name": "submission", "port": 32841, "protocol": "tcp", "zones": ["vpn"]}
    assert entry in busy["listen"]
    assert busy["reserved_ports"] == [32841]
    assert busy["selinux_ports"] == [{"port": "32841", "proto": "tcp", "setype": "smtp_port_t"}]


@pytest.mark.parametrize("logins", [{}, {"a@example.org": "@example.org"}], ids=["nobody", "somebody"])
@pytest.mark.parametrize("files", [[], [{"certificate": "a.crt", "key": "a.key"}]], ids=["none brought", "brought"])
def test_submission_shows_the_private_ca_s_certificates_whatever_port_25_shows(logins, files):
    tls = build(**with_logins(logins), gateway={"mail_certificate_files": files})["mx1.example.org"]["tls"]
    issued, brought = ["public-ecdsa", "public-rsa"], ["public-0"]

    def names(pairs):
        return [pair["key"].rpartition("/")[2].removesuffix(".key") for pair in pairs]

    assert names(tls["public"]) == (brought if files else issued)
    assert names(tls["submission"]) == (issued if logins else [])
    # What nobody is shown is not issued.
    assert [each["name"] for each in tls["issued"]] == ["private", *(issued if logins or not files else [])]


def test_a_port_that_is_used_for_something_else_now_keeps_its_label():
    """Submission at a port that milters on TCP would have."""
    model = build(**with_logins({"a@example.org": "@example.org"}), mail_ports={"submission": 8894})["mx1.example.org"]
    assert model["selinux_ports"] == [{"port": "8894", "proto": "tcp", "setype": "smtp_port_t"}]
    assert model["selinux_ports_absent"] == [
        {"port": port, "proto": "tcp", "setype": "milter_port_t", "state": "absent"} for port in ("8892", "8895")
    ]


@pytest.mark.parametrize(
    ("name", "port", "owner"), [("submission", 8894, "clamav-milter"), ("imaps", 8891, "opendkim")]
)
def test_where_milters_are_on_tcp_their_ports_are_taken(name, port, owner):
    values = {**with_logins({"a@example.org": "@example.org"}), "mail_ports": {name: port}}
    build(**values)
    with pytest.raises(InventoryError) as error:
        build(**values, mail_milter_sockets="inet")
    assert f"mail_ports.{name}: {port} is the port of {owner}; write a port that is free" in str(error.value)


LOGIN = {"alice@example.org": "alice@example.org"}
BAD = {
    # name: (variables, what the one problem says)
    "a login without realm": (with_logins({"al": "alice@example.org"}), 'mail_logins.al: "al" is not an address'),
    "a login with a colon": (with_logins({"a:b@example.org": "@example.org"}), 'mail_logins["a:b@example.org"]: '),
    "a sender of another's": (
        with_logins({"alice@example.org": "carol@sender.example"}),
        'mail_logins["alice@example.org"][0]: "carol@sender.example" is in a domain that is not ours',
    ),
    "another's domain": (
        with_logins({"alice@example.org": ["@sender.example"]}),
        'mail_logins["alice@example.org"][0]: "@sender.example" is in a domain that is not ours',
    ),
    "no sender": (with_logins({"alice@example.org": []}), "may send as nobody"),
    "logins in a list": ({"mail_logins": ["alice@example.org"]}, "mail_logins: "),
    "no passwords": ({"mail_logins": LOGIN}, "vault_mail_login_passwords: is missing"),
    "an empty password": (with_logins(LOGIN, **{"alice@example.org": ""}), "is empty; make one"),
    "a short password": (with_logins(LOGIN, **{"alice@example.org": "elevenchars"}), "is shorter than 12 characters"),
    "a newline": (with_logins(LOGIN, **{"alice@example.org": PASSWORD + "\n"}), "contains a newline or NUL"),
    "a NUL": (with_logins(LOGIN, **{"alice@example.org": PASSWORD + "\0"}), "contains a newline or NUL"),
    "a number": (with_logins(LOGIN, **{"alice@example.org": 123456789012}), "is an integer, not a password"),
    "a long password": (with_logins(LOGIN, **{"alice@example.org": "x" * 1025}), "is longer than 1024 octets"),
    "a password too many": (with_logins(LOGIN, **{"bob@example.org": PASSWORD}), '"bob@example.org" is not a login'),
    "a password too few": (
        {**with_logins(LOGIN), "mail_logins": {**LOGIN, "bob@example.org": "@example.org"}},
        'login "bob@example.org" has no password',
    ),
    "a label twice": (
        {"mail_dkim_senders": {"a@example.org": "news", "b@example.org": "news"}},
        'mail_dkim_senders["b@example.org"]: "news" is that of another sender as well',
    ),
    "a label that is none": ({"mail_dkim_senders": {"a@example.org": "N_ws"}}, '"N_ws" cannot begin a selector'),
    "a sender that is a domain": ({"mail_dkim_senders": {"@example.org": "news"}}, "is a domain"),
    "a kind of socket": ({"mail_milter_sockets": "tcp"}, 'mail_milter_sockets: "tcp" is no kind of socket'),
    "submission on 25": ({"mail_ports": {"submission": 25}}, "mail_ports.submission: 25 is the port of smtp"),
    "submission on 0": ({"mail_ports": {"submission": 0}}, "mail_ports.submission: 0 "),
    "policyd-spf in words": ({"mail_policyd_spf": "often"}, "mail_policyd_spf: "),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_value(name):
    """The problem, with place and remedy, and never with the password."""
    values, said = BAD[name]
    with pytest.raises(InventoryError) as caught:
        build(**values)
    problem = caught.value.problems[0]
    assert problem.startswith("host mx1.example.org: ")
    assert said in problem
    assert "; " in problem
    assert PASSWORD not in problem
    assert "elevenchars" not in problem


def test_milters_listen_on_unix_sockets_unless_they_are_told_otherwise():
    unix = build()["mx1.example.org"]
    assert [m["name"] for m in unix["milters"]] == ["opendkim", "opendkim-ed25519", "gatehouse-dmarc", "clamav-milter"]
    assert all(m["connect"].startswith("unix:/run/") and m["listen"].startswith("local:/run/") for m in unix["milters"])
    assert unix["selinux_ports"] == []
    inet = build(mail_milter_sockets="inet")
    ports = (8891, 8890, 8892, 8894)
    listening = inet["mx1.example.org"]["milters"]
    assert [milter["connect"] for milter in listening] == [f"inet:127.0.0.1:{port}" for port in ports]
    assert [milter["listen"] for milter in listening] == [f"inet:{port}@127.0.0.1" for port in ports]
    labels = [{"port": port, "proto": "tcp", "setype": "milter_port_t"} for port in ("8892", "8894")]
    assert inet["mx1.example.org"]["selinux_ports"] == labels  # EL's policy has the others
    assert inet["store.example.org"]["selinux_ports"] == []


def test_without_a_virus_scanner_postfix_asks_none():
    model = build(mail_virus_scanner=False, mail_milter_sockets="inet")["mx1.example.org"]
    assert model["virus_scanner"] is False
    assert [milter["name"] for milter in model["milters"]] == ["opendkim", "opendkim-ed25519", "gatehouse-dmarc"]
    assert [port["port"] for port in model["selinux_ports"]] == ["8892"]


def test_a_signature_is_judged_before_the_policy_and_what_the_judge_adds_is_signed():
    model = build(**with_logins(LOGIN))["mx1.example.org"]
    assert model["milter_chains"] == {
        "smtp": ["opendkim", "gatehouse-dmarc", "clamav-milter"],
        "submission": ["gatehouse-dmarc", "opendkim", "opendkim-ed25519", "clamav-milter"],
        "local": ["opendkim", "opendkim-ed25519"],
    }


def test_opendmarc_judges_strangers_where_it_is_chosen_and_nobody_who_logs_in():
    alone = build(mail_dmarc_judge="opendmarc")["mx1.example.org"]
    assert alone["milter_chains"]["smtp"] == ["opendkim", "opendmarc", "clamav-milter"]
    assert alone["judges"] == ["opendmarc"]
    assert alone["strict_from"] is True
    both = build(mail_dmarc_judge="opendmarc", mail_policyd_spf=True, **with_logins(LOGIN))["mx1.example.org"]
    assert both["milter_chains"]["submission"][0] == "gatehouse-dmarc"
    assert both["judges"] == ["gatehouse-dmarc", "opendmarc"]
    assert both["policyd_spf"] is True


@pytest.mark.parametrize(
    "values, problem",
    [
        ({"mail_dmarc_judge": "rspamd"}, 'mail_dmarc_judge: "rspamd" is no judge; write one of dmarc, opendmarc'),
        (
            {"mail_policyd_spf": True},
            "mail_policyd_spf: true goes with opendmarc alone; write mail_dmarc_judge: opendmarc as well, or remove it",
        ),
        (
            {"mail_any_from_logins": ["printer@example.org"]},
            'mail_any_from_logins[0]: "printer@example.org" is not a login; write one of mail_logins',
        ),
    ],
)
def test_what_the_judge_cannot_do_is_refused(values, problem):
    with pytest.raises(InventoryError) as caught:
        build(**values)
    assert caught.value.problems == [f"host mx1.example.org: {problem}"]


def test_spamassassin_comes_last_where_it_is_wanted_and_its_absence_costs_no_mail():
    model = build(mail_spamassassin=True)["mx1.example.org"]
    assert model["spamassassin"] is True
    actions = [(milter["name"], milter["default_action"]) for milter in model["milters"]]
    assert actions[-1] == ("spamass-milter", "accept")
    assert {action for name, action in actions[:-1]} == {"tempfail"}
    assert [service for service, chain in model["milter_chains"].items() if "spamass-milter" in chain] == ["smtp"]
    inet = build(mail_spamassassin=True, mail_milter_sockets="inet")["mx1.example.org"]
    assert inet["milters"][-1]["connect"] == "inet:127.0.0.1:8895"
    assert [port["port"] for port in inet["selinux_ports"]] == ["8892", "8894", "8895"]


def test_no_message_is_larger_than_what_can_be_scanned():
    largest = milters.SCANNED_SIZE
    assert build(mail_message_size_limit=largest)["mx1.example.org"]["message_size_limit"] == largest
    with pytest.raises(InventoryError) as caught:
        build(mail_message_size_limit=largest + 1)
    assert caught.value.problems == [
        f"host mx1.example.org: mail_message_size_limit: {largest + 1} is more than ClamAV can scan; "
        f"write at most {largest}, or mail_virus_scanner: false"
    ]
    build(mail_message_size_limit=largest + 1, mail_virus_scanner=False)


def test_no_password_is_in_the_model():
    assert PASSWORD not in str(build(**with_logins(LOGIN)))
