"""tests/docs.py [--check]: write what is made from something else, or fail where it is not current.

From the roles' argument_specs docs/roles/, and from role platform's table the platforms in each role's meta/main.yml.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from known import PLATFORMS, ROOT

PAGES = ROOT / "docs" / "roles"
NOTE = "<!-- Made by `make docs` from roles/{}/meta/argument_specs.yml; write there. -->\n\n"


def specifications() -> dict[str, Any]:
    """{role: its entry point main}, as ansible-doc reads them."""
    roles = [f"gatehouse.mail.{path.name}" for path in sorted((ROOT / "roles").iterdir())]
    result = subprocess.run(
        ["ansible-doc", "--type", "role", "--json", *roles], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return {name.rpartition(".")[2]: role["entry_points"]["main"] for name, role in json.loads(result.stdout).items()}


def markdown(text: str | list[str]) -> str:
    """Paragraphs in Ansible's markup as one line of Markdown that may stand in a table."""
    words = text if isinstance(text, str) else "<br>".join(text)
    return re.sub(r"\b[CVO]\((.*?)\)", r"`\1`", words).replace("|", r"\|")


def rows(options: dict[str, Any], above: str = "") -> Iterator[str]:
    """A row for each option; what is in a list or dictionary of options follows with its path."""
    for name, option in options.items():
        kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        default = f"`{json.dumps(option['default'])}`" if "default" in option else "none"
        meaning = markdown(option["description"])
        if "choices" in option:
            meaning += f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}."
        yield f"| `{above}{name}` | {kind} | {'*required*' if option.get('required') else default} | {meaning} |\n"
        yield from rows(option.get("options", {}), f"{above}{name}{'[]' if option['type'] == 'list' else ''}.")


def pages() -> dict[Path, str]:
    """{path: what stands in the page}."""
    roles = specifications()
    written = {}
    for name, role in roles.items():
        about = "\n\n".join(map(markdown, role["description"]))
        written[PAGES / f"{name}.md"] = (
            f"{NOTE.format(name)}# Role {name}\n\n{markdown(role['short_description'])}. How to run it alone: "
            f"[README](../../roles/{name}/README.md).\n\n{about}\n\n"
            f"| variable | type | default | meaning |\n|---|---|---|---|\n{''.join(rows(role['options']))}"
        )
    listed = "".join(
        f"| [{name}]({name}.md) | {markdown(role['short_description'])} |\n" for name, role in roles.items()
    )
    written[PAGES / "README.md"] = f"{NOTE.format('*')}# Roles\n\n| role | what it is |\n|---|---|\n{listed}"
    return written


def metas() -> dict[Path, str]:
    """{meta/main.yml of a role: its text, with the platforms that are known}."""
    versions: dict[str, list[str]] = {}
    for row in PLATFORMS.values():
        versions.setdefault(row["galaxy"]["name"], []).append(row["galaxy"]["version"])
    listed = "".join(f"    - name: {name}\n      versions: {json.dumps(those)}\n" for name, those in versions.items())
    paths = [role / "meta" / "main.yml" for role in ROOT.glob("roles/*")]
    return {path: re.sub(r"(?m)(?<=^  platforms:\n)( {4}.*\n)+", listed, path.read_text()) for path in paths}


def main() -> str | int:
    wanted = {**pages(), **metas()}
    there = {path: path.read_text() for path in [*PAGES.glob("*"), *metas()]}
    stale = sorted(path for path in wanted.keys() | there.keys() if wanted.get(path) != there.get(path))
    if "--check" in sys.argv[1:]:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        return f"not current: {names}; run `make docs`" if stale else 0
    PAGES.mkdir(exist_ok=True)
    for path in stale:
        if path in wanted:
            path.write_text(wanted[path])
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
