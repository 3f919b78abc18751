"""Libraries are imported when they are first used, and pipelines are read without torch."""

import subprocess
import sys

import torch as real

from compress.lazy import torch


def test_what_is_asked_for_is_the_librarys_own():
    assert torch.Tensor is real.Tensor
    assert torch.float16 is real.float16


def test_pipelines_are_read_without_torch():
    code = (
        "import sys; from compress.pipeline.parse import Pipeline\n"
        "print(Pipeline.parse('int8:group=32,fuse'), 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "int8:group=32,fuse False False\n"
