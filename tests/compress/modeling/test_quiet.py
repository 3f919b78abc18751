"""transformers' bars and logs are off inside alone; other libraries' errors in one line."""

import pytest
from transformers.utils import logging

from compress.modeling.quiet import first_line, quiet_transformers


def test_settings_come_back_even_after_a_failure():
    logging.set_verbosity(logging.INFO)
    logging.enable_progress_bar()
    try:
        with pytest.raises(ValueError, match="inside"), quiet_transformers():
            assert logging.get_verbosity() == logging.ERROR
            assert not logging.is_progress_bar_enabled()
            raise ValueError("inside")
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity_warning()


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("\n  bad config  \nmore\n", "bad config"),
        ("errors in:\n  vocab_size\n  more", "errors in: vocab_size"),
        ("", "ValueError"),
    ],
)
def test_an_error_is_cut_to_its_first_line(message, line):
    assert first_line(ValueError(message)) == line
