"""A mistake in the inventory stops site.yml before any host is touched, and says where it is."""

import json
import subprocess

import pytest


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"mail_domains": [{"name": "exa mple.org"}]},
            ['mail_domains[0].name: "exa mple.org" is not a domain name (space at 4)', "nothing was changed"],
        ),
        (
            {"mail_mailboxes": ["alice@example.org", "bob@example.net"]},
            ['mail_mailboxes[1]: "bob@example.net"', "mail_domains"],
        ),
        ({"mail_vpn_networks": ["0.0.0.0/0"]}, ['mail_vpn_networks[0]: "0.0.0.0/0"']),
        ({"mail_domain": "example.org"}, ["mail_domain", "mail_domains"]),
        ({"postfix_map_tpye": "cdb"}, ["postfix_map_tpye", "did you mean postfix_map_type?", "nothing was changed"]),
        (
            {"postfix_maximal_queue_lifetime": "20 Tage", "firewall_ssh_zones": ["wpn"]},
            ['postfix_maximal_queue_lifetime: "20 Tage"', 'firewall_ssh_zones[0]: "wpn"', "nothing was changed"],
        ),
        (
            {"mail_unrouted_addresses": False},
            ["mail_ipv4", "is not public", "the world sends to"],
        ),
        ({"mail_aliases": {"info@example.org": "nobody-here@example.org"}}, ['"nobody-here@example.org"']),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_inventory_touches_no_host(lab, variables, said):
    results = lab.playbook("playbooks/site.yml", "--extra-vars", json.dumps(variables))
    assert {result["task"] for result in results} == {"Compute the models of all hosts"}
    message = " ".join(str(result["msg"]) for result in results if result.get("failed"))
    for words in ["host mx", *said]:
        assert words in message


@pytest.fixture
def refused(lab):
    """refused(argument, ...): what site.yml says of files on the controller, having touched no host."""

    def run(*arguments):
        results = lab.playbook(*arguments, "playbooks/site.yml")
        assert {result["task"] for result in results} == {
            "Compute the models of all hosts",
            "Check the files on the controller",
        }
        (said,) = [str(result["msg"]) for result in results if result.get("failed")]
        assert said.endswith("nothing was changed")
        return said

    return run


def test_secrets_in_clear_touch_no_host_unless_that_is_meant(refused):
    said = refused("--extra-vars", json.dumps({"mail_clear_secrets": False}))
    assert "inventories/lab/group_vars/all/vault.yml: vault_mail_password_hashes: is in clear" in said
    assert "$2b$" not in said


def test_an_unfit_certificate_touches_no_host(refused, tmp_path):
    """One that expires soon and is for another name, with the key of another one, which is open to others."""
    for name in ("mx1", "mx2"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "6",
             "-subj", "/CN=x", "-addext", "subjectAltName=DNS:www.example.org",
             "-out", tmp_path / f"{name}.crt", "-keyout", tmp_path / f"{name}.key"],
            check=True, capture_output=True,
        )  # fmt: skip
    (tmp_path / "mx2.key").chmod(0o644)
    files = [{"certificate": str(tmp_path / "mx1.crt"), "key": str(tmp_path / "mx2.key")}]
    # An inventory beside the lab's, since an extra variable would give the files to the store as well.
    beside = tmp_path / "hosts.json"
    beside.write_text(json.dumps({"all": {"hosts": {"mx1.example.org": {"mail_certificate_files": files}}}}))
    said = refused("-i", str(beside))
    start = "host mx1.example.org: mail_certificate_files[0]"
    for part, words in (
        ("key", "is open to others (mode 0644)"),
        ("certificate", "in less than 7 days"),
        ("certificate", "is for www.example.org; write one for mx1.example.org"),
        ("key", "is not the key of the certificate"),
    ):
        assert [line for line in said.splitlines() if line.startswith(f"{start}.{part}: ") and words in line], said
