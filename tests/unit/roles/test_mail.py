"""The argument_specs of role mail, from which its page is made, say what the model does."""

from pathlib import Path

import yaml
from ansible_collections.gatehouse.mail.plugins.plugin_utils._model import model as _model

SPECS = Path(__file__).parents[3] / "roles/mail/meta/argument_specs.yml"
OPTIONS = yaml.safe_load(SPECS.read_text())["argument_specs"]["main"]["options"]
SITE = {
    "mail_vpn_networks": ["10.8.0.0/24"],
    "mail_domains": [{"name": "example.org"}],
    "mail_mailboxes": ["alice@example.org"],
    "mail_postmaster": "alice@example.org",
    "mail_unrouted_addresses": True,
    "vault_mail_password_hashes": {"alice@example.org": "{BLF-CRYPT}$2y$05$" + "u" * 53},
}
HOSTS = {
    "mx1.example.org": {"mail_ipv4": "203.0.113.11", "mail_vpn_address": "10.8.0.11"},
    "store.example.org": {"mail_vpn_address": "10.8.0.31"},
}
GROUPS = {"mail_gateways": ["mx1.example.org"], "mail_stores": ["store.example.org"]}


def models(defaults):
    gateways_only = {"mail_preference", "mail_retiring", "mail_certificate_files"}
    return _model.build(
        {
            host: {
                **{
                    name: value
                    for name, value in defaults.items()
                    if host.startswith("mx") or name not in gateways_only
                },
                **SITE,
                **variables,
            }
            for host, variables in HOSTS.items()
        },
        GROUPS,
    )


def test_every_variable_is_documented_and_no_other():
    assert sorted({*OPTIONS}) == sorted((*_model.VARIABLES, *_model.SECRETS))


def test_documented_defaults_are_those_of_the_model():
    defaults = {name: option["default"] for name, option in OPTIONS.items() if "default" in option}
    assert "mail_preference" in defaults
    assert models(defaults) == models({})
