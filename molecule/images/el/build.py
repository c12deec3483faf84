"""Make a stand-in's RPM repositories out of packages.yml, files/, files9/ or files10/, and Debian's packages.

    build.py RELEASE names                     print the Debian packages that the table takes files from
    build.py RELEASE repositories DEBS TARGET  make the signed repositories in TARGET from the .deb files in DEBS

It runs inside the image that is being made, where rpmbuild, gpg and createrepo_c are at hand. Nothing here decides what
a package holds: that is the table's business.
"""

import glob
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
REPOSITORIES = ("baseos", "appstream", "crb", "extras-common", "epel")
RELEASE = int(sys.argv[1]) if sys.argv[1:] else 0
# Two keys, as there are two in the world: that of EPEL is not known to a host before epel-release is installed.
EPEL_KEY = f"RPM-GPG-KEY-EPEL-{RELEASE}"
KEYS = {"RPM-GPG-KEY-centosofficial": "centos-gpg-keys", EPEL_KEY: "epel-release"}


def run(*command, **options):
    """Stop at the first command that fails, and show what it said."""
    result = subprocess.run([str(word) for word in command], check=False, text=True, capture_output=True, **options)
    if result.returncode != 0:
        sys.exit(f"{' '.join(str(word) for word in command)}: {result.stdout}{result.stderr}")
    return result.stdout


def of_release(values):
    """The table's values for RELEASE; one that is {release: value} and does not name it is left out."""
    chosen = {}
    for name, value in values.items():
        if isinstance(value, dict) and value and all(isinstance(key, int) for key in value):
            if RELEASE not in value:
                continue
            value = value[RELEASE]
        chosen[name] = of_release(value) if isinstance(value, dict) else value
    return chosen


def load():
    """The table; the names of a bare host without a package of their own are empty packages."""
    table = of_release(yaml.safe_load((HERE / "packages.yml").read_text()))
    bare = {"repository": "baseos", "version": f"{RELEASE}-1.el{RELEASE}"}
    named = {name: package for name, package in table["packages"].items() if "version" in package}
    return dict.fromkeys(table["host"], bare) | named


def copy(source, target):
    """A file, link or folder with its modes, merged into what is there."""
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)


def fill(root, name, package, unpacked):
    """Put a package's files below root. Its own files come last: they replace Debian's."""
    for debian, paths in package.get("debian", {}).items():
        for pattern, target in paths.items():
            found = sorted(glob.glob(f"{unpacked / debian}{pattern}"))
            if not found:
                sys.exit(f"{name}: {debian} has nothing like {pattern}")
            for source in map(Path, found):
                copy(source, Path(f"{root}{target}{source.name if target.endswith('/') else ''}"))
    for folder in (HERE / "files" / name, HERE / f"files{RELEASE}" / name):
        if folder.is_dir():
            copy(folder, root)
    for path, target in package.get("links", {}).items():
        link = Path(f"{root}{path}")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    for path in package.get("directories", {}):
        os.makedirs(f"{root}{path}", exist_ok=True)


def attributes(text):
    """`0750 root dovecot` as RPM writes it; who is not named is root."""
    mode, *names = str(text).split()
    user, group = names or ("root", "root")
    return f"%attr({mode}, {user}, {group}) "


def file_list(root, package):
    """The %files section: folders of the table, then every file and link below root."""
    lines = [f'%dir {attributes(text)}"{path}"' for path, text in package.get("directories", {}).items()]
    for folder, folders, files in os.walk(root):
        for name in sorted(files + [name for name in folders if os.path.islink(os.path.join(folder, name))]):
            path = "/" + os.path.relpath(os.path.join(folder, name), root)
            config = path.startswith("/etc/") and not os.path.islink(f"{root}{path}")
            owner = package.get("owners", {}).get(path)
            lines.append(f'{"%config(noreplace) " if config else ""}{attributes(owner) if owner else ""}"{path}"')
    return lines


def accounts(package):
    """Shell lines that make the package's groups and users where they are missing."""
    for group, number in package.get("groups", {}).items():
        yield f"getent group {group} > /dev/null || groupadd -r {f'-g {number}' if number else ''} {group}"
    for user, account in package.get("users", {}).items():
        options = [f"-u {account['uid']}"] if "uid" in account else []
        options += [f"-G {account['groups']}"] if "groups" in account else []
        yield (
            f"getent passwd {user} > /dev/null || "
            f"useradd -r -M -g {user} {' '.join(options)} -d {account['home']} -s /sbin/nologin {user}"
        )


