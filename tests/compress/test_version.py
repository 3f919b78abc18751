"""The version is the distribution's."""

from importlib.metadata import version

from compress.version import __version__


def test_the_version_is_that_of_the_distribution():
    assert version("compress-models") == __version__
