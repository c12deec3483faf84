# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: files
short_description: Write the files of a daemon, all of them or none
description:
  - Renders templates on the controller as M(ansible.builtin.template) does, and compares and writes all files of a call
    in one go on the host. A task costs more than a file does.
  - All new files are written aside and checked before the first is put into place. Each comes by a rename, flushed to
    disk, so a reader sees the old or the new one, and a run that is killed leaves no half of a file.
  - A file that is replaced keeps its SELinux context. A new one gets that of the policy for its path.
  - With O(unit) it also says which files came into place after the daemon last read its files, as
    M(gatehouse.mail.unread) does, and counts that as a change, so that the next run goes on where one was stopped.
version_added: 0.1.0
author:
  - gatehouse.mail contributors (@gatehouse)
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    platforms: posix
options:
  files:
    description:
      - The files, in the order in which they are put into place. Folders come first, and what is V(absent) goes last.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description:
          - Where it is to be on the host. A symbolic link there, or anything of another kind, is refused.
          - The folder that it is in must be there, or be one of O(files).
          - One of O(files[].path) and O(files[].paths) must be given.
        type: path
      paths:
        description:
          - In place of O(files[].path), several files that are alike, or none. A template that they share knows by
            C(template_destpath) which one it is for.
        type: list
        elements: path
      src:
        description:
          - The template, found as M(ansible.builtin.template) finds it.
          - By default it is O(files[].path) without its first slash and with C(.j2), below the role's C(templates/).
        type: str
      content:
        description: The text itself, in place of a template.
        type: str
      verbatim:
        description:
          - Whether O(files[].src) is no template but copied as it is, found as M(ansible.builtin.copy) finds it.
          - It is then O(files[].path) without its first slash by default, below the role's C(files/).
        type: bool
        default: false
      interpreter:
        description: Of a program, such as V(/usr/bin/python3). A first line that names it is put before the content.
        type: str
      state:
        description: V(absent) removes a file, a link, or a folder with all that is in it.
        type: str
        choices: [file, directory, absent]
        default: file
      owner:
        description: The owner. In check mode it need not be there yet, as on a host where the daemon is not installed.
        type: str
        default: root
      group:
        description: The group. In check mode it need not be there yet.
        type: str
        default: root
      mode:
        description: The permissions, as four octal digits in quotes. By default V(0644), and V(0755) of a folder.
        type: str
      validate:
        description:
          - A command that checks the new file before any is put into place, without a shell; C(%s) stands for its path.
          - What the new file names must be in place by then, so a task before this one writes that.
        type: str
      secret:
        description: Whether nothing of the content may be seen. It is in no diff, in no log, and in no error.
        type: bool
        default: false
  unit:
    description: Units of systemd that read the files.
    type: list
    elements: str
    default: []
  by_reload:
    description: Whether the units also read them when they are reloaded, and not only when they start.
    type: bool
    default: true
  validate:
    description:
      - A command that checks all new files together; C(%s) stands for a folder that holds them by their last names, the
        unchanged ones too.
    type: str
  contents:
    description: Not for you. The contents as the controller packs them.
    type: str
seealso:
  - module: ansible.builtin.template
  - module: gatehouse.mail.unread
"""

EXAMPLES = r"""
- name: Write unbound's files
  gatehouse.mail.files:
    unit: unbound
    files:
      - {path: /etc/unbound/keyed, state: directory, group: unbound, mode: "0750"}
      - {path: /etc/unbound/unbound.conf, validate: /usr/sbin/unbound-checkconf %s}
      - paths: "{{ unbound_zones | map('regex_replace', '^', '/etc/unbound/keyed/') }}"
        src: etc/unbound/keyed/zone.j2
        group: unbound
        mode: "0640"
        secret: true
  notify: Restart unbound
"""

RETURN = r"""
files:
  description: The paths that were changed, or would be.
  returned: always
  type: list
  elements: str
  sample: [/etc/unbound/unbound.conf]
unread:
  description: The files that a running unit has not read.
  returned: always
  type: list
  elements: str
  sample: []
