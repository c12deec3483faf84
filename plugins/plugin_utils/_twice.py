# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which keys stand twice in one mapping of a YAML text. No I/O; on the controller only."""

from __future__ import annotations

from collections.abc import Iterator

import yaml


def keys_twice(text: str) -> list[tuple[str, int, int]]:
    """(key, line of the first, line of the other), in the order of the text; what is no YAML has none.

    Of two such keys YAML's readers take the last one, and Ansible only warns.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return [found for document in yaml.compose_all(text, loader) for found in _in_node(document, set())]
    except yaml.YAMLError:
        return []


def _in_node(node: yaml.Node, seen: set[int]) -> Iterator[tuple[str, int, int]]:
    if id(node) in seen:  # an alias, which may lead back to where it stands
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _in_node(item, seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if (key.tag, key.value) in lines:
                    yield key.value, lines[key.tag, key.value], line
                lines.setdefault((key.tag, key.value), line)
            yield from _in_node(value, seen)
