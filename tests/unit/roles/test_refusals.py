"""What roles refuse on the host, asked of the roles' own expressions."""

from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLES = Path(__file__).parents[3] / "roles"


def evaluate(role, expression, **variables):
    """The value of an expression, given the role's vars/main.yml and other variables."""
    known = yaml.safe_load((ROLES / role / "vars/main.yml").read_text())
    trusted = {key: trust_as_template(value) if isinstance(value, str) else value for key, value in known.items()}
    templar = Templar(DataLoader(), variables={**trusted, **variables})
    return templar.template(trust_as_template(f"{{{{ {expression} }}}}"))


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
    results = [{"item": {"name": "relay_recipients"}, "count": wanted, "counts": counts}]
    assert evaluate("postfix", "__postfix_shrunk", __postfix_compared={"results": results}) == words


def test_platforms_that_are_known_have_their_names_in_every_role():
    families = {family.lower() for family in evaluate("platform", "__platform_known")}
    assert families == {path.stem for path in ROLES.glob("*/vars/*.yml")} - {"main"}


@pytest.mark.parametrize(
    "family, version, known",
    [
        ("Debian", "12", True),
        ("RedHat", "9", True),
        ("Debian", "24", False),
        ("RedHat", "8", False),
        ("Suse", "15", False),
    ],
)
def test_a_platform_that_no_role_knows_is_refused_first_of_all(family, version, known):
    task = yaml.safe_load((ROLES / "platform/tasks/main.yml").read_text())[0]["ansible.builtin.assert"]
    facts = {"os_family": family, "distribution_major_version": version, "distribution": "Some"}
    assert evaluate("platform", task["that"], ansible_facts=facts) is known
    message = " ".join(task["fail_msg"].split())
    said = evaluate(
        "platform", "message", ansible_facts=facts, inventory_hostname="mx1", message=trust_as_template(message)
    )
    assert said.startswith(f"host mx1: Some {version} is not supported; use one of Debian 12, CentOS Stream 9")
