"""tests/docs.py [--check]: write docs/roles/ from the roles' argument_specs, or fail where it is not current."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
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


def pages() -> dict[str, str]:
    """{file name: what stands in it}."""
    roles = specifications()
    written = {}
    for name, role in roles.items():
        about = "\n\n".join(map(markdown, role["description"]))
        written[f"{name}.md"] = (
            f"{NOTE.format(name)}# Role {name}\n\n{markdown(role['short_description'])}. How to run it alone: "
            f"[README](../../roles/{name}/README.md).\n\n{about}\n\n"
            f"| variable | type | default | meaning |\n|---|---|---|---|\n{''.join(rows(role['options']))}"
        )
    listed = "".join(
        f"| [{name}]({name}.md) | {markdown(role['short_description'])} |\n" for name, role in roles.items()
    )
    written["README.md"] = f"{NOTE.format('*')}# Roles\n\n| role | what it is |\n|---|---|\n{listed}"
    return written


def main() -> str | int:
    wanted = pages()
    if "--check" in sys.argv[1:]:
        there = {path.name: path.read_text() for path in PAGES.glob("*")}
        stale = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
        return f"not current in docs/roles: {', '.join(stale)}; run `make docs`" if stale else 0
    PAGES.mkdir(exist_ok=True)
    for path in PAGES.glob("*"):
        path.unlink()
    for name, text in wanted.items():
        (PAGES / name).write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
