"""What is loaded when certificates changed: what shows them, where it is there. The handlers are the roles' own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("ansible")

ROOT = Path(__file__).parents[3]
LOADED = [
    "Check Postfix",
    "Reload Postfix",
    "Look for the certificate and its key",
    "Forget which passwords were right",
    "Reload Dovecot",
]


def handlers(role, marker):
    """The role's handlers, which look for this file and else only say that they ran."""
    kept = ("name", "listen", "notify", "register", "changed_when", "when")
    for handler in yaml.safe_load((ROOT / "roles" / role / "handlers/main.yml").read_text()):
        if "ansible.builtin.stat" in handler:
            yield {**{key: handler[key] for key in kept}, "ansible.builtin.stat": {"path": marker}}
        else:
            plain = {key: handler[key] for key in ("name", "listen") if key in handler}
            yield {**plain, "ansible.builtin.debug": {"msg": handler["name"]}}


def test_a_daemon_that_is_not_there_is_not_loaded_even_if_a_later_task_fails(tmp_path):
    for host in ("installed", "early"):
        (tmp_path / host).touch()
    inventory = {"installed": {"__postfix_unit": "postfix"}, "fresh": {"__postfix_unit": "postfix"}, "early": {}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": inventory}}))
    marker = f"{tmp_path}/{{{{ inventory_hostname }}}}"
    play = {
        "hosts": "all",
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
        "gather_facts": False,
        "force_handlers": True,
        "tasks": [
            {"name": "Issue", "ansible.builtin.debug": {}, "changed_when": True, "notify": "Certificate changed"},
            {"name": "Refuse", "ansible.builtin.fail": {}},
        ],
        "handlers": [
            {"name": "Certificate changed", "ansible.builtin.debug": {"msg": "Certificate changed"}},
            *handlers("postfix", marker),
            *handlers("dovecot", marker),
        ],
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text(yaml.safe_dump([play], sort_keys=False))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
        "ANSIBLE_HOME": str(tmp_path),
        "ANSIBLE_NOCOLOR": "1",
    }
    ran = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "hosts.yml", str(playbook)],
        cwd=tmp_path, capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    said = re.findall(r'^ok: \[(\w+)\] => \{\s+"msg": "(.*)"', ran.stdout, re.MULTILINE)
    assert [name for host, name in said if host == "fresh"] == ["Certificate changed"], ran.stdout + ran.stderr
    assert [name for host, name in said if host == "installed"] == ["Certificate changed", *LOADED]
    # It has Postfix, whose role has not had its turn.
    assert [name for host, name in said if host == "early"] == [
        name for name in ["Certificate changed", *LOADED] if "Postfix" not in name
    ]
