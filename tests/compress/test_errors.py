"""Failures have exit codes, and an unknown name comes with the nearest one."""

import pytest

from compress.errors import (
    CompressError,
    ExportError,
    MissingComponentError,
    ModelError,
    PassError,
    RequirementError,
    RunError,
    UsageError,
    unknown,
)


def test_every_failure_has_its_exit_code():
    codes = {cls: cls.exit_code for cls in CompressError.__subclasses__()}
    assert codes == {
        RequirementError: 1, UsageError: 2, ModelError: 3, PassError: 4, ExportError: 4, RunError: 4,
        MissingComponentError: 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("itn8", "unknown pass 'itn8'; did you mean 'int8'?"),
        ("w4A16", "unknown pass 'w4A16'; did you mean 'W4A16'?"),
        ("zzz", "unknown pass 'zzz'; known: W4A16, fuse, int8"),
    ],
)
def test_an_unknown_name_comes_with_the_nearest_or_with_all(name, message):
    assert str(unknown("pass", name, ["int8", "fuse", "W4A16"])) == message
