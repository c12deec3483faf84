# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories that are made up: the lab's, or one that switches everything else on, changed in one place."""

from __future__ import annotations

import copy
import datetime
import random
import re
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.gatehouse.mail.plugins.plugin_utils import _arguments
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import inventory, ports
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import model as _model
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]
GROUPS = {"mail_gateways": ["mx1.example.org", "mx2.example.org"], "mail_stores": ["store.example.org"]}
LAB = {"lab_vpn4": "10.99.0", "lab_internet4": "198.51.100", "lab_internet6": "2001:db8:51"}
LAB |= {"lab_reverse_zones[0]": "100.51.198.in-addr.arpa", "lab_reverse_zones[2]": "1.5.0.0.8.b.d.0.1.0.0.2.ip6.arpa"}


def read(path: str) -> Any:
    return yaml.safe_load(re.sub(r"\{\{ (.*?) \}\}", lambda match: LAB.get(match[1], ""), (ROOT / path).read_text()))


def of_roles() -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of all roles' variables, and the defaults that are constants."""
    options, constants = {}, {}
    for folder in (ROOT / "roles").iterdir():
        if folder.name != "mail":
            specification = yaml.safe_load((folder / "meta/argument_specs.yml").read_text())
            options.update(specification["argument_specs"]["main"]["options"])
            defaults = yaml.safe_load((folder / "defaults/main.yml").read_text())
            constants.update({name: value for name, value in defaults.items() if "{{" not in str(value)})
    return options, constants


def lab() -> dict[str, dict[str, Any]]:
    """{host: variables}: every mail_* that the lab has, and the others by their documented defaults."""
    specification = yaml.safe_load((ROOT / "roles/mail/meta/argument_specs.yml").read_text())
    documented = specification["argument_specs"]["main"]["options"]
    site = {name: option["default"] for name, option in documented.items() if "default" in option}
    for name in ("mail_preference", "mail_certificate_files", "mail_retiring"):  # of gateways alone
        del site[name]
    for file in ("mail", "vault"):
        site |= read(f"inventories/lab/group_vars/all/{file}.yml")
    site |= CONSTANTS
    del site["lab_passwords"]
    children = read("inventories/lab/hosts.yml")["all"]["children"]
    hosts = {host: own for group in GROUPS for host, own in children[group]["hosts"].items()}
    return {
        host: {**site, **{name: value for name, value in own.items() if name.startswith("mail_")}}
        for host, own in hosts.items()
    }


def other() -> dict[str, dict[str, Any]]:
    """The lab, with the parts that it leaves off, and without those that it has."""
    more = {
        "mail_dmarc_judge": "opendmarc",
        "mail_policyd_spf": True,
        "mail_spamassassin": True,
        "mail_statistics": False,
        "mail_milter_sockets": "inet",
        "mail_postscreen": True,
        "mail_tried_checks": ["greylisting"],
        "mail_bans": False,
        "mail_submission": False,
        "public_suffix_list_refresh": "cron",
        "mail_slow_destinations": [
            {"domains": ["far.example", "away.example"], "concurrency": 2},
            {"domains": ["last.example"], "delay": 5},
        ],
        "unbound_root_hints": [". 3600 IN NS ns.example.net."],
        "unbound_trust_anchors": [". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"],
        "unbound_forward_addresses": ["192.0.2.53"],
        "clamav_freshclam_http_proxy_server": "proxy.example.org",
        "clamav_freshclam_http_proxy_username": "gatehouse",
        "firewall_ssh_port": 22,
        "firewall_ssh_zones": ["vpn"],
        "postfix_parameters": {"smtpd_banner": "$myhostname ESMTP"},
        "vault_mail_ca_passphrase": "correct horse battery",
    }
    hosts = {host: {**own, **more} for host, own in copy.deepcopy(HOSTS).items()}
    hosts["mx1.example.org"]["mail_certificate_files"] = [{"certificate": "files/mx1.crt", "key": "files/mx1.key"}]
    hosts["mx2.example.org"]["mail_retiring"] = True
    hosts["store.example.org"]["mail_recipients_sources"] = [
        {"users_file": "/etc/dovecot/people"},
        {"command": ["/usr/local/bin/addresses", "--all"]},
        {"unix_group": "mailusers", "domain": "example.org"},
    ]
    return hosts


