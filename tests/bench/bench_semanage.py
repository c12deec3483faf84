"""Module semanage: ten changes in one task, held against one. The store is the CentOS stand-in's."""

from __future__ import annotations

import measure
from throwaway import host


def items(count: int, state: str) -> dict[str, list[dict[str, object]]]:
    """A module, and up to nine ports, file contexts and a boolean beside it."""
    many = {
        "modules": [{"name": "bench", "cil": "(allow antivirus_t smtp_port_t (tcp_socket (name_connect)))"}],
        "ports": [{"port": str(8900 + n), "setype": "milter_port_t"} for n in range(4)],
        "fcontexts": [{"target": f"/srv/bench{n}(/.*)?", "setype": "mail_spool_t"} for n in range(4)],
    }
    chosen = many if count > 1 else {"modules": many["modules"]}
    return {
        **{kind: [{**item, "state": state} for item in listed] for kind, listed in chosen.items()},
        "booleans": [{"name": "antivirus_use_jit", "value": state == "present"}] if count > 1 else [],
    }


with host("policycoreutils-python-utils", "python3-setools", image="el9") as there:
    commands = {
        (count, state): there.command_of("semanage", items(count, state))
        for count in (1, 10)
        for state in ("present", "absent")
    }
    one, ten = measure.seconds(
        there,
        *((commands[count, "absent"].replace("exec ", ""), commands[count, "present"]) for count in (1, 10)),
        times=3,
    )
    measure.row("semanage, ten changes: 1.5 times one", ten, 1.5 * one)
raise SystemExit(measure.report())
