"""Nobody is locked out: ssh stays open where Ansible comes by, and zones by which nobody can come go away again."""

import contextlib
import json
import time

import pytest

TRIAL = "/run/gatehouse-firewall-trial"
STATE = """
cd /etc/firewalld && grep -s . zones/internet.xml zones/vpn.xml firewalld.conf
systemctl is-active firewalld; systemctl is-enabled firewalld
for zone in $(firewall-cmd --get-zones 2> /dev/null); do firewall-cmd --zone=$zone --list-all; done
true
"""


def state(host):
    """firewalld's files and what it works with, as text."""
    return host.out("sh", "-c", STATE)


def ports(host):
    return {zone: host.out("firewall-cmd", f"--zone={zone}", "--list-ports").split() for zone in ("internet", "vpn")}


def wait_until_put_back(host):
    deadline = time.monotonic() + 90
    while host.run("test", "-e", TRIAL, check=False).returncode == 0 or host.run(
        "systemctl", "is-active", "gatehouse-firewall-trial.service", check=False
    ).returncode == 0:  # fmt: skip
        assert time.monotonic() < deadline
        time.sleep(1)
    assert "The old ones are put back" in host.journal("gatehouse-firewall-trial.service", since="-3m")


@pytest.fixture
def host(lab):
    return lab.gateways[-1]


@pytest.fixture
def alone(lab, host, tmp_path):
    """alone(argument, ..., variable=value): the results of role firewall without a model; its one port is 2525."""
    play = tmp_path / "firewall.yml"
    variables = {
        "firewall_vpn_interface": "vpn0",
        "firewall_ports": [{"name": "spare", "port": 2525, "protocol": "tcp", "zones": ["vpn"]}],
    }
    role = {"role": "gatehouse.mail.firewall", **variables}
    play.write_text(json.dumps([{"hosts": host.name, "become": True, "gather_subset": ["min"], "roles": [role]}]))

    def arguments(*more, **written):
        return str(play), "--extra-vars", json.dumps(written), *more

    def run(*more, **written):
        return lab.playbook(*arguments(*more, **written))

    run.arguments = arguments
    return run


@pytest.fixture
def mended(lab, host):
    """The site's own zones are there afterwards."""
    yield
    site(lab, host)
    host.out("systemctl", "reload", "firewalld")  # what a test has let in by hand


def site(lab, host, *arguments):
    return {task for _host, task in lab.site(*arguments, tags="firewall", limit=host.name)}


def refusal(results):
    """What was said against it; nothing was changed."""
    assert not [result for result in results if result.get("changed")]
    return [result["msg"] for result in results if result.get("failed")]


INTERNET = {"ansible_host": "{{ mail_ipv4 }}"}
NO_SSH = {
    "ansible_connection": "containers.podman.podman",
    "ansible_host": "{{ lab_prefix }}-{{ lab_container }}",
    "ansible_user": "root",
}
WRITTEN = {
    # case: (what the operator wrote, words of the refusal)
    "the VPN alone, by the VPN": ({"firewall_ssh_zones": ["vpn"]}, []),
    "the VPN alone, by the internet": (
        {"firewall_ssh_zones": ["vpn"], **INTERNET},
        ["firewall_ssh_zones: [vpn] lacks internet, the zone of inet0, by which Ansible comes"],
    ),
    "the VPN alone, by the internet, with a console": (
        {"firewall_ssh_zones": ["vpn"], "firewall_ssh_lockout": True, **INTERNET},
        [],
    ),
    "no zone": ({"firewall_ssh_zones": []}, ["firewall_ssh_zones: [] leaves ssh open nowhere; write [internet, vpn]"]),
    "no ssh": (
        NO_SSH,
        ["firewall_ssh_port is not written, and Ansible does not come by ssh", "firewall_ssh_zones is not written"],
    ),
    "no ssh, all written": ({"firewall_ssh_port": 22, "firewall_ssh_zones": ["vpn"], **NO_SSH}, []),
}


@pytest.mark.parametrize("written, words", WRITTEN.values(), ids=WRITTEN)
def test_who_would_be_shut_out_is_told_before_the_firewall_is_changed(host, alone, written, words):
    results = alone("--check", **written)
    if not words:
        assert "Write the zones" in {result["task"] for result in results if result.get("changed")}
        assert [result for result in results if result.get("failed")] == []
        return
    (said,) = refusal(results)
    assert [line for line in said.splitlines() if line.startswith(f"host {host.name}: ")] == said.splitlines()[:-1]
    assert [word for word in words if word not in said] == []
    assert said.endswith("the firewall was not changed")


