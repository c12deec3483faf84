"""What roles refuse on the host, asked of the roles' own expressions."""

import base64
import re
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from rendered import PLATFORMS, know_filters

ROLES = Path(__file__).parents[3] / "roles"


def trusted(value):
    """The value with its templates trusted, as those of a role's files are."""
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


def evaluate(role, expression, **variables):
    """The value of an expression, given the role's vars/main.yml and other variables."""
    known = yaml.safe_load((ROLES / role / "vars/main.yml").read_text())
    templar = Templar(DataLoader(), variables={**trusted(known), **variables})
    know_filters(templar)
    return templar.template(trust_as_template(f"{{{{ {expression} }}}}"))


def test_the_greylist_is_asked_last_and_not_about_exceptions():
    given = {
        "postfix_greylist": "inet:10.99.0.31:60000",
        "postfix_map_type": "lmdb",
        "postfix_policyd_spf": False,
        "postfix_access": {"clients": [], "senders": [], "recipients": []},
        "postfix_dns_lists": [],
        "postfix_tried_checks": [],
        "postfix_milters": [],
        "postfix_milter_chains": {},
        "postfix_milter_command_timeout": "30s",
        "postfix_milter_content_timeout": "120s",
        "postfix_exempt_clients": [],
        "postfix_relay_domains": [],
        "postfix_slow_destinations": [],
        "postfix_pushed_recipients": [],
    }
    service = "check_policy_service { inet:10.99.0.31:60000, timeout=4s, try_limit=1, default_action=DUNNO }"

    def asked(**others):
        return evaluate("postfix", "__postfix_chain.smtpd_recipient_restrictions", **{**given, **others})

    assert asked()[2:] == [
        "check_client_access cidr:/etc/postfix/greylist_clients",
        "check_recipient_access lmdb:/etc/postfix/greylist_recipients",
        service,
    ]
    assert asked(postfix_tried_checks=["greylisting"])[-1] == f"warn_if_reject {service}"
    assert asked(postfix_greylist="") == asked()[:2]
    # Before the check that answers 550.
    pushed = asked(postfix_pushed_recipients=[{"name": "store.example.org"}])
    assert pushed == ["check_recipient_access lmdb:/etc/postfix/recipients/deferred", *asked()]


TABLES = {
    # case: (entries wanted, added, removed, words)
    "first run": (5, 5, 0, []),
    "nothing to do": (5, 0, 0, []),
    "half goes": (2, 0, 2, []),
    "more than half goes": (2, 0, 3, ["relay_recipients would lose 3 of 5 entries"]),
    "all goes": (0, 0, 1, ["relay_recipients would lose 1 of 1 entries"]),
    "others come in their place": (5, 3, 3, ["relay_recipients would lose 3 of 5 entries"]),
}


@pytest.mark.parametrize("wanted, added, removed, words", TABLES.values(), ids=TABLES)
def test_a_table_that_loses_more_than_half_is_named(wanted, added, removed, words):
    counts = {"added": added, "removed": removed, "changed": 0}
    tables = [{"path": "/etc/postfix/relay_recipients", "count": wanted, "counts": counts}]
    assert evaluate("postfix", "__postfix_shrunk", __postfix_compared={"tables": tables}) == words


def test_a_list_that_is_pushed_no_longer_is_compared_with_the_inventory():
    def compared(*hosts):
        found = {"files": [{"path": f"/etc/postfix/recipients/{name}.example.org"} for name in ("store", "other")]}
        given = {
            "postfix_pushed_recipients": hosts,
            "postfix_relay_recipients": ["alice@example.org"],
            "postfix_virtual_alias_maps": {"info@example.org": ["alice@example.org", "bob@example.org"]},
        }
        return evaluate("postfix", "__postfix_no_longer_pushed", __postfix_pushed_lists=found, **given)

    rows = {
        name: {"path": f"/etc/postfix/recipients/{name}.example.org", "entries": {"alice@example.org": "OK"}}
        for name in ("store", "other")
    }
    aliases = {
        "path": "/etc/postfix/recipients/virtual_alias",
        "entries": {"info@example.org": "alice@example.org, bob@example.org"},
    }
    assert compared() == [rows["other"], rows["store"], aliases]
    pushing = {"name": "store.example.org", "pushes": True}
    assert compared(pushing, {"name": "other.example.org", "pushes": False}) == [rows["other"], aliases]
    assert compared(pushing, {"name": "other.example.org", "pushes": True}) == []


