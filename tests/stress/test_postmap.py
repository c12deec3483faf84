"""Module postmap, killed: no reader ever misses a key that the table had before and has after."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from throwaway import Host, host

ON_HOST = Path(__file__).with_name("postmap_on_host.py")
IN_PLACE = "cp /root/src /root/tables/t && exec postmap hash:/root/tables/t"
ENTRIES = 60_000
KILLS = 200


@pytest.fixture(scope="module")
def there() -> Iterator[Host]:
    with host("postfix", "postfix-lmdb", "postfix-cdb") as host_there:
        yield host_there


def order(there: Host, kind: str, in_place: bool = False, **more: Any) -> dict[str, Any]:
    path = "/root/tables/t"
    command = IN_PLACE if in_place else there.command_of("postmap", {"path": path, "type": kind, "src": "/root/src"})
    return {"type": kind, "path": path, "entries": ENTRIES, "command": command, "in_place": in_place, **more}


def phases(kills: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{phase}: {count}" for phase, count in collections.Counter(kill["phase"] for kill in kills).items()
    )


@pytest.mark.parametrize("kind", ["lmdb", "hash", "cdb"])
def test_a_killed_run_costs_no_key_and_the_next_one_repairs_all(there, kind):
    found = there.python(ON_HOST, order(there, kind, do="kill", rounds=KILLS))
    kills = found["kills"]
    print(f"{kind}: {phases(kills)}")
    assert len(kills) == KILLS
    assert sum(kill["after_first_write"] for kill in kills) >= KILLS / 2, phases(kills)
    assert [kill for kill in kills if kill["missed"] or not kill["repaired"]] == []
    assert not found["left"]


def test_a_killed_postmap_in_place_loses_keys(there):
    """The control: the same reader, killed at the same moments, sees what the module is there to prevent."""
    kills = there.python(ON_HOST, order(there, "hash", in_place=True, do="kill", rounds=KILLS // 10))["kills"]
    print(f"in place: {sum(bool(kill['missed']) for kill in kills)} of {len(kills)} kills lost keys")
    assert any(kill["missed"] for kill in kills)


def test_a_reader_waits_less_than_a_third_of_what_it_waits_in_place(there):
    waits = {
        name: there.python(
            ON_HOST, {**order(there, kind, in_place=name == "in place", do="wait", rounds=50), "entries": 100_000}
        )
        for name, kind in (("in place", "hash"), ("hash", "hash"), ("lmdb", "lmdb"), ("cdb", "cdb"))
    }
    print({name: f"{found['longest']:.3f} s of {found['lookups']} lookups" for name, found in waits.items()})
    for name in ("hash", "lmdb", "cdb"):
        assert waits[name]["missed"] == 0
        assert waits[name]["longest"] <= waits["in place"]["longest"] / 3, name