"""

import contextlib
import grp
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, Callable, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gatehouse.mail.plugins.module_utils import _files as core
from ansible_collections.gatehouse.mail.plugins.module_utils import _unread
from ansible_collections.gatehouse.mail.plugins.module_utils._aside import flush, folder_aside, leftovers
from ansible_collections.gatehouse.mail.plugins.module_utils._files import FilesError, Wanted

KINDS = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a symbolic link"}
WANTED = {"file": "a file", "directory": "a folder"}
ASIDE = "files"  # makes the name of the folder in which successors are made


def kind(path: str) -> str:
    """What is there, in words; "" where nothing is."""
    try:
        return KINDS.get(stat.S_IFMT(os.lstat(path).st_mode), "something that is no file")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def octets(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def differs(file: Wanted, there: str) -> bool:
    """Whether something else is there; FilesError where it is of another kind, and in the way."""
    if file.state == "absent":
        return bool(there)
    if there and there != WANTED[file.state]:
        raise FilesError(file.path, f"{there} is in the way", "take it away, if nobody needs it")
    return not there or (file.state == "file" and octets(file.path) != file.octets)


def stranger(file: Wanted) -> str:
    """Its owner or group, if the host does not know that."""
    names: Sequence[tuple[str, Callable[[str], Any]]] = ((file.owner, pwd.getpwnam), (file.group, grp.getgrnam))
    for name, ask in names if file.state in WANTED else ():
        try:
            if not name.isdigit():
                ask(name)
        except KeyError:
            return name
    return ""


def check_place(file: Wanted, files: Sequence[Wanted]) -> None:
    """What would fail only when half of the files are there."""
    name = stranger(file)
    if name:
        raise FilesError(file.path, f"{name}, whose it is to be, is not there", "make that user or group first")
    made = any(other.path == file.folder and other.state == "directory" for other in files)
    if file.state in WANTED and not made and not os.path.isdir(file.folder):
        raise FilesError(file.path, "its folder is not there", "write it as one of files, with state: directory")


def dress(module: AnsibleModule, file: Wanted, place: str, diff: Optional[dict[str, Any]] = None) -> bool:
    """Set owner, group and permissions, as Ansible's own modules do; True when they differed."""
    given = {"path": place, "owner": file.owner, "group": file.group, "mode": file.mode}
    return module.set_fs_attributes_if_different(module.load_file_common_arguments(given), False, diff=diff)


def label(module: AnsibleModule, file: Wanted, place: str) -> None:
    """Set the SELinux context of the file that is replaced, or else the policy's for its path."""
    if module.selinux_enabled():
        of = module.selinux_context if kind(file.path) else module.selinux_default_context
        module.set_context_if_different(place, of(file.path), False)


def validate(module: AnsibleModule, template: str, place: str, hidden: bool) -> None:
    """Run a validating command; FilesError with what it said."""
    command = core.command(template, place)
    try:
        code, stdout, stderr = module.run_command(command, handle_exceptions=False)
    except OSError as error:
        raise FilesError(command[0], f"cannot be run: {error.strerror}", "nothing was changed") from error
    if code:
        words = "what it said is not shown" if hidden else " ".join((stdout + stderr).split())
        raise FilesError(command[0], f"refuses what was to be written: {words}", "nothing was changed")


@contextlib.contextmanager
def aside(files: Sequence[Wanted]) -> Iterator[dict[str, str]]:
    """{path: where it is made}, on the same file system; all of it goes away at the end."""
    with contextlib.ExitStack() as stack:
        folders: dict[str, str] = {}
        places = {}
        for number, file in enumerate(files):
            above = file.folder
            while not os.path.isdir(above):
                above = os.path.dirname(above)
            if above not in folders:
                folders[above] = stack.enter_context(folder_aside(os.path.join(above, ASIDE)))
            place = os.path.join(folders[above], str(number))
            os.mkdir(place, 0o700)
            places[file.path] = os.path.join(place, file.name)
        yield places


def write(place: str, content: bytes) -> None:
    with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)


