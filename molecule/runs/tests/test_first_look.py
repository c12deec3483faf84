"""What speaks against a host is found on all hosts, and said at once, before the first of them is changed."""

import contextlib
import json

SOMEBODY = "import socket, time; s = socket.create_server(('127.0.0.1', 53)); time.sleep(600)"
NOBODY = json.dumps({"postfix_relay_recipients": ["carol@example.org"]})


@contextlib.contextmanager
def another_resolver(host):
    host.out("systemctl", "stop", "unbound")
    host.out("systemd-run", "--unit=another-resolver", "python3", "-c", SOMEBODY)
    yield
    host.out("systemctl", "stop", "another-resolver")
    host.out("systemctl", "start", "unbound")


@contextlib.contextmanager
def another_firewall(host):
    """As far as systemd knows: it starts at the next boot."""
    unit = "[Service]\nType=oneshot\nExecStart=true\n[Install]\nWantedBy=multi-user.target\n"
    host.run("cp", "/dev/stdin", "/etc/systemd/system/ferm.service", given=unit)
    host.out("systemctl", "enable", "ferm")
    yield
    host.out("systemctl", "disable", "ferm")
    host.out("rm", "/etc/systemd/system/ferm.service")
    host.out("systemctl", "daemon-reload")


def test_all_that_speaks_against_the_hosts_is_said_before_the_first_is_changed(lab):
    (first, *_others, last), store = lab.gateways, lab.store
    with another_resolver(store), another_firewall(last):
        results = lab.playbook("playbooks/site.yml", "--extra-vars", NOBODY)
    assert [(result["host"], result["task"]) for result in results if result.get("changed")] == []
    *_kept, stopped = [result for result in results if result.get("failed")]
    assert stopped["task"] == "Stop where a host was refused"
    said = stopped["msg"].splitlines()
    lost = "relay_recipients would lose 2 of 2 entries; if that is meant, run once more with"
    expected = [
        f"host {store.name}: tcp port 53 at 127.0.0.1 is taken by ",
        f"host {first.name}: {lost}",
        f"host {last.name}: another firewall is there (ferm)",
        f"host {last.name}: {lost}",
        "no host was changed",
    ]
    assert [line for line, start in zip(said, expected) if not line.startswith(start)] == []
    assert len(said) == len(expected)


def test_a_role_alone_looks_for_itself(lab, tmp_path):
    role = {
        "role": "gatehouse.mail.platform",
        "platform_room": 100_000_000,
        "platform_reserved_ports": [],
        "platform_nonlocal_bind": False,
        "platform_selinux_ports": [],
    }
    play = tmp_path / "platform.yml"
    play.write_text(json.dumps([{"hosts": lab.store.name, "become": True, "gather_subset": ["min"], "roles": [role]}]))
    results = lab.playbook(str(play))
    assert [result["task"] for result in results if result.get("changed")] == []
    (refused,) = [result["msg"] for result in results if result.get("failed")]
    assert refused.startswith(f"host {lab.store.name}: too little room on the disk (/")
    assert "of 100000000 MiB" in refused
