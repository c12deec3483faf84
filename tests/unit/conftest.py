# Copyright: gatehouse.mail contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets plain pytest import ansible_collections.gatehouse.mail from a clone, wherever it is and whatever its name."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

from hypothesis import settings

# Nothing is timed by the clock: this machine may be busy with a lab.
settings.register_profile("gatehouse", deadline=None)
settings.load_profile("gatehouse")


def pytest_configure(config):
    config.option.importmode = "importlib"  # the tests mirror plugins/, so files of the same name meet


for name, folders in (
    ("ansible_collections", []),
    ("ansible_collections.gatehouse", []),
    ("ansible_collections.gatehouse.mail", [str(Path(__file__).resolve().parents[2])]),
):
    if importlib.util.find_spec(name) is None:  # ansible-test has its own finder, and an installed ansible the first
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = folders
        sys.modules[name] = importlib.util.module_from_spec(spec)
