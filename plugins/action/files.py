# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the templates of the module gatehouse.mail.files on the controller, as ansible.builtin.template does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.text.converters import to_bytes
from ansible.plugins.action import ActionBase
from ansible_collections.gatehouse.mail.plugins.module_utils import _files

OPTIONS = ("files", "unit", "by_reload", "validate")


class Variables(dict[str, Any]):
    """A task's variables. The lookup makes a deep copy of them for each template, which takes longer than to render it
    where the model is large; what it then sets are keys of the copy."""

    def __deepcopy__(self, memo: Any) -> dict[str, Any]:
        return dict(self)


class ActionModule(ActionBase):
    """Each file's content is rendered here; all of them travel in one option that is never shown."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """The result of the module."""
        super().run(tmp, task_vars)
        given = self._task.args
        unknown = sorted(set(given) - set(OPTIONS))
        if unknown:
            raise AnsibleActionFail(f"{', '.join(unknown)}: no option of gatehouse.mail.files")
        files = given.get("files")
        if not isinstance(files, list):
            raise AnsibleActionFail("files: is not a list; write items with path")
        for number, file in enumerate(files):
            known = isinstance(file, Mapping) and [name for name in ("path", "paths") if name in file]
            if not known or len(known) > 1:
                raise AnsibleActionFail(f"files[{number}]: has neither path nor paths, or has both")
            unknown = sorted(set(file) - set(_files.FIELDS))
            if unknown:
                raise AnsibleActionFail(f"{file[known[0]]}: {', '.join(unknown)}: no field of a file")
        files = _files.one_by_one(files)
        contents = {
            file["path"]: _files.first_line(file) + self._content(file, task_vars or {})
            for file in files
            if file.get("state", "file") == "file"
        }
        asked = {
            **{name: value for name, value in given.items() if name != "files"},
            "files": [{k: v for k, v in file.items() if k not in _files.OF_CONTENT} for file in files],
            "contents": _files.pack(contents),
        }
        return self._execute_module(module_name="gatehouse.mail.files", module_args=asked, task_vars=task_vars)

    def _content(self, file: Mapping[str, Any], task_vars: Mapping[str, Any]) -> bytes:
        if "content" in file:
            if not isinstance(file["content"], str):
                raise AnsibleActionFail(f"{file['path']}: its content is no text; write a filter such as to_nice_json")
            return to_bytes(file["content"], errors="surrogate_or_strict")
        if file.get("verbatim"):
            return self._copied(file)
        lookup = self._shared_loader_obj.lookup_loader.get(
            "ansible.builtin.template", loader=self._loader, templar=self._templar
        )
        try:
            (text,) = lookup.run(
                [_files.source(file)], variables=Variables(task_vars), template_vars={"template_destpath": file["path"]}
            )
        except AnsibleError as error:
            raise AnsibleActionFail(f"{file['path']}: {error}") from error
        return to_bytes("" if text is None else text, errors="surrogate_or_strict")

    def _copied(self, file: Mapping[str, Any]) -> bytes:
        try:
            found = self._loader.get_real_file(self._find_needle("files", _files.source(file)))
        except AnsibleError as error:
            raise AnsibleActionFail(f"{file['path']}: {error}") from error
        with open(found, "rb") as stream:
            return stream.read()
