# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters about DNS: plain types, the same bytes each time, and what is said about a wrong input."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("ansible")

from ansible.errors import AnsibleFilterError
from ansible.template import trust_as_template
from ansible_collections.gatehouse.mail.plugins.filter.dkim_rotation import dkim_rotation
from ansible_collections.gatehouse.mail.plugins.filter.dns_lines import dns_lines
from ansible_collections.gatehouse.mail.plugins.filter.dns_records import dns_records
from ansible_collections.gatehouse.mail.plugins.filter.retirement import retirement
from ansible_collections.gatehouse.mail.plugins.filter.zone_text import zone_text

KEY = {"domain": "example.org", "selector": "mx1", "host": "mx1.example.org", "type": "rsa", "stage": "published",
       "since": "2026-12-01T06:00:00Z", "public": "A" * 300}  # fmt: skip
MODEL = {
    "gateways": [{"name": "mx1.example.org", "host": "mx1.example.org", "preference": 10, "retiring": False,
                  "ipv4": "198.51.100.11", "ipv6": None}],
    "domains": [{"name": trust_as_template("example.org")}],
    "dns": {
        "ttl": 60, "zones": [], "caa": [], "warnings": ["SPF of example.org: a warning for a test"],
        "domains": [{"name": trust_as_template("example.org"), "spf": "v=spf1 -all", "dmarc": "v=DMARC1; p=none",
                     "reports": [], "caa": [], "dkim_test": False}],
    },
    "dkim": [KEY, {**KEY, "selector": "old", "stage": "removed"}],
    "dkim_senders": {},
    "dkim_rotation": {"published": 60, "lifetime": 1000, "retired": 60},
}  # fmt: skip


def types_in(value):
    if isinstance(value, dict):
        return {dict} | {kind for pair in value.items() for item in pair for kind in types_in(item)}
    if isinstance(value, list):
        return {list} | {kind for item in value for kind in types_in(item)}
    return {type(value)}


LEAVING = {
    **MODEL["gateways"][0],
    "name": "mx2.example.org",
    "host": "mx2.example.org",
    "retiring": True,
    "shut": False,
}


def left(differences=(), **options):
    """What is next for mx2, which leaves, an hour after a quarter to noon."""
    options = {"gateway": "mx2.example.org", "gone": {"mx2.example.org": "2026-12-01T11:45:00Z"}, **options}
    site = {**MODEL, "gateways": [*MODEL["gateways"], LEAVING]}
    return retirement(site, "2026-12-01T12:45:00Z", differences, **options)


def test_what_filters_give_is_plain_and_always_the_same():
    records = dns_records(MODEL)
    now = "2026-12-01T06:00:00Z"
    results = [records, zone_text(records), dns_lines(records), dkim_rotation(MODEL, now), left()]
    assert types_in(results) == {dict, list, str, int, bool, type(None)}
    again = [dns_records(MODEL), zone_text(records), dns_lines(records), dkim_rotation(MODEL, now), left()]
    assert json.dumps(results) == json.dumps(again)


def test_a_long_text_is_cut_for_a_zone_file_and_left_whole_for_a_panel():
    (record,) = [record for record in dns_records(MODEL) if record["name"] == "mx1._domainkey.example.org"]
    assert zone_text([record]) == {
        "example.org": '$ORIGIN example.org.\nmx1._domainkey 60 IN TXT "v=DKIM1; k=rsa; p='
        + "A" * 237 + '" "' + "A" * 63 + '"\n'
    }  # fmt: skip
    assert dns_lines([record]) == ["mx1._domainkey.example.org 60 TXT v=DKIM1; k=rsa; p=" + "A" * 300]


def test_former_records_are_those_of_removed_keys():
    assert [record["name"] for record in dns_records(MODEL, former=True)] == ["old._domainkey.example.org"]


def test_a_warning_of_the_model_is_shown(capsys):
    dns_records({**MODEL, "dns": {**MODEL["dns"], "warnings": ["SPF of example.org: shown once"]}})
    assert "shown once" in " ".join(capsys.readouterr().err.split())


def test_without_an_answer_of_dns_no_key_begins_to_sign():
    later = "2026-12-01T07:00:00Z"
    assert [key["stage"] for key in dkim_rotation(MODEL, later)["keys"]] == ["published", "removed"]
    assert [key["stage"] for key in dkim_rotation(MODEL, later, [])["keys"]] == ["signing", "removed"]


def test_a_gateway_leaves_by_what_dns_says():
    assert left()["gone"] == {"mx2.example.org": "2026-12-01T11:45:00Z"}
    assert (left()["host"], left()["do"], left()["refused"]) == ("mx2.example.org", "write", "")
    assert left(ttl=86400)["do"] == "wait"
    assert left(gone='{"mx2.example.org": "2026-12-01T11:45:00Z"}') == left()
    assert (left(gone=None)["do"], left(gone=None)["gone"]) == ("wait", {"mx2.example.org": "2026-12-01T12:45:00Z"})
    stays = left(gateway="mx1.example.org")
    assert (stays["host"], stays["do"], stays["text"]) == ("mx1.example.org", "", "")
    assert "no other gateway takes mail" in stays["refused"]


def test_without_an_answer_of_dns_nothing_is_gone_and_nobody_leaves():
    unasked = left(None, gone={})
    assert (unasked["gone"], unasked["refused"], unasked["do"]) == ({}, "", "")
    assert left(None, gateway="")["host"] == ""


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: dns_records({}), "gatehouse.mail.dns_records: the input is no mail_model"),
        (lambda: dns_records([]), "gatehouse.mail.dns_records: the input is no mail_model"),
        (
            lambda: zone_text([{"zone": "example.org"}]),
            "gatehouse.mail.zone_text: the input is not what dns_records gives",
        ),
        (lambda: dns_lines("example.org"), "gatehouse.mail.dns_lines: the input is not what dns_records gives"),
        (lambda: dkim_rotation({}, "2026-12-01T06:00:00Z"), "gatehouse.mail.dkim_rotation: the input is no mail_model"),
        (
            lambda: dkim_rotation(MODEL, "2026-12-01T06:00:00Z", lost="mx9"),
            "gatehouse.mail.dkim_rotation: lost: 'mx9' is no gateway; write one of mx1.example.org",
        ),
        (lambda: dkim_rotation(MODEL, "tomorrow"), "gatehouse.mail.dkim_rotation: 'tomorrow' is not a time"),
        (lambda: retirement({}, "2026-12-01T06:00:00Z"), "gatehouse.mail.retirement: the input is no mail_model"),
        (lambda: retirement(MODEL, "tomorrow"), "gatehouse.mail.retirement: .*'tomorrow'"),
        (lambda: left(gone={"mx2.example.org": None}), "gatehouse.mail.retirement: "),
        (lambda: left(gone=""), "gatehouse.mail.retirement: gone.json, beside .* holds no JSON object; remove it"),
        (lambda: left(gone="[]"), "gatehouse.mail.retirement: gone.json, "),
        (lambda: left(gone="<<<<<<< ours"), "gatehouse.mail.retirement: gone.json, "),
    ],
)
def test_a_wrong_input_is_refused_in_words(call, said):
    with pytest.raises(AnsibleFilterError, match=said):
        call()
