# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which secrets stand in clear in a file of an inventory. No I/O; on the controller only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

PREFIX = "vault_"


class _Loader(yaml.SafeLoader):
    """Takes any tag: what stands behind one, such as !vault, becomes None."""


_Loader.add_multi_constructor("!", lambda _loader, _suffix, _node: None)


def clear_secrets(text: str) -> list[str]:
    """The variables vault_* in a YAML text, at whatever depth, of which a value is neither encrypted nor a template.

    An encrypted file is a text without variables; what is no YAML has none either.
    """
    try:
        return sorted({name for document in yaml.load_all(text, _Loader) for name in _clear_in(document)})
    except yaml.YAMLError:
        return []


def _clear_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if str(key).startswith(PREFIX):
                if _is_clear(item):
                    yield key
            else:
                yield from _clear_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _clear_in(item)


def _is_clear(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_is_clear, value.values()))
    if isinstance(value, list):
        return any(map(_is_clear, value))
    return value is not None and "{{" not in str(value)