def example() -> dict[str, dict[str, Any]]:
    """The example's inventory, whose addresses are documentation's."""
    site = {"mail_unrouted_addresses": True}
    for file in ("mail", "vault"):
        site |= read(f"inventories/example/group_vars/all/{file}.yml")
    children = read("inventories/example/hosts.yml")["all"]["children"]
    return {host: {**site, **own} for group in GROUPS for host, own in children[group]["hosts"].items()}


def mixed(seed: int) -> dict[str, dict[str, Any]]:
    """The lab, with some of what the other site has instead."""
    toss = random.Random(seed)  # noqa: S311 - a site to try, no secret
    hosts = copy.deepcopy(HOSTS)
    for name in sorted({name for own in SITES["other"].values() for name in own}):
        if name != "mail_policyd_spf" and toss.random() < 0.5:
            for host, own in SITES["other"].items():
                hosts[host] |= {name: own[name]} if name in own else {}
    for own in hosts.values():  # policyd-spf goes with opendmarc alone
        own["mail_policyd_spf"] = own["mail_dmarc_judge"] == "opendmarc" and seed % 2 == 1
    return hosts


OPTIONS, CONSTANTS = of_roles()
HOSTS = lab()
SITES = {"lab": HOSTS, "other": other()}
ODD = [
    *(None, True, False, 0, -1, 2**70, 1.5, float("nan"), datetime.date(2026, 11, 26)),
    *("", " ", "\t", "x\n", "\0", "é", "\ud800", "20 Tage", "-1", "wpn", "@", "a@b", "#", "{{", "x" * 300, "0.0.0.0/0"),
    *("192.168.1.12", "::1", "example.org", "alice@example.org", "{BLF-CRYPT}x", "127.0.0.[2..11]", "1" * 5000),
    *('"', "x'y", "x\\", 'local:/run/x"y', '/x"y', 'https://x/"', "<x>&", "%h", "$x", "a,b", "a:b", "a;b", "x#y"),
    *([], {}, [[]], [None], {None: None}, {1: 2}, {"x": []}, {"name": None}, ["a", "a"], (), {(1, 2): 3}),
]
VALUES = st.one_of(
    st.sampled_from(ODD),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=5,
    ),
)


@st.composite
def changed(draw: Any, sites: Any = ("lab",)) -> tuple[str, dict[str, dict[str, Any]]]:
    """A site with one value replaced, removed, doubled or added, at all hosts or at one; and the variable's name."""
    hosts = copy.deepcopy(SITES[draw(st.sampled_from(sites))])
    host = draw(st.sampled_from(sorted(hosts)))
    name = draw(st.sampled_from(sorted({*hosts[host], *OPTIONS})))
    if name not in hosts[host]:  # what a role derives from the model, unless somebody writes it
        hosts[host][name] = None
    holder = hosts[host]
    key = name
    while isinstance(holder[key], (dict, list)) and holder[key] and draw(st.booleans()):
        holder = holder[key]
        key = draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
    how = draw(st.sampled_from(["replace", "replace", "replace", "remove", "double"]))
    if how == "replace":
        holder[key] = draw(VALUES)
    elif how == "remove":
        del holder[key]
    elif isinstance(holder, list):
        holder.append(copy.deepcopy(holder[key]))
    else:
        holder[f"{key}x"] = holder[key]
    if name in _model.SITE_VARIABLES or draw(st.booleans()):
        for other_host in hosts:
            if name in hosts[host]:
                hosts[other_host][name] = hosts[host][name]
            else:
                hosts[other_host].pop(name, None)
    return name, hosts


def judged(hosts: dict[str, dict[str, Any]]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """What the first play says of an inventory, and the models of its hosts where that is nothing."""
    options = {
        name: option for name, option in OPTIONS.items() if name not in _model.FOREIGN or name in ports.SSH_ACCESS
    }
    found = _arguments.problems(hosts, options)
    try:
        models = _model.build(hosts, GROUPS)
    except inventory.InventoryError as error:
        return [*found, *error.problems], {}
    return found, {} if found else models