def test_whom_mail_hosts_may_know_waits_only_where_no_push_was_taken():
    def first(*there):
        found = {"files": [{"path": f"/etc/postfix/recipients/{name}.lmdb"} for name in there]}
        later = {"example.org": "450 4.1.1 later"}
        return evaluate(
            "postfix", "__postfix_first_deferred", __postfix_pushed_found=found, postfix_pushed_deferred=later
        )

    assert first() == first("store.example.org") == {"example.org": "450 4.1.1 later"}
    assert first("store.example.org", "virtual_alias") == {}


def test_a_mail_host_pushes_where_the_gateway_is_told_something_new():
    def pushing(*written):
        results = [
            {"changed": False, "item": {"name": "a"}},
            {"changed": True, "item": {"name": "b"}},
            {"changed": False, "unreachable": True, "item": {"name": "c"}},
        ]
        found = evaluate(
            "pushed_recipients",
            "__pushed_recipients_to_push",
            __pushed_recipients_told={"results": results},
            __pushed_recipients_written={"files": list(written)},
        )
        return [result["item"]["name"] for result in found]

    assert pushing("/usr/local/sbin/gatehouse-receiver") == ["b"]
    assert pushing("/etc/gatehouse/recipients/settings.json") == ["a", "b"]


PUBLIC = {
    # case: (key.pub of a mail host, whether it is one key)
    "one": ("ssh-ed25519 AAAAC3Nz+/a= gatehouse-recipients@store\n", True),
    "one without a comment": ("ssh-ed25519 AAAA", True),
    "two": ("ssh-ed25519 AAAA x\nssh-ed25519 EVIL y\n", False),
    "two, by another line end": ("ssh-ed25519 AAAA x\rssh-ed25519 EVIL y\n", False),
    "options": ('command="sh" ssh-ed25519 AAAA x\n', False),
    "another type": ("ssh-rsa AAAA x\n", False),
    "none": ("", False),
}


@pytest.mark.parametrize("text, good", PUBLIC.values(), ids=PUBLIC)
def test_a_mail_host_has_one_key_and_no_more(text, good):
    said = evaluate("pushed_recipients", "text is match(__pushed_recipients_key)", role_path="/x", text=text)
    assert said is good
    results = [
        {
            "item": {"name": "store.example.org", "vpn_address": "10.99.0.31"},
            "content": base64.b64encode(text.encode()).decode(),
        }
    ]
    template = ROLES / "pushed_recipients/templates/etc/gatehouse/recipients/ssh/authorized_keys.j2"
    templar = Templar(
        DataLoader(),
        variables={
            "ansible_managed": "x",
            "__pushed_recipients_admitted": {},
            "__pushed_recipients_keys": {"results": results},
        },
    )
    know_filters(templar)
    lines = [line for line in templar.template(trust_as_template(template.read_text())).splitlines() if "ssh-" in line]
    assert all(line.startswith('restrict,from="10.99.0.31",command="store.example.org" ') for line in lines)


KEYS = {
    # case: (stage, public, brought in the vault, there on the host, whether it is lost)
    "signs, and is there": ("signing", "AAAA", False, True, False),
    "signs, and is not there": ("signing", "AAAA", False, False, True),
    "is to sign, and is not there": ("published", "AAAA", False, False, True),
    "signs no more": ("retired", "AAAA", False, False, False),
    "was removed": ("removed", "AAAA", False, False, False),
    "was never made": ("signing", None, False, False, False),
    "is brought": ("signing", "AAAA", True, False, False),
}


@pytest.mark.parametrize("stage, public, brought, there, lost", KEYS.values(), ids=KEYS)
def test_a_key_that_needs_its_private_part_and_has_none_is_lost(stage, public, brought, there, lost):
    key = {"domain": "example.org", "selector": "mx1", "type": "rsa", "stage": stage, "public": public}
    files = [{"path": "/etc/opendkim/keys/example.org_mx1.private"}] if there else []
    found = evaluate(
        "opendkim", "__opendkim_lost", opendkim_keys=[key], __opendkim_found={"files": files},
        opendkim_private_keys={"example.org/mx1": "PEM"} if brought else {},
    )  # fmt: skip
    assert found == (["example.org/mx1"] if lost else [])


