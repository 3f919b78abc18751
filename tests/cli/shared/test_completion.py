"""What a shell completes, as it asks for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def completed(words):
    variables = {
        "_COMPRESS_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    command = [Path(sys.executable).with_name("compress")]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("compress passes int", ["plain,int2", "plain,int3", "plain,int4", "plain,int6", "plain,int8"]),
        ("compress run model -p fuse,FP", ["plain,fuse,fp16"]),
        ("compress predict model -p w4", ["plain,W4A16", "plain,W4A16_ASYM"]),
        ("compress help re", ["plain,report"]),
        ("compress run --profile cp", ["plain,cpu", "file,cp"]),
    ],
)
def test_words_that_fit(words, expected):
    assert completed(words) == expected
