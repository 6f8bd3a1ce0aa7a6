"""The examples in the docstrings run and print what they say, and what is public is described."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import pkgutil
from pathlib import Path

import pytest

import fastembed

MODULES = sorted(module.name for module in pkgutil.iter_modules(fastembed.__path__) if module.name != "__main__")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"fastembed.{name}")
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    fastembed.set_num_threads(None)
    assert result.failed == 0
    assert os.listdir(tmp_path) == [], "an example leaves files behind"


@pytest.mark.parametrize("name", sorted(set(fastembed.__all__) - {"__version__"}))
def test_public_names_are_described(name: str) -> None:
    subject = getattr(fastembed, name)
    assert inspect.getdoc(subject)
    if inspect.isclass(subject):
        for member, value in vars(subject).items():
            if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                assert inspect.getdoc(value), f"{name}.{member} has no docstring"
