"""Module packages with the hosts' own package managers."""

from __future__ import annotations

import pytest

MODULE = "gatehouse.mail.packages"
FACTS = {"gather_facts": True, "gather_subset": ["min"]}


def test_check_mode_misses_nothing_of_epel_before_epel_is_there(el9, run):
    tasks = [{MODULE: {"name": ["postgrey"], "from_epel": True}}, {MODULE: {"name": ["postgrey"]}}]
    _facts, of_epel, of_others = run.tasks(el9, tasks, "--check", **FACTS)
    assert of_epel["changed"] and not of_epel.get("failed"), run.printed
    assert of_others.get("failed")  # the control


@pytest.fixture
def daemons(debian12):
    """Two that Debian starts when it installs them."""
    yield ["postgrey", "cron"]
    debian12.run("apt-get", "--quiet", "--yes", "purge", "postgrey", "cron")


def test_debian_starts_only_what_it_may_start(debian12, run, daemons):
    not_yet, at_once = daemons
    tasks = [{MODULE: {"name": [not_yet], "start": False, "recommends": False}}, {MODULE: {"name": [at_once]}}]
    _facts, first, second = run.tasks(debian12, tasks, **FACTS)
    assert (first["changed"], second["changed"]) == (True, True), run.printed
    states = debian12.run("systemctl", "is-active", not_yet, at_once, check=False).stdout.split()
    assert states == ["inactive", "active"]
