"""What leaves the operator's clone: the archive that `ansible-galaxy collection build` makes, and what git takes."""

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECRET = "of one site alone"
# What a site leaves in a clone, and whether git takes it.
SITE = {
    ".pki/ca.key": False,
    ".dns/published.json": True,
    "docs/.dns/published.json": True,
    "inventories/.pki/ca.key": False,
    "inventories/e/hosts.yml": True,
    "inventories/exampl/hosts.yml": True,
    "inventories/example/.dns/published.json": True,
    "inventories/example/.pki/ca.key": False,
    "inventories/example/group_vars/.pki/ca.key": False,
    "inventories/example.org/hosts.yml": True,
    "inventories/example2/hosts.yml": True,
    "inventories/exumple/hosts.yml": True,
    "inventories/hosts.yml": True,
    "inventories/mysite/.dns/published.json": True,
    "inventories/mysite/.pki/ca.key": False,
    "inventories/mysite/example/vault.yml": True,
    "inventories/mysite/group_vars/all/mail_dkim.yml": True,
    "inventories/mysite/group_vars/all/vault.yml": True,
    "playbooks/.pki/ca.key": False,
    "roles/postfix/.pki/ca.key": False,
}


def git(folder, *arguments):
    ran = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    return {name for name in ran.stdout.split("\0") if name}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of what git has or would take, as its own repository, with what a site leaves in it."""
    clone = tmp_path_factory.mktemp("clone")
    for name in git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    for name in SITE:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(SECRET)
    git(clone, "init", "--quiet")
    return clone


@pytest.fixture(scope="module")
def archive(clone, tmp_path_factory):
    """The archive's files."""
    folder = tmp_path_factory.mktemp("archive")
    build = ["ansible-galaxy", "collection", "build", "--output-path", str(folder), str(clone)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (made,) = folder.iterdir()
    with tarfile.open(made) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}


def test_nothing_of_a_site_is_in_the_archive(archive):
    assert [name for name, content in archive.items() if SECRET.encode() in content] == []
    assert [name for name in archive if name.startswith(".") or "/." in name] == []


def test_of_inventories_the_example_is_in_the_archive_and_no_other(archive):
    inventories = {name for name in archive if name.startswith("inventories/")}
    assert inventories == git(ROOT, "ls-files", "-z", "inventories/example")
    assert inventories


def test_what_a_user_needs_is_in_the_archive(archive):
    needed = git(ROOT, "ls-files", "-z", "docs", "meta", "playbooks", "plugins", "roles", "README.md", "COPYING")
    assert needed - set(archive) == set()


def test_git_takes_what_was_published_and_no_key(clone):
    taken = git(clone, "ls-files", "-z", "--others", "--exclude-standard")
    assert {name: name in taken for name in SITE} == SITE