# What EL 10 lacks, and what is to be written then.
LACKING = {
    "greylist": "has no postgrey; write another store into the group mail_greylist",
    "spf": "has no policyd-spf; write mail_policyd_spf: false",
}


@pytest.mark.parametrize(
    "family, version, has", [("Debian", "12", True), ("RedHat", "9", True), ("RedHat", "10", False)]
)
@pytest.mark.parametrize("role", LACKING)
def test_a_platform_that_lacks_a_program_is_named(role, family, version, has):
    task = yaml.safe_load((ROLES / role / "tasks/look.yml").read_text())[0]["ansible.builtin.assert"]
    facts = {"os_family": family, "distribution_major_version": version, "distribution": "Some"}
    assert evaluate(role, task["that"], ansible_facts=facts) is has
    message = trust_as_template(" ".join(task["fail_msg"].split()))
    said = evaluate(role, "message", ansible_facts=facts, inventory_hostname="store", message=message)
    assert said.startswith(f"host store: Some {version} {LACKING[role]}")


PLACES = {
    **{name: (row["family"], row["major"], True) for name, row in PLATFORMS.items()},
    "no such Debian": ("Debian", "24", False),
    "an old EL": ("RedHat", "8", False),
    "another family": ("Suse", "15", False),
    "one's family and the other's version": ("Debian", "9", False),
}


@pytest.mark.parametrize("family, major, known", PLACES.values(), ids=PLACES)
def test_a_platform_that_no_role_knows_is_refused_first_of_all(family, major, known):
    task = yaml.safe_load((ROLES / "platform/tasks/look.yml").read_text())[0]["ansible.builtin.assert"]
    facts = {"os_family": family, "distribution_major_version": major, "distribution": "Some"}
    assert evaluate("platform", task["that"], ansible_facts=facts) is known
    message = trust_as_template(" ".join(task["fail_msg"].split()))
    said = evaluate("platform", "message", ansible_facts=facts, inventory_hostname="mx1", message=message)
    names = ", ".join(row["name"] for row in PLATFORMS.values())
    assert said.startswith(f"host mx1: Some {major} is not supported; use one of {names}, or a rebuild")


ENABLED = "/etc/systemd/system/sysinit.target.wants/nftables.service"
LINKS = {
    "none": ([], []),
    "one that starts with the host": ([ENABLED], ["nftables"]),
    "one by two links": ([ENABLED, "/etc/systemd/system/multi-user.target.wants/nftables.service"], ["nftables"]),
    "one that is masked": (["/etc/systemd/system/ufw.service"], []),
}


@pytest.mark.parametrize("links, said", LINKS.values(), ids=LINKS)
def test_another_firewall_is_one_that_starts_with_the_host(links, said):
    assert (
        evaluate("firewall", "__firewall_foreign", __firewall_links={"files": [{"path": path} for path in links]})
        == said
    )


@pytest.mark.parametrize("delimiter", ["+", "-", ".", ""])
def test_of_a_pushed_domain_each_login_owns_its_own_address_alone(delimiter):
    """As a pcre table answers: the first key that matches, with $1 in its value."""
    given = {
        "submission_self_sender_domains": ["example.org"],
        "submission_recipient_delimiter": delimiter,
        "submission_sender_login_maps": {
            "@example.org": ["robot@example.org"],
            "info@example.org": ["alice@example.org"],
        },
    }
    entries = evaluate("submission", "__submission_self_senders", **given)

    def owners(sender):
        for entry in entries:
            found = re.search(entry["key"].strip("/"), sender)
            if found:
                return found.expand(entry["value"].replace("$", "\\")).split(", ")
        return None

    assert owners("dora@example.org") == ["dora@example.org", "robot@example.org"]
    if delimiter:
        assert owners(f"dora{delimiter}list@example.org") == owners("dora@example.org")
        assert owners(f"info{delimiter}list@example.org") == ["alice@example.org"]
    for other in (
        "dora@example.com",
        "dora@exampleXorg",
        "dora@example.org.example",
        "a@b@example.org",
        "@example.org",
        "x,dora@example.org",
        "x dora@example.org",
        "x\tdora@example.org",
    ):
        assert owners(other) is None
    assert evaluate("submission", "__submission_self_senders", **{**given, "submission_self_sender_domains": []}) == []
