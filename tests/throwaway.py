"""Hosts for benches and stress tests: a container of one of the lab's images, with no network, gone when done with.

Modules run on such a host without Ansible's way there, which would cost more than what is measured.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from known import PLATFORMS, ROOT

COLLECTION = "ansible_collections/gatehouse/mail"
EMPTY = """
from ansible.module_utils.basic import AnsibleModule
AnsibleModule(argument_spec={}).exit_json(changed=False)
"""


class Host:
    """A container, and ways to run commands and modules in it as root."""

    def __init__(self, container: str) -> None:
        self.container = container

    def run(self, *command: str, given: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run a command with the given standard input; with check a failure shows what it said."""
        result = subprocess.run(
            ["podman", "exec", "--interactive", self.container, *command], input=given, capture_output=True, check=False
        )
        if check and result.returncode:
            raise RuntimeError(f"{command}: {result.returncode}: {(result.stdout + result.stderr).decode()[-2000:]}")
        return result

    @property
    def pid(self) -> int:
        """The container's first process, as this machine numbers it."""
        shown = ["podman", "inspect", "--format", "{{.State.Pid}}", self.container]
        return int(subprocess.run(shown, capture_output=True, check=True).stdout)

    def put(self, path: str, content: bytes) -> None:
        self.run("tee", path, given=content)

    def python(self, script: Path, order: dict[str, Any]) -> Any:
        """Run a script on the host: its standard input is the order, its output is JSON."""
        return json.loads(self.run("python3", "-c", script.read_text(), given=json.dumps(order).encode()).stdout)

    def playbook(self, playbook: Path, **variables: str) -> None:
        """Run a playbook for the host, with a private CA that is gone when it has ended."""
        with tempfile.TemporaryDirectory() as ca:
            order = json.dumps({"certificate_ca_directory": ca, **variables})
            command = ["ansible-playbook", "-i", f"{self.container},", "-c", "containers.podman.podman", "-e", order]
            result = subprocess.run(
                [*command, playbook],
                env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        if result.returncode:
            raise RuntimeError((result.stdout + result.stderr)[-4000:])

    def install_modules(self) -> None:
        """Put this collection's modules, and what of Ansible they need, into /root/modules.zip.

        Beside them is a module `empty` that does nothing, to measure what any module costs.
        """
        ansible = Path(next(iter(importlib.util.find_spec("ansible").submodule_search_locations)))
        files = {f"ansible/{path.relative_to(ansible)}": path for path in ansible.glob("module_utils/**/*.py")}
        files |= {f"{COLLECTION}/{path.relative_to(ROOT)}": path for path in ROOT.glob("plugins/module*/*.py")}
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, path in files.items():
                archive.writestr(name, path.read_bytes())
            archive.writestr(f"{COLLECTION}/plugins/modules/empty.py", EMPTY)
            folders = {str(folder) for name in files for folder in Path(name).parents} - {"."}
            for name in sorted({f"{folder}/__init__.py" for folder in folders} - files.keys()):
                archive.writestr(name, "")
        self.put("/root/modules.zip", content.getvalue())

    def command_of(self, module: str, arguments: dict[str, Any]) -> str:
        """Shell text that runs a module with these arguments, which are put into a file of their own."""
        order = {"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_selinux_special_fs": [], "_ansible_tmpdir": "/tmp"}}  # noqa: S108
        content = json.dumps(order).encode()
        path = f"/root/{module}-{hashlib.sha256(content).hexdigest()[:16]}.json"
        self.put(path, content)
        name = f"{COLLECTION.replace('/', '.')}.plugins.modules.{module}"
        return f"PYTHONPATH=/root/modules.zip exec python3 -m {name} {path}"

    def module(self, module: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Run a module and give its result, which may be a failure."""
        return json.loads(self.run("bash", "-c", self.command_of(module, arguments), check=False).stdout)


INSTALL = {
    "Debian": ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet", "--yes", "--no-install-recommends"],
    "RedHat": ["dnf", "--quiet", "--assumeyes"],
}


@contextlib.contextmanager
def host(*packages: str, image: str = "debian12") -> Iterator[Host]:
    """A host of an image with these packages of its repository and this collection's modules."""
    flags = ROOT / ".lab/throwaway/machine.yml"
    flags.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([ROOT / "molecule/images/build", flags, image], check=True)
    machine = yaml.safe_load(flags.read_text())
    name = f"gatehouse-throwaway-{os.getpid()}"
    command = [
        "podman", "run", "--detach", "--rm", "--systemd=always", "--network=none", "--cap-add=NET_ADMIN",
        "--name", name,
    ]  # fmt: skip
    subprocess.run(
        [*command, *machine["lab_podman_flags"].split(), machine["lab_images"][image]],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        there = Host(name)
        # While the host starts it empties /tmp, where package managers work.
        there.run("systemctl", "is-system-running", "--wait", check=False)
        there.run(*INSTALL[PLATFORMS[image]["family"]], "install", *packages)
        there.install_modules()
        yield there
    finally:
        subprocess.run(["podman", "rm", "--force", "--time=0", name], check=True, stdout=subprocess.DEVNULL)