def spec(name, package, lines):
    """The text of the .spec file."""
    epoch, _, version = package["version"].rpartition(":")
    version, _, release = version.rpartition("-")
    head = [f"Name: {name}", f"Version: {version}", f"Release: {release}", "License: as in Debian", "AutoReqProv: no"]
    head += [f"Summary: {name} of the CentOS stand-in", f"Epoch: {epoch or 0}"]
    head += [f"{word}: {item}" for word in ("Requires", "Provides") for item in package.get(word.lower(), [])]
    # As EL's macros do it: a unit gets its preset, and is not started.
    units = [line.split("/")[-1].rstrip('"') for line in lines if "/usr/lib/systemd/system/" in line]
    named = " ".join(unit for unit in units if "@" not in unit)
    reload = ["[ ! -d /run/systemd/system ] || systemctl daemon-reload"] if units else []
    make = ["systemd-tmpfiles --create > /dev/null 2>&1"] if any("/tmpfiles.d/" in line for line in lines) else []
    scripts = {
        "pre": list(accounts(package)),
        "post": [
            *package.get("install", "").splitlines(),
            *make,
            *reload,
            *([f"[ $1 -gt 1 ] || systemctl --no-reload --quiet preset {named}"] if named else []),
        ],
        "preun": [f"[ $1 -gt 0 ] || systemctl --no-reload --quiet disable --now {named}"] if named else [],
        "postun": reload,
    }
    body = ["%description", "Debian's programs at CentOS's paths, for tests."]
    for script, commands in scripts.items():
        if commands:
            body += [f"%{script}", *commands, ":"]  # a script that fails would fail the installation
    return "\n".join([*head, *body, "%files", *lines]) + "\n"


def build(name, package, unpacked, target):
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "root").mkdir()
        fill(work / "root", name, package, unpacked)
        (work / "spec").write_text(spec(name, package, file_list(work / "root", package)))
        defines = {
            "_topdir": work / "rpm",
            "_rpmdir": target / package["repository"],
            "_rpmfilename": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
            "_build_id_links": "none",
            "__os_install_post": "%{nil}",  # no stripping, no compiling
            "_binary_payload": "w1.gzdio",  # speed counts here, size does not
        }
        options = [word for key, value in defines.items() for word in ("--define", f"{key} {value}")]
        run("rpmbuild", "-bb", "--quiet", *options, "--buildroot", work / "root", work / "spec")


def make_keys(packages):
    """Fresh signing keys, whose public halves go into their packages' files. The secret halves end with the build."""
    for key, owner in KEYS.items():
        run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", key, "rsa2048", "sign", "never")
        path = HERE / "files" / owner / "etc/pki/rpm-gpg" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(run("gpg", "--armor", "--export", f"={key}"))


def repositories(debs, target):
    packages = load()
    unpacked = debs / "unpacked"
    unpacked.mkdir()
    for deb in debs.glob("*.deb"):
        run("dpkg-deb", "--extract", deb, unpacked / deb.name.split("_")[0])
    with tempfile.TemporaryDirectory() as home:
        os.environ["GNUPGHOME"] = home
        make_keys(packages)
        for repository in REPOSITORIES:
            (target / repository).mkdir(parents=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for made in [pool.submit(build, name, package, unpacked, target) for name, package in packages.items()]:
                made.result()
        for repository in REPOSITORIES:
            key = EPEL_KEY if repository == "epel" else "RPM-GPG-KEY-centosofficial"
            rpms = sorted((target / repository).glob("*.rpm"))
            run("rpm", "--addsign", "--define", f"_gpg_name {key}", "--define", "__gpg /usr/bin/gpg", *rpms)
            run("createrepo_c", "--quiet", target / repository)
        run("gpgconf", "--kill", "all")


if __name__ == "__main__":
    if sys.argv[2:] == ["names"]:
        print(*sorted({debian for package in load().values() for debian in package.get("debian", {})}))
    elif len(sys.argv) == 5 and sys.argv[2] == "repositories":
        repositories(Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        sys.exit(__doc__)
