"""A list that lost most of its entries stops a run before any host is changed, unless somebody said it is meant."""

import json

TABLES = "sha256sum /etc/postfix/main.cf /etc/postfix/relay_recipients*"
OTHERS = json.dumps({"postfix_relay_recipients": ["alice@example.org", "carol@example.org"]})
NONE = json.dumps({"postfix_relay_recipients": ["carol@example.org"]})


def site(lab, *variables, limit="all"):
    """The failed tasks of a run of role postfix with these variables, as (host, task, message)."""
    arguments = [argument for each in variables for argument in ("--extra-vars", each)]
    results = lab.playbook("playbooks/site.yml", "--tags", "postfix", "--limit", limit, *arguments)
    return [(result["host"], result["task"], result["msg"]) for result in results if result.get("failed")]


def test_a_recipient_list_that_shrank_needs_a_word(lab):
    gateway = lab.gateways[0]
    before = gateway.out("sh", "-c", TABLES)
    *refused, (_host, stopped, said) = site(lab, NONE)
    each = [(host.name, "Insist on a word before most of a table goes") for host in lab.gateways]
    assert sorted((host, task) for host, task, _said in refused) == each
    assert stopped == "Stop where a host was refused"
    assert f"host {gateway.name}: relay_recipients would lose 2 of 2 entries" in said
    assert gateway.out("sh", "-c", TABLES) == before

    assert site(lab, OTHERS, limit=gateway.name) == []  # half of it may go
    assert site(lab, NONE, "postfix_allow_shrink=true", limit=gateway.name) == []
    assert (
        gateway.run("postmap", "-q", "alice@example.org", "lmdb:/etc/postfix/relay_recipients", check=False).stdout
        == ""
    )
    assert site(lab, "postfix_allow_shrink=true", limit=gateway.name) == []  # carol goes, who was all there was
    assert gateway.out("sh", "-c", TABLES) == before
