"""DNS records published on the lab's name server, and what is said when they are not as wanted.

The site here is another one than the lab's: it has a domain and gateways of its own, none of which is up.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ROOT = Path(__file__).resolve().parents[3]
SECOND_PORT = 5353
ZONE = "example.net"
STRANGERS = {
    ("example.net.", "TXT", '"google-site-verification=abc"'),
    ("www.example.net.", "A", "192.0.2.80"),
}


def public_key(kind: str) -> str:
    if kind == "rsa":
        key = rsa.generate_private_key(65537, 2048).public_key()
        return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


class Site:
    """A site of two gateways, as an inventory in a folder, and the lab's name server that publishes it."""

    def __init__(self, lab: Any, folder: Path) -> None:
        self.lab, self.folder, self.ns = lab, folder, lab["ns.example.net"]
        self.net4, self.net6 = self.ns.lab_internet4, self.ns.lab_internet6
        self.reverse = [self.ns.lab_reverse_zones[index] for index in (0, 2)]
        self.gateways = {f"mx{number}.{ZONE}": self.gateway(number) for number in (1, 2)}
        vault = yaml.safe_load((ROOT / "inventories/lab/group_vars/all/vault.yml").read_text())
        server = {"server": self.ns.lab_address4, "key": "gatehouse-lab", "servers": [self.ns.lab_address4]}
        self.variables = {
            "mail_clear_secrets": True,
            "mail_unrouted_addresses": True,
            "mail_vpn_networks": ["10.1.0.0/24"],
            "mail_domains": [{"name": ZONE}],
            "mail_mailboxes": [f"dora@{ZONE}"],
            "mail_postmaster": f"dora@{ZONE}",
            "mail_caa": [{"tag": "issue", "value": "ca.example"}],
            "mail_dns_ttl": 60,
            "mail_dns_zones": [{"name": name, **server} for name in (ZONE, *self.reverse)],
            "mail_dkim_rotation": {"published": 0, "retired": 0, "lifetime": 1000000},
            "mail_dkim": [
                {"domain": ZONE, "selector": f"mx{number}{suffix}", "host": f"mx{number}.{ZONE}", "type": kind,
                 "stage": "signing", "since": "2026-11-01T00:00:00Z", "public": public_key(kind)}
                for number in (1, 2) for kind, suffix in (("rsa", ""), ("ed25519", "-ed"))
            ],
            "vault_mail_password_hashes": {f"dora@{ZONE}": "{BLF-CRYPT}$2b$05$" + "u" * 53},
            "vault_mail_tsig_keys": vault["vault_mail_tsig_keys"],
            "dns_directory": str(folder / "dns"),
            "dns_resolvers": [self.ns.lab_address4],
            "opendkim_inventory_file": str(folder / "mail_dkim.yml"),
        }  # fmt: skip

    def gateway(self, number: int) -> dict[str, Any]:
        return {
            "mail_ipv4": f"{self.net4}.20{number}", "mail_ipv6": f"{self.net6}::20{number}",
            "mail_vpn_address": f"10.1.0.{number}", "mail_preference": 10 * number,
        }  # fmt: skip

    def run(self, name: str, *arguments: str) -> list[dict[str, Any]]:
        """Run a playbook on the site; its results."""
        inventory = self.folder / "hosts.yml"
        store = {f"store.{ZONE}": {"mail_vpn_address": "10.1.0.31"}}
        groups = {"mail_gateways": {"hosts": self.gateways}, "mail_stores": {"hosts": store}}
        inventory.write_text(yaml.safe_dump({"all": {"vars": self.variables, "children": groups}}))
        return self.lab.playbook(f"playbooks/{name}.yml", *arguments, inventory=inventory)

    def play(self, name: str, *arguments: str) -> dict[str, Any]:
        """Run a playbook on the site, nothing fails; its results on the first gateway, by task."""
        results = self.run(name, *arguments)
        failed = [result for result in results if result.get("failed")]
        assert not failed, [result.get("msg") for result in failed]
        return {result["task"]: result for result in results if result["host"] == next(iter(self.gateways))}

    def records(self) -> list[dict[str, Any]]:
        return json.loads((self.folder / "dns/records.json").read_text())

    def check(self, *servers: str, **options: Any) -> dict[str, Any]:
        """What dns_info says of the zone's records at these servers, by default at the lab's name server."""
        order = {
            "records": [record for record in self.records() if record["zone"] == ZONE],
            "zones": [{"name": ZONE, "servers": list(servers) or [self.ns.lab_address4]}],
            "resolvers": [self.ns.lab_address4], "timeout": 2, **options,
        }  # fmt: skip
        return self.lab.module("gatehouse.mail.dns_info", **order)

    def served(self, *zones: str) -> set[tuple[str, str, str]]:
        """Every record that Knot serves in these zones but for what signing and updating bring along."""
        own = ("SOA", "NS", "DNSKEY", "RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "CDS", "CDNSKEY", "DS")
        read = [
            line.split(maxsplit=4) for zone in zones for line in self.ns.out("knotc", "zone-read", zone).splitlines()
        ]
        return {(name, kind, data) for _zone, name, _ttl, kind, data in read if kind not in own}

    def edit(self, *changes: str, zone: str = ZONE) -> None:
        """Change the zone by other means than the collection's: "add NAME TTL TYPE DATA", "del NAME TYPE DATA"."""
        self.lab.nsupdate(zone, *changes)


@pytest.fixture(scope="module")
def site(lab, tmp_path_factory):
    """The site, published; a stranger's records are in its zone. At the end all of it is taken away again."""
    site = Site(lab, tmp_path_factory.mktemp("site"))
    before = site.served(ZONE, *site.reverse)
    site.edit(*(f"add {name} 60 {kind} {data}" for name, kind, data in sorted(STRANGERS)))
    site.play("dns")
    yield site
    for zone in (ZONE, *site.reverse):
        site.edit(*(f"del {name} {kind} {data}" for name, kind, data in site.served(zone) - before), zone=zone)


@pytest.fixture(scope="module")
def second(site):
    """A second name server of the zone, which loads the zone text as it is written: its address and port."""
    folder = "/var/lib/second"
    text = (site.folder / f"dns/{ZONE}.zone").read_text()
    head = f"$TTL 60\n$ORIGIN {ZONE}.\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns.example.net.\nns A 192.0.2.1\n"
    address = site.ns.lab_address4
    configuration = (
        f"server:\n    listen: {address}@{SECOND_PORT}\n    rundir: {folder}\n    user: root:root\n"
        f"database:\n    storage: {folder}/db\ntemplate:\n  - id: default\n    storage: {folder}\n"
        f"zone:\n  - domain: {ZONE}\n    file: {ZONE}.zone\n"
    )
    site.ns.run("mkdir", "-p", f"{folder}/db")
    site.ns.run("tee", f"{folder}/knot.conf", given=configuration)
    site.ns.run("tee", f"{folder}/{ZONE}.zone", given=head + text)
    unit = ["systemd-run", "--quiet", "--unit=second", "--property=Type=notify"]
    site.ns.run(*unit, "knotd", "--config", f"{folder}/knot.conf")
    yield f"{address}@{SECOND_PORT}"
    site.ns.run("systemctl", "stop", "second")
    site.ns.run("rm", "-rf", folder)


def test_after_publication_every_server_says_what_is_wanted_and_a_second_run_changes_nothing(site):
    again = site.play("dns")
    assert again["Show what differs"]["msg"] == ["every server says what is wanted"]
    assert [task for task, result in again.items() if result["changed"]] == []


def test_what_was_published_is_what_the_inventory_says_and_what_was_there(site):
    ours = {record["name"] for record in site.records()}
    served = site.served(ZONE, *site.reverse)
    assert served >= STRANGERS
    found = {(name.rstrip("."), kind) for name, kind, _data in served if name.rstrip(".") in ours}
    assert found == {(record["name"], record["type"]) for record in site.records()}


def test_check_mode_says_what_would_change_and_changes_nothing(site):
    before = site.served(ZONE, *site.reverse)
    preview = site.play("dns", "--check", "--extra-vars", json.dumps({"mail_spf": ["mx", "-all"]}))
    (change,) = preview["Publish what differs"]["changes"]
    assert change["add"] == ["v=spf1 mx -all"]
    assert site.served(ZONE, *site.reverse) == before


@pytest.mark.parametrize("checker", [["named-checkzone", ZONE], ["kzonecheck", "--origin", ZONE]], ids=lambda c: c[0])
def test_the_zone_text_is_accepted(site, second, checker):
    site.ns.run(*checker, f"/var/lib/second/{ZONE}.zone")


def test_knot_loads_the_zone_text_and_answers_with_what_is_wanted(site, second):
    found = site.check(second)
    assert [server["port"] for server in found["zones"][ZONE]["servers"]] == [SECOND_PORT]
    assert [each["words"] for each in found["differences"] if each["kind"] != "DNSSEC"] == []


def test_a_third_gateway_comes_and_goes_with_its_own_records_alone(site):
    zones = (ZONE, *site.reverse)
    before = site.served(*zones)
    site.gateways[f"mx3.{ZONE}"] = site.gateway(3)
    try:
        site.play("dns")
        with_it = site.served(*zones)
    finally:
        del site.gateways[f"mx3.{ZONE}"]
    site.play("dns")
    new = {(name, kind) for name, kind, _data in with_it - before}
    pointers = {name for name, kind in new if kind == "PTR"}
    name = f"mx3.{ZONE}."
    assert new == {(f"{ZONE}.", "MX"), (f"{ZONE}.", "TXT"), *((name, kind) for kind in ("A", "AAAA", "TXT", "CAA")),
                   *((pointer, "PTR") for pointer in pointers)}  # fmt: skip
    assert len(pointers) == 2
    ((gone, kind, spf),) = before - with_it
    assert (gone, kind, spf[:8]) == (f"{ZONE}.", "TXT", '"v=spf1 ')
    assert site.served(*zones) == before


def value_of(site, kind, name=ZONE):
    (value,) = [record["value"] for record in site.records() if record["kind"] == kind and record["name"] == name]
    return value


def test_five_faults_at_once_are_named_one_by_one_and_mended(site, second):
    before = site.served(ZONE)
    key = value_of(site, "DKIM", f"mx1._domainkey.{ZONE}")
    (strings,) = [data for name, kind, data in before if name == f"mx1._domainkey.{ZONE}."]
    site.edit(
        f"del _dmarc.{ZONE}. TXT",  # missing
        f'add {ZONE}. 60 TXT "v=spf1 a:old.example.net ~all"',  # duplicate
        f"del mx1.{ZONE}. A", f"add mx1.{ZONE}. 60 A 192.0.2.99",  # wrong value
        f"del mx1._domainkey.{ZONE}. TXT {strings}",
        f'add mx1._domainkey.{ZONE}. 60 TXT "{key[:200]}" " {key[200:400]}" "{key[400:]}"',  # split wrongly
    )  # fmt: skip
    found = site.check(site.ns.lab_address4)["differences"]
    assert sorted((each["kind"], each["name"], each["problem"]) for each in found) == [
        ("A", f"mx1.{ZONE}", "wrong"),
        ("DKIM", f"mx1._domainkey.{ZONE}", "split"),
        ("DMARC", f"_dmarc.{ZONE}", "missing"),
        ("SPF", ZONE, "duplicate"),
    ]
    assert all(each["words"] and each["todo"] for each in found)
    site.play("dns")
    assert site.served(ZONE) == before
    # The fifth: a server that still has the zone as it was, while the inventory and the first server went on.
    changed = [
        {**record, "value": "v=DMARC1; p=reject"} if record["kind"] == "DMARC" else record
        for record in site.records() if record["zone"] == ZONE
    ]  # fmt: skip
    site.edit(f"del _dmarc.{ZONE}. TXT", f'add _dmarc.{ZONE}. 60 TXT "v=DMARC1; p=reject"')
    stale = site.check(site.ns.lab_address4, second, records=changed)["differences"]
    site.play("dns")
    assert [(each["problem"], each["servers"]) for each in stale] == [("stale", [second])]


def test_servers_that_do_not_answer_are_answers(site):
    there, silent, shut = site.ns.lab_address4, f"{site.net4}.250", f"{site.ns.lab_address4}@9"
    found = site.check(there, silent, shut, "nowhere.example.net")
    problems = {each["servers"][0]: each["problem"] for each in found["differences"]}
    assert set(problems) == {silent, shut, "nowhere.example.net"}
    assert {problems[silent], problems[shut]} <= {"timeout", "unreachable", "no route"}
    assert problems["nowhere.example.net"] == "no address"
    foreign = [{**record, "zone": "example.com"} for record in site.records()[:1]]
    lame = site.check(records=foreign, zones=[{"name": "example.com", "servers": [there]}])["differences"]
    assert [each["problem"] for each in lame] == ["lame"]  # it has the lab's root, and no such zone below it
    unknown = site.check(records=foreign, zones=[])["differences"]
    assert [each["zone"] for each in unknown] == ["example.com"]


def test_an_alias_is_followed(site):
    target = f"key.{ZONE}"
    name = f"mx2-ed._domainkey.{ZONE}"
    key = value_of(site, "DKIM", name)
    site.edit(f"del {name}. TXT")  # by itself: Knot refuses a CNAME beside what the same update removes
    site.edit(f'add {target}. 60 TXT "{key}"', f"add {name}. 60 CNAME {target}.")
    try:
        assert site.check()["differences"] == []
        site.edit(f"del {target}. TXT")
        assert [each["problem"] for each in site.check()["differences"]] == ["alias"]
    finally:
        site.edit(f"del {name}. CNAME")
        site.edit(f'add {name}. 60 TXT "{key}"')


@pytest.mark.parametrize("alias", ["CNAME", pytest.param("DNAME", marks=pytest.mark.stress)])
def test_an_alias_to_another_text_is_named_and_no_change_is_reported_that_never_happens(site, alias):
    name, text = f"_dmarc.{ZONE}", "v=DMARC1; p=reject"
    value = value_of(site, "DMARC", name)
    target = {"CNAME": f"elsewhere.{ZONE}", "DNAME": f"mx1.elsewhere.{ZONE}"}[alias]
    if alias == "DNAME":  # of all names below _domainkey, so of every selector
        name, value = f"mx1._domainkey.{ZONE}", value_of(site, "DKIM", f"mx1._domainkey.{ZONE}")
    owner = name if alias == "CNAME" else f"_domainkey.{ZONE}"
    before = site.served(ZONE)
    below = [each[0] for each in before if each[0].endswith(f"{owner}.")]
    site.edit(*(f"del {each} TXT" for each in below))  # Knot takes no alias beside what the same update removes
    site.edit(f'add {target}. 60 TXT "{text}"', f"add {owner}. 60 {alias} elsewhere.{ZONE}.")
    try:
        with_it = site.served(ZONE)
        for _run in range(2):
            results = site.play("dns")
            assert [task for task, result in results.items() if result["changed"]] == []
            said = [line for line in results["Publish what differs"]["aliases"] if line.startswith(f"{name}: ")]
            assert len(said) == 1
            assert f"the {alias} at {owner} leads to {target}" in said[0]
            assert f"remove that {alias}, then add {value}" in said[0]
            assert said[0] in results["Show what differs"]["msg"]
        assert site.served(ZONE) == with_it
    finally:
        site.edit(f"del {owner}. {alias}", f"del {target}. TXT")
        site.play("dns")
    assert site.served(ZONE) == before


def test_dnssec_is_reported(site, second):
    assert site.check()["zones"][ZONE]["dnssec"] == "signed"
    broken = site.check(second)  # unsigned, while the parent has a DS record
    assert broken["zones"][ZONE]["dnssec"] == "broken"
    assert [each["kind"] for each in broken["differences"]] == ["DNSSEC"]


def test_a_wrong_key_is_refused_and_nothing_is_changed(site):
    before = site.served(ZONE)
    wrong = {"gatehouse-lab": {"algorithm": "hmac-sha256", "secret": "d3Jvbmc="}}
    variables = json.dumps({"mail_spf": ["mx", "-all"], "vault_mail_tsig_keys": wrong})
    with pytest.raises(AssertionError, match=f"zone {ZONE}: server "):
        site.play("dns", "--extra-vars", variables)
    assert site.served(ZONE) == before


def test_keys_move_on_only_when_dns_shows_them(site):
    """A rotation's part in DNS; what a gateway signs with is another test's matter."""
    file = site.folder / "mail_dkim.yml"
    first = site.variables["mail_dkim"]
    new = {**first[0], "selector": "mx1-202612", "stage": "published", "public": public_key("rsa")}
    assert first[0]["type"] == "rsa"

    def stages(keys):
        return {key["selector"]: key["stage"] for key in keys}

    def rotate(*arguments):
        result = site.play("rotate_dkim", "--skip-tags", "opendkim", *arguments)  # no gateway is there
        if file.exists():
            site.variables["mail_dkim"] = yaml.safe_load(file.read_text())["mail_dkim"]
        return result

    site.variables["mail_dkim"] = [*first, new]
    try:
        shown = rotate("--check")["Show the next steps"]["msg"]
        assert any(line.startswith("mx1-202612.") and "not every authoritative server" in line for line in shown)
        assert not file.exists()
        rotate()  # not shown yet; this run publishes it
        assert stages(site.variables["mail_dkim"])["mx1-202612"] == "published"
        rotate()
        assert (stages(site.variables["mail_dkim"])["mx1"], stages(site.variables["mail_dkim"])["mx1-202612"]) == (
            "retired", "signing")  # fmt: skip
        assert site.check()["differences"] == []
        assert f"mx1._domainkey.{ZONE}." in {name for name, _kind, _data in site.served(ZONE)}
        rotate()
        assert stages(site.variables["mail_dkim"])["mx1"] == "removed"
        served = {name for name, _kind, _data in site.served(ZONE)}
        assert f"mx1._domainkey.{ZONE}." not in served
        assert f"mx1-202612._domainkey.{ZONE}." in served
        assert "Write mail_dkim.yml, whole and at once" not in rotate()  # nothing is due any more
    finally:
        site.variables["mail_dkim"] = first
        site.play("dns")


def test_a_gateway_leaves_in_the_order_of_the_page_and_nothing_of_it_stays(site):
    """What DNS sees of "A gateway leaves" in docs/operations.md; no gateway is there."""
    zones, name = (ZONE, *site.reverse), f"mx3.{ZONE}"
    before, file, written = site.served(*zones), site.folder / "mail_dkim.yml", site.variables["mail_dkim"]
    key = {**written[0], "selector": "mx3", "host": name, "public": public_key("rsa")}
    selector = f"mx3._domainkey.{ZONE}."

    def of_mx3():
        return {
            (owner, kind) for owner, kind, data in site.served(*zones) - before if owner != f"{ZONE}." or kind == "MX"
        }

    def rotate():
        result = site.play("rotate_dkim", "--skip-tags", "opendkim")
        site.variables["mail_dkim"] = yaml.safe_load(file.read_text())["mail_dkim"]
        return result["Show what differs"]["msg"]

    def retire(*arguments):
        return site.play("retire", "--extra-vars", f"gateway={name}", *arguments)["Show what is next"]["msg"]

    def stopped(*arguments):
        results = site.run("retire", "--extra-vars", f"gateway={name}", *arguments)
        assert "Show what is next" not in {result["task"] for result in results}
        return " ".join(str(result["msg"]) for result in results if result.get("failed"))

    site.gateways[name] = site.gateway(3)
    site.variables["mail_dkim"] = [*written, key]
    try:
        site.play("dns")
        with_it = of_mx3()
        assert {(f"{ZONE}.", "MX"), (f"{name}.", "A"), (selector, "TXT")} <= with_it
        site.gateways[name]["mail_retiring"] = True
        assert f"host {name}: its MX records are gone since " in retire()
        assert of_mx3() == with_it - {(f"{ZONE}.", "MX")}
        gone = site.folder / "dns/gone.json"
        (since,) = json.loads(gone.read_text()).values()
        gone.write_text(json.dumps({name: "2026-01-01T00:00:00Z"}))
        assert since > "2026-11-01"
        assert "no sender knows them any more; when no program submits mail there, write mail_ret" in retire("--check")
        site.gateways[name]["mail_retiring"] = "shut"
        assert "run without --limit; its ports were not shut" in stopped("--limit", f"all:!{name}")
        assert "no gateway that stays greets at port 25" in stopped()  # none of them is there
        del site.gateways[name]
        said = site.play("dns")["Show what differs"]["msg"]
        assert json.loads(gone.read_text()) == {}
        assert of_mx3() == {(selector, "TXT")}
        (due,) = [line for line in said if line.startswith("mx3.")]
        assert "retire now" in due and "has left the inventory" in due
        (waits,) = [line for line in rotate() if line.startswith("mx3.")]
        assert ": remove " in waits
        assert of_mx3() == {(selector, "TXT")}
        assert [line for line in rotate() if line.startswith("mx3.")] == []
        assert site.served(*zones) == before
    finally:
        site.gateways.pop(name, None)
        site.variables["mail_dkim"] = written
        site.play("dns")


def test_a_gateway_that_stays_is_not_taken_out_of_dns(site):
    """Nor the last one; the neighbour is the test above."""
    first, second = site.gateways
    before = site.served(ZONE)

    def refused(*arguments):
        results = site.run("retire", *arguments)
        assert {result["task"] for result in results if result["role"] != "gatehouse.mail.mail"} == {
            "Stop where it may not"
        }
        (said,) = {result["msg"] for result in results if result.get("failed")}
        assert said.endswith("\nnothing was changed")
        return said

    assert refused().startswith("gateway: is missing; run with -e gateway=")
    assert f"host {second}: mail_retiring: false says that the gateway stays" in refused("-e", f"gateway={second}")
    site.gateways[second]["mail_retiring"] = True
    try:
        assert f"host {first}: mail_retiring: false must stay, since no other" in refused("-e", f"gateway={first}")
    finally:
        del site.gateways[second]["mail_retiring"]
    assert site.served(ZONE) == before


def test_lost_keys_are_marked_and_stay_published_while_their_mail_is_under_way(site):
    file, written = site.folder / "mail_dkim.yml", site.variables["mail_dkim"]
    before = site.served(ZONE)
    try:
        said = site.play("rotate_dkim", "--skip-tags", "opendkim", "--extra-vars", "rotate_dkim_lost=mx2")
        marked = yaml.safe_load(file.read_text())["mail_dkim"]
        assert {key["selector"]: key["stage"] for key in marked} == {
            "mx1": "signing", "mx1-ed": "signing", "mx2": "retired", "mx2-ed": "retired"}  # fmt: skip
        assert site.served(ZONE) == before
        unmade = [line for line in said["Show the records"]["msg"] if line.startswith("#")]
        assert [line.split("._")[0] for line in unmade] == ["# mx2-2", "# mx2-ed-2"]
    finally:
        site.variables["mail_dkim"] = written
        site.play("dns")


def test_the_lab_s_own_records_are_published(lab):
    lab.playbook("playbooks/dns.yml")
    results = {result["task"]: result for result in lab.playbook("playbooks/dns.yml") if not result.get("failed")}
    assert not results["Publish what differs"]["changed"]
    said = results["Show what differs"]["msg"]
    assert [
        line for line in said if "key was not made" not in line and line != "every server says what is wanted"
    ] == []
