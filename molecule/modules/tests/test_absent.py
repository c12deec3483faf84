"""Module absent with a real systemd: units in every state that they can be in, and files of every kind."""

from __future__ import annotations

import pytest

MODULE = "gatehouse.mail.absent"
FOLDER = "/etc/systemd/system"
UNIT = "[Service]\nExecStart={command}\n[Install]\nWantedBy=multi-user.target\n"
RUNS, FAILS = UNIT.format(command="/bin/sleep infinity"), UNIT.format(command="/bin/false")
PREPARED = {
    "gatehouse-enabled.service": (RUNS, "systemctl enable --now gatehouse-enabled"),
    "gatehouse-running.service": (RUNS, "systemctl start gatehouse-running"),
    "gatehouse-stopped.service": (RUNS, "systemctl enable gatehouse-stopped"),
    "gatehouse-failed.service": (FAILS, "systemctl enable --now gatehouse-failed; sleep 0.2"),
}
REST = "gatehouse-rest.service"
STATES = """
systemctl list-units --all --plain --no-legend 'gatehouse-*'
systemctl list-unit-files --no-legend 'gatehouse-*'
"""
CLEAN = f"""
rm -f {FOLDER}/gatehouse-* /usr/lib/systemd/system/gatehouse-masked.service
systemctl daemon-reload; systemctl stop 'gatehouse-*'; systemctl reset-failed 'gatehouse-*'
"""


@pytest.fixture
def units(platform):
    for unit, (text, command) in {**PREPARED, REST: (RUNS, "true")}.items():
        platform.run("tee", f"{FOLDER}/{unit}", given=text)
        platform.run("systemctl", "daemon-reload")
        platform.out("sh", "-c", command)
    # The package's own unit, of which somebody left a mask.
    platform.run("tee", "/usr/lib/systemd/system/gatehouse-masked.service", given=RUNS)
    platform.out("systemctl", "enable", "gatehouse-masked.service")
    platform.out("systemctl", "mask", "gatehouse-masked.service")
    yield [*PREPARED, "gatehouse-masked.service"]
    platform.out("sh", "-c", CLEAN)


def test_units_are_laid_to_rest_and_their_files_removed(run, platform, units):
    named = [*units, REST, "gatehouse-never-there.service"]
    paths = [f"{FOLDER}/{unit}" for unit in named]
    before = platform.out("sh", "-c", STATES)
    looked = run(platform, MODULE, "--check", units=named, paths=paths)
    assert platform.out("sh", "-c", STATES) == before
    # A mask is a link that is gone before it is its path's turn.
    first = run(platform, MODULE, units=named, paths=[path for path in paths if "masked" not in path])
    second = run(platform, MODULE, units=named, paths=paths)
    assert looked["units"] == first["units"] == units
    assert first["paths"] == [path for path in paths if "masked" not in path and "never" not in path]
    assert (second["changed"], second["units"], second["paths"]) == (False, [], [])
    left = platform.out("sh", "-c", STATES).split()
    assert [word for word in left if word.startswith("gatehouse-")] == ["gatehouse-masked.service"]
    assert left[1] == "disabled"


def test_a_unit_that_is_not_named_goes_on(run, platform, units):
    run(platform, MODULE, units=units[1:])
    assert platform.out("systemctl", "is-active", units[0]).strip() == "active"
    assert platform.out("systemctl", "is-enabled", units[0]).strip() == "enabled"


LINKED = """
rm -rf /srv/absent && mkdir -p /srv/absent/folder/below /srv/absent/kept && cd /srv/absent
touch kept/file folder/below/file
ln -s kept link && ln -s nowhere dangling && ln -s ../kept folder/link
"""


def test_what_a_link_leads_to_stays(run, platform):
    platform.out("sh", "-ec", LINKED)
    paths = [f"/srv/absent/{name}" for name in ("folder", "link", "dangling", "never")]
    result = run(platform, MODULE, paths=paths)
    assert result["paths"] == paths[:3]
    assert platform.out("sh", "-c", "cd /srv/absent; find . -type f; ls") == "./kept/file\nkept\n"