def check_together(module: AnsibleModule, files: Sequence[Wanted]) -> None:
    """Run the command of the call on a folder of all files as they are to be."""
    named = core.together(files)
    with tempfile.TemporaryDirectory(dir=module.tmpdir) as folder:
        for name, file in named.items():
            write(os.path.join(folder, name), file.octets)
        validate(module, module.params["validate"], folder, any(file.secret for file in named.values()))


def put(module: AnsibleModule, files: Sequence[Wanted], changed: Sequence[Wanted]) -> None:
    """Make all that changed aside, check it, and only then put it into place; what is to go goes last."""
    for file in files:
        check_place(file, files)
    new = [file for file in changed if file.state in WANTED]
    with aside(new) as places:
        for file in new:
            place = places[file.path]
            if file.state == "directory":
                os.mkdir(place, 0o700)
                continue
            write(place, file.octets)
            if file.validate:
                validate(module, file.validate, place, file.secret)
        if module.params["validate"] and any(file.state == "file" for file in new):
            check_together(module, files)
        for file in new:
            label(module, file, places[file.path])
            dress(module, file, places[file.path])
            flush(places[file.path])
        for file in new:
            os.replace(places[file.path], file.path)
        for folder in {file.folder for file in new}:
            flush(folder)
    for file in changed:
        if file.state == "absent":
            (shutil.rmtree if kind(file.path) == "a folder" else os.unlink)(file.path)


def sweep(files: Sequence[Wanted]) -> None:
    """Remove what a killed run left behind; making a folder aside does."""
    for folder in {file.folder for file in files}:
        if leftovers(os.path.join(folder, ASIDE)):
            with folder_aside(os.path.join(folder, ASIDE)):
                pass


def unread(module: AnsibleModule, files: Sequence[Wanted]) -> list[str]:
    """Files that came into place after one of the units last read its files."""
    units = module.params["unit"]
    if not units:
        return []
    placed = {
        file.path: os.lstat(file.path).st_ctime for file in files if file.state == "file" and os.path.lexists(file.path)
    }
    show = [module.get_bin_path("systemctl", required=True), "show", "--timestamp=us+utc"]
    said = module.run_command([*show, f"--property={','.join(_unread.PROPERTIES)}", *units], check_rc=True)[1]
    found: set[str] = set()
    for shown in said.split("\n\n"):
        found.update(_unread.unread(_unread.read_at(shown, module.params["by_reload"]), placed))
    return sorted(found)


def run(module: AnsibleModule) -> dict[str, Any]:
    files = core.wanted(module.params["files"], core.unpack(module.params["contents"]))
    stale = unread(module, files)
    kinds = {file.path: kind(file.path) for file in files}
    changed = [file for file in files if differs(file, kinds[file.path])]
    diffs: list[dict[str, Any]] = [
        core.difference(file, kinds[file.path], octets(file.path) if kinds[file.path] == "a file" else b"")
        for file in changed
    ]
    if not module.check_mode:
        sweep(files)
        put(module, files, changed)
    paths = {file.path for file in changed}
    for file in files:
        diff: dict[str, Any] = {"before_header": file.path, "after_header": file.path}
        # In check mode a user that a package will bring is another owner than today's.
        if file.path not in paths and file.state in WANTED and (stranger(file) or dress(module, file, file.path, diff)):
            paths.add(file.path)
            diffs.append({"before": "", "after": "", **diff})
    result = {
        "changed": bool(paths or stale),
        "files": [file.path for file in files if file.path in paths],
        "unread": stale,
    }
    return {**result, "diff": diffs} if module._diff and diffs else result


def main() -> None:
    file = {
        "path": {"type": "path"},
        "paths": {"type": "list", "elements": "path"},
        "src": {"type": "str"},
        "content": {"type": "str"},
        "verbatim": {"type": "bool", "default": False},
        "interpreter": {"type": "str"},
        "state": {"type": "str", "choices": list(core.STATES), "default": "file"},
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
        "mode": {"type": "str"},
        "validate": {"type": "str"},
        "secret": {"type": "bool", "default": False},
    }
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "required": True, "options": file},
            "unit": {"type": "list", "elements": "str", "default": []},
            "by_reload": {"type": "bool", "default": True},
            "validate": {"type": "str"},
            "contents": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except (FilesError, ValueError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
