# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS records from the inventory to text and back, and how they differ from what servers say."""

from __future__ import annotations

import base64
import copy
import functools

import dns.name
import dns.rdatatype
import dns.zone
import pytest
from ansible_collections.gatehouse.mail.plugins.module_utils import _dns, _spf
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _records
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import model as _model
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model.inventory import InventoryError
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st


@functools.lru_cache
def rsa_key(bits=2048):
    public = rsa.generate_private_key(65537, bits).public_key()
    return base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


@functools.lru_cache
def ed25519_key():
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    return base64.b64encode(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def dkim(selector="mx1", kind="rsa", stage="signing", host="mx1.example.org", domain="example.org", public=None):
    return {
        "domain": domain, "selector": selector, "host": host, "type": kind, "stage": stage,
        "since": "2026-11-01T00:00:00Z", "public": public or (rsa_key() if kind == "rsa" else ed25519_key()),
    }  # fmt: skip


GATEWAYS = {
    "mx1.example.org": {"mail_ipv4": "198.51.100.11", "mail_ipv6": "2001:db8:51::11", "mail_vpn_address": "10.99.0.11"},
    "mx2.example.org": {"mail_ipv4": "198.51.100.12", "mail_vpn_address": "10.99.0.12", "mail_preference": 20},
}
MX3 = {"mail_ipv4": "198.51.100.13", "mail_ipv6": "2001:db8:51::13", "mail_vpn_address": "10.99.0.13",
       "mail_preference": 30}  # fmt: skip


def build(gateways=None, **site):
    """The model of a site of these gateways, with site variables; ... removes one."""
    shared = {
        "mail_vpn_networks": ["10.99.0.0/16"],
        "mail_domains": [{"name": "example.org", "allow_empty": True}],
        "mail_mailboxes": ["alice@example.org"],
        "mail_postmaster": "alice@example.org",
        "mail_unrouted_addresses": True,
        "vault_mail_password_hashes": {"alice@example.org": "{BLF-CRYPT}$2y$05$" + "u" * 53},
        **site,
    }
    gateways = GATEWAYS if gateways is None else gateways
    hosts = {host: copy.deepcopy({**shared, **own}) for host, own in gateways.items()}
    hosts["store.example.org"] = {**copy.deepcopy(shared), "mail_vpn_address": "10.99.255.31"}
    groups = {"mail_gateways": list(gateways), "mail_stores": ["store.example.org"]}
    return _model.build(hosts, groups)["store.example.org"]


def domains(**of_example_org):
    return [{"name": "example.org", **of_example_org}]


def records(*arguments, **site):
    return _records.records(build(*arguments, **site))


def values(wanted, kind, name="example.org"):
    return [record["value"] for record in wanted if record["kind"] == kind and record["name"] == name]


def lines(wanted):
    return {_dns.line(record) for record in wanted}


def test_a_site_in_whole():
    keys = [dkim(), dkim("mx1-ed", "ed25519", "published"), dkim("old", stage="removed")]
    assert [_dns.line(record) for record in records(mail_dkim=keys)] == [
        "example.org 3600 MX 10 mx1.example.org.",
        "example.org 3600 MX 20 mx2.example.org.",
        "example.org 3600 TXT v=spf1 ip4:198.51.100.11 ip6:2001:db8:51::11 ip4:198.51.100.12 -all",
        "_dmarc.example.org 3600 TXT v=DMARC1; p=none; np=reject; rua=mailto:alice@example.org",
        f"mx1._domainkey.example.org 3600 TXT v=DKIM1; k=rsa; p={rsa_key()}",
        f"mx1-ed._domainkey.example.org 3600 TXT v=DKIM1; k=ed25519; p={ed25519_key()}",
        "# mx2._domainkey.example.org TXT: no key yet; run site.yml with --tags opendkim",
        "# mx2-ed._domainkey.example.org TXT: no key yet; run site.yml with --tags opendkim",
        "mx1.example.org 3600 A 198.51.100.11",
        "11.100.51.198.in-addr.arpa 3600 PTR mx1.example.org.",
        "mx1.example.org 3600 AAAA 2001:db8:51::11",
        "1.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.5.0.0.8.b.d.0.1.0.0.2.ip6.arpa 3600 PTR mx1.example.org.",
        "mx1.example.org 3600 TXT v=spf1 a -all",
        "mx2.example.org 3600 A 198.51.100.12",
        "12.100.51.198.in-addr.arpa 3600 PTR mx2.example.org.",
        "mx2.example.org 3600 TXT v=spf1 a -all",
    ]


def test_a_third_gateway_brings_its_own_records_and_itself_into_spf_and_nothing_else():
    before, after = lines(records()), lines(records({**GATEWAYS, "mx3.example.org": MX3}))
    spf = "example.org 3600 TXT v=spf1 ip4:198.51.100.11 ip6:2001:db8:51::11 ip4:198.51.100.12"
    assert before - after == {f"{spf} -all"}
    assert after - before == {
        f"{spf} ip4:198.51.100.13 ip6:2001:db8:51::13 -all",
        "example.org 3600 MX 30 mx3.example.org.",
        "mx3.example.org 3600 A 198.51.100.13",
        "mx3.example.org 3600 AAAA 2001:db8:51::13",
        "mx3.example.org 3600 TXT v=spf1 a -all",
        "13.100.51.198.in-addr.arpa 3600 PTR mx3.example.org.",
        "3.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.5.0.0.8.b.d.0.1.0.0.2.ip6.arpa 3600 PTR mx3.example.org.",
        "# mx3._domainkey.example.org TXT: no key yet; run site.yml with --tags opendkim",
        "# mx3-ed._domainkey.example.org TXT: no key yet; run site.yml with --tags opendkim",
    }


def test_a_gateway_that_retires_loses_its_mx_record_alone():
    three = {**GATEWAYS, "mx3.example.org": MX3}
    before = lines(records(three))
    after = lines(records({**three, "mx3.example.org": {**MX3, "mail_retiring": True}}))
    assert (before - after, after - before) == ({"example.org 3600 MX 30 mx3.example.org."}, set())


def test_keys_that_are_not_made_are_those_that_opendkim_will_make_and_hide_no_former_one():
    """After keys were lost: opendkim uses no selector twice, and a retired key stays beside its successor."""
    written = [
        dkim("mx1", stage="removed"),
        dkim("mx1-ed", "ed25519", stage="retired"),
        dkim("news-mx1", stage="removed"),
    ]
    model = build(
        {"mx1.example.org": GATEWAYS["mx1.example.org"]},
        mail_dkim=written,
        mail_dkim_senders={"news@example.org": "news"},
    )
    wanted = {
        record["name"].partition(".")[0]: record["value"]
        for record in _records.records(model)
        if record["kind"] == "DKIM"
    }
    assert {name for name, value in wanted.items() if value is None} == {
        "mx1-2", "mx1-ed-2", "news-mx1-2", "news-mx1-ed"}  # fmt: skip
    assert wanted["mx1-ed"] == f"v=DKIM1; k=ed25519; p={ed25519_key()}"
    assert {record["name"].partition(".")[0] for record in _records.former_records(model)} == {"mx1", "news-mx1"}


def test_a_domain_s_own_values_go_before_the_site_s():
    wanted = records(
        mail_spf=["mx", "-all"], mail_dmarc={"p": "reject"}, mail_caa=[{"tag": "issue", "value": ";"}], mail_dns_ttl=60,
        mail_domains=[
            {"name": "example.org"},
            {"name": "example.net", "allow_empty": True, "spf": ["-all"], "caa": [],
             "dmarc": {"p": "reject", "sp": "none", "np": "none", "psd": "n", "t": "y", "adkim": "s", "aspf": "r",
                       "rua": ["a%b@example.org"], "ruf": ["bob@example.net", "x@reports.example"]}},
        ],
    )  # fmt: skip
    assert values(wanted, "SPF") == ["v=spf1 mx -all"]
    assert values(wanted, "SPF", "example.net") == ["v=spf1 -all"]
    assert values(wanted, "DMARC", "_dmarc.example.org") == ["v=DMARC1; p=reject"]
    assert values(wanted, "DMARC", "_dmarc.example.net") == [
        "v=DMARC1; p=reject; sp=none; np=none; adkim=s; aspf=r; psd=n; t=y; rua=mailto:a%25b@example.org; "
        "ruf=mailto:bob@example.net,mailto:x@reports.example"
    ]
    assert values(wanted, "CAA") == values(wanted, "CAA", "mx1.example.org") == ['0 issue ";"']
    assert values(wanted, "CAA", "example.net") == []
    assert {record["ttl"] for record in wanted} == {60}


def test_reports_to_another_domain_of_ours_are_allowed_there_and_to_a_stranger_s_warned_of():
    model = build(
        mail_domains=[{"name": "example.org"}, {"name": "example.net", "allow_empty": True}],
        mail_dmarc={"p": "none", "rua": ["alice@example.org", "x@reports.example"]},
    )
    (allowed,) = [record for record in _records.records(model) if record["kind"] == "report"]
    assert _dns.line(allowed) == "example.net._report._dmarc.example.org 3600 TXT v=DMARC1"
    assert allowed["zone"] == "example.org"
    assert [warning.split(":")[1].split()[0] for warning in model["dns"]["warnings"]] == [
        f"{name}._report._dmarc.reports.example" for name in ("example.net", "example.org")
    ]


def test_a_key_in_test_mode_says_so():
    assert values(
        records(mail_dkim=[dkim()], mail_domains=domains(dkim_test=True)), "DKIM", "mx1._domainkey.example.org"
    ) == [f"v=DKIM1; k=rsa; t=y; p={rsa_key()}"]


def test_a_removed_key_is_a_former_record():
    (former,) = _records.former_records(build(mail_dkim=[dkim("old", stage="removed"), dkim()]))
    assert (former["name"], former["kind"]) == ("old._domainkey.example.org", "DKIM")


def test_a_zone_is_the_one_named_else_the_domain_else_a_guess():
    gateways = {"mx1.example.org": GATEWAYS["mx1.example.org"], "mx2.hoster.net": GATEWAYS["mx2.example.org"]}
    sub = [{"name": "example.org"}, {"name": "lists.example.org", "allow_empty": True}]
    zones = {record["name"]: record["zone"] for record in records(gateways, mail_domains=sub)}
    assert zones["lists.example.org"] == zones["mx1.example.org"] == "example.org"
    assert zones["mx2.hoster.net"] == "hoster.net"
    assert zones["11.100.51.198.in-addr.arpa"] == "100.51.198.in-addr.arpa"
    named = [{"name": "lists.example.org"}, {"name": "51.198.in-addr.arpa"}]
    zones = {record["name"]: record["zone"] for record in records(gateways, mail_domains=sub, mail_dns_zones=named)}
    assert zones["_dmarc.lists.example.org"] == "lists.example.org"
    assert zones["_dmarc.example.org"] == "example.org"
    assert zones["11.100.51.198.in-addr.arpa"] == "51.198.in-addr.arpa"


def parsed(zone, text):
    """{(name, type, value)} as dnspython reads the text, TXT joined."""
    head = f"$ORIGIN {zone}.\n@ 60 IN SOA ns hostmaster 1 2 3 4 5\n@ 60 IN NS ns.example.\n"
    read = dns.zone.from_text(head + text, origin=zone + ".", relativize=False)
    found = set()
    for name, _ttl, rdata in read.iterate_rdatas():
        if rdata.rdtype not in (dns.rdatatype.SOA, dns.rdatatype.NS):
            text = b"".join(rdata.strings).decode() if rdata.rdtype == dns.rdatatype.TXT else rdata.to_text()
            assert all(len(string) <= 255 for string in getattr(rdata, "strings", ()))
            found.add((name.to_text(omit_final_dot=True), dns.rdatatype.to_text(rdata.rdtype), text))
    return found


def assert_read_back(wanted):
    for zone, text in _dns.zone_texts(wanted).items():
        ours = {
            (record["name"], record["type"], record["value"])
            for record in wanted
            if record["zone"] == zone and record["value"] is not None
        }
        assert parsed(zone, text) == ours


@given(st.text(max_size=700))
def test_any_text_comes_back_from_its_strings(text):
    try:
        octets = text.encode()
    except UnicodeEncodeError:
        return
    zone = dns.zone.from_text(f"@ 60 IN SOA a b 1 2 3 4 5\n@ 60 IN NS a\n@ 60 IN TXT {_dns.quoted(text)}\n", "x.")
    (rdata,) = zone.find_rdataset("@", "TXT")
    assert b"".join(rdata.strings) == octets
    assert [_dns.escaped(string) for string in rdata.strings] == _dns.quoted(text)[1:-1].split('" "')


labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
names = st.builds(lambda *parts: ".".join(parts), labels, st.sampled_from(["example", "example.org", "example.net"]))
local_parts = st.from_regex(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}", fullmatch=True).filter(lambda text: text[0] != "#")
spf_terms = st.one_of(
    st.sampled_from(["gateways", "mx", "a", "ptr", "a/24//64", "exists:%{i}._spf.%{d2}", "exp=why.%{d}"]),
    names.map("include:".__add__),
    names.map("?mx:".__add__),
    st.ip_addresses(v=4).map("ip4:{}".format),
    st.ip_addresses(v=6).map("~ip6:{}".format),
)
policies = st.sampled_from(["none", "quarantine", "reject"])


@st.composite
def sites(draw):
    """Arguments of build(): anything an operator may write, sensible or not."""
    gateways = {
        f"mx{number}.{draw(names)}": {
            "mail_ipv4": f"198.51.100.{number}", "mail_vpn_address": f"10.99.0.{number}", "mail_preference": number,
            **({"mail_ipv6": f"2001:db8::{number:x}"} if draw(st.booleans()) else {}),
        }
        for number in range(1, draw(st.integers(1, 13)) + 1)
    }  # fmt: skip
    own = draw(st.lists(names, max_size=5, unique=True))
    described = [{"name": "example.org"}]
    for name in own:
        described.append({"name": name, "allow_empty": True})
        if draw(st.booleans()):
            described[-1]["spf"] = [*draw(st.lists(spf_terms, max_size=12)), draw(st.sampled_from(["-all", "~all"]))]
        if draw(st.booleans()):
            described[-1]["dmarc"] = {
                "p": draw(policies), "sp": draw(policies), "t": draw(st.sampled_from(["y", "n"])),
                "rua": [f"{local}@{draw(names)}" for local in draw(st.lists(local_parts, max_size=3, unique=True))],
            }  # fmt: skip
        described[-1]["dkim_test"] = draw(st.booleans())
    keys = [
        dkim(f"s{number}", draw(st.sampled_from(["rsa", "ed25519"])), draw(st.sampled_from(["published", "retired"])),
             domain=name)
        for number, name in enumerate(["example.org", *own])
    ]  # fmt: skip
    spf = [*draw(st.lists(spf_terms, max_size=11)), "-all"]
    return gateways, {"mail_domains": described, "mail_dkim": keys, "mail_spf": spf}


@settings(max_examples=60)
@given(sites())
def test_whatever_is_accepted_is_read_back_and_stays_within_the_limits(site):
    gateways, variables = site
    try:
        model = build(gateways, **variables)
    except InventoryError:
        return
    wanted = _records.records(model)
    assert_read_back(wanted)
    published = {record["name"]: record["value"] for record in wanted if record["kind"] == "SPF"}
    for name, text in published.items():
        known = {other: _spf.terms_of(published[other]) for other in published}
        assert _spf.lookups(_spf.terms_of(text), known.get, (name,)) <= 10


def test_the_lab_s_records_are_read_back():
    assert_read_back(
        records(mail_dkim=[dkim(), dkim("mx1-ed", "ed25519")], mail_caa=[{"tag": "issue", "value": "a.example"}])
    )


# What is wrong with an inventory, where, and what it says
BAD = {
    "eleven look-ups": ({"mail_spf": [*(f"include:{x}.example" for x in "abcdefghijk"), "-all"]},
                        "mail_spf: example.org needs 11 look-ups"),
    "look-ups through a domain of ours": (
        {"mail_domains": [
            {"name": "example.org", "spf": [*(f"a:{x}.example" for x in "abcdef"), "-all"]},
            {"name": "example.net", "allow_empty": True,
             "spf": ["include:example.org", *(f"a:{x}.example" for x in "abcd"), "-all"]}]},
        "mail_domains[1].spf: example.net needs 11 look-ups"),
    "a record that includes itself": ({"mail_spf": ["include:example.org", "-all"]}, "leads back to example.org"),
    "mx of hosts without one": (
        {"mail_spf": ["mx:mx1.example.org", "mx:mx2.example.org", "mx:mx3.example.org", "-all"]}, "find nothing"),
    "no end": ({"mail_spf": ["mx"]}, "mail_spf: says nothing of all other senders"),
    "the whole world": ({"mail_spf": ["all"]}, "mail_spf: \"all\" lets the whole world send"),
    "a term that is none": ({"mail_spf": ["mx", "ip4:1.2.3", "-all"]}, "mail_spf[1]: \"ip4:1.2.3\" is not a network"),
    "SPF as a string": ({"mail_spf": "v=spf1 -all"}, "mail_spf: \"v=spf1 -all\" is a string, not a list"),
    "pct": ({"mail_dmarc": {"p": "none", "pct": 5}}, "mail_dmarc.pct: \"pct\" is no tag of DMARC any more (RFC 9989)"),
    "ri": ({"mail_dmarc": {"p": "none", "ri": 5}}, "mail_dmarc.ri:"),
    "rf": ({"mail_dmarc": {"p": "none", "rf": "afrf"}}, "mail_dmarc.rf:"),
    "an unknown tag": ({"mail_dmarc": {"p": "none", "rau": []}}, "did you mean ru"),
    "no policy": ({"mail_dmarc": {"sp": "none"}}, "mail_dmarc.p: is missing"),
    "a policy that is none": ({"mail_dmarc": {"p": "refuse"}}, "mail_dmarc.p: \"refuse\" is no value of p"),
    "a boolean": ({"mail_dmarc": {"p": "none", "t": True}}, "write \"y\" or \"n\""),
    "reports to nobody": ({"mail_dmarc": {"p": "none", "rua": ["example.org"]}}, "mail_dmarc.rua[0]: \"example.org\""),
    "an unknown CAA tag": ({"mail_caa": [{"tag": "issuer", "value": "a.example"}]}, "mail_caa[0].tag: \"issuer\""),
    "a CA that is none": ({"mail_caa": [{"tag": "issue", "value": "let's"}]}, "mail_caa[0].value: \"let's\""),
    "a CA with a quote": ({"mail_caa": [{"tag": "issue", "value": 'a.example; x="'}]}, "mail_caa[0].value:"),
    "flags": ({"mail_caa": [{"tag": "issue", "value": ";", "flags": 1}]}, "mail_caa[0].flags: 1"),
    "a TTL of nothing": ({"mail_dns_ttl": 0}, "mail_dns_ttl: 0 is out of range"),
    "a server without a key": ({"mail_dns_zones": [{"name": "example.org", "server": "192.0.2.1"}]},
                               "mail_dns_zones[0]: has one of server and key"),
    "a key that nobody has": ({"mail_dns_zones": [{"name": "example.org", "server": "192.0.2.1", "key": "k"}]},
                              "vault_mail_tsig_keys.k: is missing"),
    "an old key": ({"vault_mail_tsig_keys": {"k": {"algorithm": "hmac-md5", "secret": "AAAA"}}},
                   "vault_mail_tsig_keys.k.algorithm: \"hmac-md5\""),
    "a secret that is none": ({"vault_mail_tsig_keys": {"k": {"algorithm": "hmac-sha256", "secret": "hunter2!"}}},
                              "vault_mail_tsig_keys.k.secret: is not base64"),
    "a short RSA key": ({"mail_dkim": [dkim(public="short")]}, "mail_dkim[0].public: \""),
    "a key of another type": ({"mail_dkim": [dkim(public=ed25519_key())]}, "is not a public key of type rsa"),
    "no base64": ({"mail_dkim": [dkim(kind="ed25519", public="%")]}, "is not a public key of type ed25519"),
    "a selector used twice": ({"mail_dkim": [dkim(), dkim(stage="removed")]}, "[1].selector: \"mx1\" is there twice"),
    "a selector with a dot": ({"mail_dkim": [dkim("mx1.a")]}, "mail_dkim[0].selector: \"mx1.a\""),
    "a stage": ({"mail_dkim": [dkim(stage="gone")]}, "mail_dkim[0].stage: \"gone\""),
    "half a key": ({"mail_dkim": [{"domain": "example.org"}]}, "mail_dkim[0]: lacks selector"),
    "a waiting time": ({"mail_dkim_rotation": {"retired": "10d"}}, "mail_dkim_rotation.retired: \"10d\""),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_inventory_is_refused_where_it_is_bad(name):
    site, said = BAD[name]
    if name == "a short RSA key":
        site["mail_dkim"][0]["public"] = rsa_key(1024)
        said = "has 1024 bits"
    gateways = {**GATEWAYS, "mx3.example.org": MX3}
    with pytest.raises(InventoryError) as caught:
        build(gateways, **site)
    (problem,) = caught.value.problems
    assert said in problem
    assert "hunter2" not in problem


def test_keys_that_not_every_gateway_has_alike_are_refused():
    """The playbook takes those of the first gateway that can be reached, which may be any."""
    key = {"k": {"algorithm": "hmac-sha256", "secret": "aHVudGVyMg=="}}
    (first, own), (second, other) = GATEWAYS.items()
    build({first: {**own, "vault_mail_tsig_keys": key}, second: {**other, "vault_mail_tsig_keys": key}})
    for held, said in ({}, "is missing, but is on host"), ({"vault_mail_tsig_keys": {}}, "is not the same as on host"):
        with pytest.raises(InventoryError) as caught:
            build({first: {**own, "vault_mail_tsig_keys": key}, second: {**other, **held}})
        (problem,) = caught.value.problems
        assert problem.startswith(f"host {second}: vault_mail_tsig_keys: {said} {first}")


def test_gateways_whose_selectors_would_be_the_same_are_refused():
    gateways = {"mx.example.org": GATEWAYS["mx1.example.org"], "mx.example.net": GATEWAYS["mx2.example.org"]}
    with pytest.raises(InventoryError, match="DKIM selectors are made of the first label"):
        build(gateways)


SAME = {
    # case: (the gateways' first labels, the senders' labels, what is said)
    "of another gateway": (("mx1", "news-mx1"), ["news"], "taken for those of news-mx1 on news-mx1.example.org"),
    "of another sender": (("mx1", "a-mx1"), ["b", "b-a"], "taken for those of b-a-mx1 on mx1.example.org"),
    "of the gateway's own later keys": (("ed", "mx2"), ["ed"], "taken for those of ed on ed.example.org"),
    "of a sender's later keys": (("2", "mx2"), ["a-2", "a"], "taken for those of a-2-2 on 2.example.org"),
}


@pytest.mark.parametrize(("shorts", "labels", "said"), SAME.values(), ids=SAME)
def test_a_label_whose_selectors_would_be_those_of_others_is_refused(shorts, labels, said):
    gateways = {f"{short}.example.org": values for short, values in zip(shorts, GATEWAYS.values())}
    senders = {f"{label}@example.org": label for label in labels}
    with pytest.raises(InventoryError) as caught:
        build(gateways, mail_dkim_senders=senders)
    (problem,) = caught.value.problems
    assert said in problem
    build(gateways, mail_dkim_senders={"news@example.org": "another"})


def test_ptr_and_long_records_are_warned_of():
    assert "ptr" in build(mail_spf=["ptr", "-all"])["dns"]["warnings"][0]


# What servers say


def record(value, kind="SPF", name="example.org", rdtype="TXT"):
    return {"zone": "example.org", "name": name, "type": rdtype, "kind": kind, "ttl": 60, "value": value}


SPF = "v=spf1 ip4:198.51.100.11 -all"
KEY = "v=DKIM1; k=rsa; p=" + "A" * 300
STRANGER = ("google-site-verification=abc",)


def txt(text):
    return tuple(text[start : start + 255] for start in range(0, len(text), 255))


# name: (wanted, found, problem, what is removed)
FAULTS = {
    "missing": (record(SPF), [STRANGER], "missing", []),
    "another value": (record(SPF), [STRANGER, txt("v=spf1 mx -all")], "wrong", [["v=spf1 mx -all"]]),
    "a second SPF record": (record(SPF), [txt(SPF), txt("v=spf1 mx -all")], "duplicate", [["v=spf1 mx -all"]]),
    "two wrong SPF records": (record(SPF), [txt("v=spf1 mx -all"), txt("v=spf1 a -all")], "duplicate",
                              [["v=spf1 mx -all"], ["v=spf1 a -all"]]),
    "a foreign DMARC record": (record("v=DMARC1; p=none", "DMARC"), [("v=DMARC1;p=reject",), ("v=DMARC1; p=none",)],
                               "duplicate", [["v=DMARC1;p=reject"]]),
    "a space between the strings": (record(KEY, "DKIM"), [(KEY[:200], " " + KEY[200:])], "split",
                                    [[KEY[:200], " " + KEY[200:]]]),
    "quotes within": (record(KEY, "DKIM"), [('\\"' + KEY[:200] + '\\" \\"' + KEY[200:] + '\\"',)], "split",
                      [['\\"' + KEY[:200] + '\\" \\"' + KEY[200:] + '\\"']]),
    "two records in place of two strings": (record(KEY, "DKIM"), [(KEY[200:],), (KEY[:200],)], "split",
                                            [[KEY[:200]], [KEY[200:]]]),
    "a second PTR": (record("mx1.example.org.", "PTR", rdtype="PTR"), [("mx1.example.org.",), ("x.example.",)],
                     "duplicate", [["x.example."]]),
    "another MX": (record("10 mx1.example.org.", "MX", rdtype="MX"), [("10 mx1.example.org.",), ("5 mx.old.example.",)],
                   "unexpected", [["5 mx.old.example."]]),
    "another preference": (record("10 mx1.example.org.", "MX", rdtype="MX"), [("5 mx1.example.org.",)], "wrong",
                           [["5 mx1.example.org."]]),
    "no key yet": (record(None, "DKIM"), [], "unmade", []),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named_and_what_mends_it_touches_no_stranger_s_record(name):
    wanted, found, problem, removed = FAULTS[name]
    (difference,) = _dns.compare([wanted], [], {(wanted["name"], wanted["type"]): found})
    assert (difference["problem"], difference["remove"]) == (problem, removed)
    assert difference["words"].startswith("example.org: the ")
    assert difference["todo"]
    there = [strings for strings in found if list(strings) not in difference["remove"]]
    there += [txt(added["value"]) for added in difference["add"]]
    assert problem == "unmade" or _dns.compare([wanted], [], {(wanted["name"], wanted["type"]): there}) == []


def test_what_is_as_wanted_is_no_difference_in_whatever_order_and_strings():
    wanted = [record(SPF), record(KEY, "DKIM", "mx1._domainkey.example.org"),
              *(record(f"{number} mx.example.org.", "MX", rdtype="MX") for number in (10, 20))]  # fmt: skip
    found = {
        ("example.org", "TXT"): [STRANGER, (SPF[:5], SPF[5:])],
        ("mx1._domainkey.example.org", "TXT"): [(KEY[:10], KEY[10:])],
        ("example.org", "MX"): [("20 mx.example.org.",), ("10 mx.example.org.",)],
    }
    assert _dns.compare(wanted, [], found) == []
    assert _dns.compare(wanted, [], {}) == []  # nobody asked


def test_a_former_record_is_taken_away_and_what_stands_beside_it_is_not():
    former = [record("192.0.2.1", "A", "mx3.example.org", "A"), record(SPF)]
    found = {("mx3.example.org", "A"): [("192.0.2.1",), ("192.0.2.2",)], ("example.org", "TXT"): [txt(SPF), STRANGER]}
    assert [difference["remove"] for difference in _dns.compare([], former, found)] == [[["192.0.2.1"]], [[SPF]]]
    # What is wanted at the same place has its own difference.
    (changed,) = _dns.compare([record("v=spf1 -all")], [record(SPF)], found)
    assert (changed["problem"], changed["remove"]) == ("wrong", [[SPF]])


ELSEWHERE = _dns.Alias("CNAME", "example.org", "text.example.net")


@pytest.mark.parametrize("name", [name for name in FAULTS if name != "no key yet"])
def test_where_an_alias_leads_to_a_fault_nothing_can_be_mended_at_its_name(name):
    wanted, found, _problem, _removed = FAULTS[name]
    place = (wanted["name"], wanted["type"])
    (difference,) = _dns.compare([wanted], [], {place: found}, {place: ELSEWHERE})
    assert (difference["problem"], difference["add"], difference["remove"]) == ("alias", [], [])
    assert "the CNAME at example.org leads to text.example.net, where " in difference["words"]
    assert difference["todo"].startswith("remove that CNAME")
    assert difference["todo"].endswith(" at text.example.net")
    assert all(value in difference["todo"] for value in difference["wanted"])


def test_an_alias_that_leads_to_what_is_wanted_is_no_difference():
    place = ("example.org", "TXT")
    assert _dns.compare([record(SPF)], [], {place: [txt(SPF)]}, {place: ELSEWHERE}) == []
    (unmade,) = _dns.compare([record(None)], [], {place: []}, {place: ELSEWHERE})
    assert unmade["problem"] == "unmade"


def test_a_former_record_that_is_behind_an_alias_is_not_ours_to_take_away():
    place = ("example.org", "TXT")
    (difference,) = _dns.compare([], [record(SPF)], {place: [txt(SPF)]}, {place: ELSEWHERE})
    assert (difference["problem"], difference["remove"]) == ("alias", [])
    assert difference["todo"] == f'remove that CNAME; or, if it is meant, have "{SPF}" removed at text.example.net'


def test_beside_a_wildcard_s_alias_the_record_is_added_and_what_is_behind_it_is_left():
    place = ("example.org", "TXT")
    wildcard = {place: ELSEWHERE._replace(wildcard=True)}
    (difference,) = _dns.compare([record(SPF)], [], {place: [txt("v=spf1 mx -all")]}, wildcard)
    assert (difference["problem"], difference["add"], difference["remove"]) == ("missing", [record(SPF)], [])
    assert _dns.compare([], [record(SPF)], {place: [txt(SPF)]}, wildcard) == []


def test_an_alias_in_a_circle_is_told_as_such():
    place = ("example.org", "TXT")
    circle = {place: ELSEWHERE._replace(trouble="and from there in a circle")}
    (difference,) = _dns.compare([record(SPF)], [], {place: []}, circle)
    assert difference["words"].endswith("leads to text.example.net, and from there in a circle")


def merged(serials, found):
    differences = {
        server: _dns.compare([record(SPF)], [], {("example.org", "TXT"): [txt(text) for text in texts]})
        for server, texts in found.items()
    }
    return [(each["problem"], each["servers"]) for each in _dns.merge(differences, serials, "example.org")]


def test_a_server_that_is_behind_is_stale_and_its_records_are_not_held_against_the_zone():
    assert merged({"a": 5, "b": 4}, {"a": [SPF], "b": []}) == [("stale", ["b"])]
    assert merged({"a": 5, "b": 4}, {"a": [SPF], "b": [SPF]}) == []
    assert merged({"a": 5, "b": 4}, {"a": [], "b": []}) == [("missing", ["a", "b"])]
    assert merged({"a": 5, "b": 5}, {"a": [SPF], "b": []}) == [("missing", ["b"])]
    assert merged({"a": 1, "b": 2**32 - 1}, {"a": [SPF], "b": []}) == [("stale", ["b"])]