@contextlib.contextmanager
def sshd_at(host, port):
    """sshd listens at this port alone, and the firewall that is loaded lets both in."""

    def listen(at):
        for zone in ("internet", "vpn"):
            host.out("firewall-cmd", f"--zone={zone}", "--add-port=22/tcp", f"--add-port={port}/tcp")
        host.out(
            "sh",
            "-c",
            f"echo Port {at} > /etc/ssh/sshd_config.d/00-port.conf; systemctl restart ssh || systemctl restart sshd",
        )

    listen(port)
    yield
    listen(22)
    host.out("rm", "/etc/ssh/sshd_config.d/00-port.conf")


def test_ssh_stays_open_at_the_port_that_only_the_ssh_configuration_knows(lab, host, mended, tmp_path):
    configuration = tmp_path / "ssh_config"
    configuration.write_text(f"Host {host.mail_vpn_address}\n  Port 2222\n")
    # In place of what makes Ansible keep a connection, or the run after this test would come by port 2222, too.
    arguments = ("--extra-vars", json.dumps({"ansible_ssh_args": f"-F {configuration}"}))
    with sshd_at(host, 2222):
        assert site(lab, host, *arguments) == {"Write the zones", "Reload firewalld"}
        assert ports(host) == {"internet": ["25/tcp", "2222/tcp"], "vpn": ["25/tcp", "2222/tcp", "32841/tcp"]}
        assert host.run("test", "-e", TRIAL, check=False).returncode == 1
        assert site(lab, host, *arguments) == set()


def test_zones_by_which_nobody_can_come_go_away(lab, host, alone):
    before = state(host)
    (said,) = [result["msg"] for result in alone(firewall_ssh_port=2222) if result.get("failed")]
    assert said.startswith(
        f"host {host.name}: no new ssh connection came through the new zones (port 2222 in internet and vpn)"
    )
    assert ports(host)["internet"] == ["2222/tcp"]
    wait_until_put_back(host)
    assert state(host) == before
    assert site(lab, host) == set()


@pytest.mark.stress
def test_a_run_that_is_killed_leaves_the_old_zones(lab, host, alone, mended):
    before = state(host)
    run = lab.start_playbook(*alone.arguments())
    deadline = time.monotonic() + 60
    while "2525" not in host.out("cat", "/etc/firewalld/zones/vpn.xml"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    lab.kill_playbook(run)
    wait_until_put_back(host)
    assert state(host) == before
    assert {result["task"] for result in alone() if result.get("changed")} == {"Write the zones", "Reload firewalld"}
    assert ports(host) == {"internet": ["22/tcp"], "vpn": ["22/tcp", "2525/tcp"]}
    assert not [result for result in alone() if result.get("changed")]


@pytest.mark.stress
def test_a_run_soon_after_one_that_was_killed_keeps_the_zones(lab, host, alone, mended):
    run = lab.start_playbook(*alone.arguments())
    deadline = time.monotonic() + 60
    while "2525" not in host.out("cat", "/etc/firewalld/zones/vpn.xml"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    lab.kill_playbook(run)
    assert not [result for result in alone() if result.get("failed")]
    assert host.run("test", "-e", TRIAL, check=False).returncode == 1
    assert host.out("systemctl", "list-units", "--all", "--no-legend", "gatehouse-firewall-trial.*") == ""
    assert ports(host) == {"internet": ["22/tcp"], "vpn": ["22/tcp", "2525/tcp"]}


@pytest.mark.stress
def test_on_a_host_without_a_firewall_there_is_none_afterwards(host, alone, mended):
    """As a package leaves it that is not started: no zones of ours, another default, firewalld stopped and disabled."""
    host.out("systemctl", "disable", "--now", "firewalld")
    host.out(
        "sh",
        "-c",
        "cd /etc/firewalld; rm zones/internet.xml zones/vpn.xml; sed -i s/^DefaultZone=.*/DefaultZone=public/ *.conf",
    )
    before = state(host)
    assert [result["msg"] for result in alone(firewall_ssh_port=2222) if result.get("failed")] != []
    assert host.out("systemctl", "is-active", "firewalld") == "active\n"
    wait_until_put_back(host)
    assert state(host) == before
