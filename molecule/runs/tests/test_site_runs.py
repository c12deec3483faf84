"""What a run of site.yml does besides converging: it stops in time, and a part of it does what the whole does."""

import json
import subprocess

import pytest

# Not the records beside the lookup tables: they hold the index's inode and times, which differ each time it is built.
CHECKSUMS = (
    "cd /etc && find . -type f ! -path './ssh/*' ! -name '*.lock' ! -name '*~' ! -name '.*.built'"
    " -exec sha256sum {} + | sort -k2"
)


def test_invalid_parameter_on_the_first_gateway_stops_the_run_there(lab, mail):
    first, last = lab.gateways
    before = {host.name: host.out("sh", "-c", CHECKSUMS) for host in (first, last)}
    wrong = json.dumps({"postfix_parameters": {"smtpd_tls_protcols": "TLSv1.3"}})
    results = lab.playbook("playbooks/site.yml", "--tags", "postfix", "--extra-vars", wrong)
    failed = [result for result in results if result.get("failed")]
    assert [(result["host"], result["task"]) for result in failed] == [(first.name, "Check the candidate")]
    assert "unused parameter: smtpd_tls_protcols" in str(failed)
    there = [result for result in results if result["host"] == last.name]
    assert there[-1]["task"] == "Go on with those that were reached"
    assert [result["task"] for result in there if result.get("changed")] == []
    after = first.out("sh", "-c", CHECKSUMS)
    changed = {line.split()[1] for line in set(before[first.name].splitlines()) ^ set(after.splitlines())}
    assert changed == {"./postfix/candidate/main.cf"}
    assert last.out("sh", "-c", CHECKSUMS) == before[last.name]
    mail.wait_for("alice@example.org", mail.send(first.mail_ipv4, "alice@example.org"))
    lab.site(tags="postfix", limit=first.name)
    assert first.out("sh", "-c", CHECKSUMS) == before[first.name]


def test_limit_and_tags_write_the_same_files_as_a_full_run(lab):
    last = lab.gateways[-1]
    before = last.out("sh", "-c", CHECKSUMS)
    last.out("sh", "-c", "cd /etc/postfix && rm -r candidate main.cf transport* virtual_alias* relay_recipients*")
    results = lab.playbook("playbooks/site.yml", "--limit", last.name, "--tags", "postfix")
    assert {result["host"] for result in results} == {last.name}
    assert last.out("sh", "-c", CHECKSUMS) == before


def test_what_an_interrupted_run_wrote_is_loaded_by_the_next(lab, smtp):
    """Killed when main.cf is in place and its handler has not run: the file is no change for the next run any more."""
    last = lab.gateways[-1]
    arguments = ("playbooks/site.yml", "--limit", last.name, "--tags", "postfix")
    smaller = ("--extra-vars", json.dumps({"mail_message_size_limit": 30000000}))

    def announced():
        replies = last.python("smtp_client.py", {"host": "127.0.0.1", "port": 25, "send": ["EHLO test"]})
        return next(line for line in replies[1][1] if "SIZE" in line)

    before = announced()
    run = lab.start_playbook(*arguments, *smaller)
    assert any("Start Postfix" in line for line in run.stdout)
    lab.kill_playbook(run)
    assert last.out("postconf", "-h", "message_size_limit").strip() == "30000000"
    assert announced() == before
    results = [result for result in lab.playbook(*arguments, *smaller) if result.get("changed")]
    assert [result["task"] for result in results] == ["Look for files that Postfix has not read", "Reload Postfix"]
    assert results[0]["unread"] == ["/etc/postfix/main.cf"]
    assert announced() == "250-SIZE 30000000"
    lab.playbook(*arguments)
    assert announced() == before


def test_a_mail_host_is_done_alone(lab):
    process = lab.start_playbook("playbooks/site.yml", "--tags", "platform", "--limit", lab.store.name)
    said, _nothing = process.communicate(timeout=600)
    assert process.returncode == 0, said


def test_port_label_goes_to_the_policy_s_store(lab):
    """Whether or not the kernel has SELinux; a platform without it does nothing."""
    label = json.dumps({"platform_selinux_ports": [{"port": "32943", "setype": "smtp_port_t"}]})
    arguments = ("playbooks/site.yml", "--tags", "platform", "--limit", "store.example.org,mx2.example.org")
    first, second = (lab.playbook(*arguments, "--extra-vars", label) for _run in range(2))
    name = "Label the ports for SELinux"
    assert [(result["host"], result["changed"]) for result in first if result["task"] == name] == [
        (lab.store.name, True)
    ]
    assert [result["task"] for result in second if result.get("changed")] == []
    listed = lab.store.out("semanage", "port", "--list", "--locallist")
    assert any("smtp_port_t" in line and "32943" in line for line in listed.splitlines())
    lab.store.out("semanage", "port", "--noreload", "--delete", "--proto", "tcp", "32943")


@pytest.fixture(scope="module")
def fresh(lab, machine):
    """run(*command): run a command in a fresh host from the stand-in's image."""
    image = machine["lab_images"][lab["mx1.example.org"].lab_image]

    def run(*command):
        return subprocess.run(
            ["podman", "run", "--rm", "--network", "none", *machine["lab_podman_flags"].split(), image, *command],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return run


def test_stand_in_is_centos_to_ansible(lab, ansible_facts):
    facts, release = ansible_facts("mx1.example.org"), lab["mx1.example.org"].lab_image.removeprefix("el")
    assert facts["ansible_distribution"] == "CentOS"
    assert facts["ansible_os_family"] == "RedHat"
    assert facts["ansible_distribution_major_version"] == release
    assert facts["ansible_pkg_mgr"] == "dnf"
    assert ansible_facts("mx2.example.org")["ansible_distribution"] == "Debian"  # the control


def test_epel_and_crb_come_with_the_role(lab, fresh):
    there = fresh("dnf", "--quiet", "repolist").stdout
    assert "baseos" in there
    assert "crb" not in there
    assert "epel" not in there
    configured = lab["mx1.example.org"].out("dnf", "--quiet", "repolist")
    assert "crb" in configured
    assert "epel" in configured


# What roles install on one release of EL, and refuse where it is not.
LACKING = {"el9": set(), "el10": {"postgrey", "pypolicyd-spf"}}


def test_stand_in_has_what_the_roles_install_and_not_what_el_lacks(lab, redhat_packages):
    host = lab["mx1.example.org"]
    lacking = LACKING[host.lab_image]
    wanted = set(redhat_packages) - lacking
    found = host.out("dnf", "--quiet", "repoquery", "--queryformat", "%{name}", *wanted).split()
    assert set(found) == wanted != set()
    absent = [*lacking, "dovecot-lmtpd", "stunnel4", "bind9-dnsutils", "awstats"]
    assert host.out("dnf", "--quiet", "repoquery", *absent) == ""
