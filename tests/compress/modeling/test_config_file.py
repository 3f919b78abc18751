"""``config.json`` is read and refused without torch or transformers, and without their cost."""

import json
import subprocess
import sys

import pytest

from compress.errors import ModelError
from compress.modeling.config_file import check_config, read_config


def test_a_config_is_read(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert read_config(tmp_path) == {"model_type": "llama"}
    check_config(tmp_path, trust_remote_code=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is no config: a JSON object is needed"),
        ('{"num_hidden_layers": 5000}', "num_hidden_layers is 5,000"),
        ('{"_attn_implementation": "a/b"}', "names attention code from elsewhere"),
        ('{"x": "' + "y" * (4 << 20) + '"}', "is larger than 4 MiB"),
        ("{" * 99, "can't be read"),
    ],
)
def test_what_is_refused(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError, match=message):
        read_config(tmp_path)


def test_neither_torch_nor_transformers_is_waited_for(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "num_hidden_layers": 10**6}))
    code = (
        "import sys\nfrom compress.cli.main import main\n"
        "try:\n    main()\nfinally:\n    print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    )
    for args in ([tmp_path, "-p", "int8"], ["predict", tmp_path, "-p", "int8"]):
        done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (3, "[]\n")
        assert "num_hidden_layers is 1,000,000" in done.stderr
