"""Calibration data says what it is, as manifests have it."""

import torch

from compress.calibration.data import Calibration


def test_data_names_its_origin_and_its_size():
    assert str(Calibration(torch.zeros(16, 256, dtype=torch.long), "wiki.txt")) == "wiki.txt, 16 windows of 256 tokens"
    assert str(Calibration(torch.zeros(4, 3, 48, 32), "photos")) == "photos, 4 images of 32×48 pixels"
