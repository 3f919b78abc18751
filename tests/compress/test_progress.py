"""Silence: everything passes through, notices are kept for the report."""

from compress.progress import Progress, Silent


def test_silence_passes_items_on_and_keeps_notices(capsys):
    progress: Progress = Silent()
    assert list(progress.track(iter("ab"), "letters", total=2, unit="letter")) == ["a", "b"]
    with progress.status("reading"):
        progress.notice("a head is read as untied")
    progress.notice("another")
    assert progress.notices == ["a head is read as untied", "another"]
    assert capsys.readouterr() == ("", "")
