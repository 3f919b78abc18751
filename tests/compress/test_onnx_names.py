"""Names of cache inputs and outputs, which belong to each other."""

import pytest

from compress.onnx_names import past_name, present_name, to_past, to_present


@pytest.mark.parametrize(
    ("args", "past", "present"),
    [
        ((3, "key"), "past_key_values.3.key", "present.3.key"),
        (("%d", "value"), "past_key_values.%d.value", "present.%d.value"),
        ((0, "key", "encoder"), "past_key_values.0.encoder.key", "present.0.encoder.key"),
    ],
)
def test_a_cache_comes_in_and_leaves_by_names_that_belong_together(args, past, present):
    assert (past_name(*args), present_name(*args)) == (past, present)
    assert (to_present(past), to_past(present)) == (present, past)
