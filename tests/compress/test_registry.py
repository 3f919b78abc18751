"""A package's modules are imported so that their classes register; one is made by its name."""

import sys

import pytest

from compress.errors import UsageError
from compress.registry import create, import_all


def test_every_module_is_imported_and_no_package(tmp_path, monkeypatch):
    package = tmp_path / "room_under_test"
    (package / "inner").mkdir(parents=True)
    for file in ("__init__.py", "first.py", "second.py", "inner/__init__.py"):
        (package / file).write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    room = __import__("room_under_test")
    before = set(sys.modules)
    import_all(room)
    assert set(sys.modules) - before == {"room_under_test.first", "room_under_test.second"}


def test_a_class_is_made_by_its_name():
    assert create("number", "int", {"int": int, "str": str}) == 0
    with pytest.raises(UsageError, match="unknown number 'itn'; did you mean 'int'?"):
        create("number", "itn", {"int": int, "str": str})
