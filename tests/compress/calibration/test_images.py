"""Images: made, or read from a folder or an array; and what isn't images that the model takes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTImageProcessor

from compress.calibration.images import check_processor, image_shape, noise_images, read_images
from compress.errors import ModelError, UsageError

CONFIG = ViTConfig(image_size=(48, 64))
MEAN, STD = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.25, 1.0])


@pytest.fixture
def model(tmp_path):
    """A directory that says how images are read."""
    size = {"height": 48, "width": 64}
    folder = tmp_path / "model"
    ViTImageProcessor(size=size, image_mean=MEAN.tolist(), image_std=STD.tolist()).save_pretrained(folder)
    return folder


@pytest.fixture
def photos(tmp_path):
    """Five plain ones, each of another gray and size."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for i in range(5):
        name = f"below/{i}.png" if i % 2 else f"{i}.jpg"
        Image.new("RGB", (30 + i, 20), (50 * i,) * 3).save(folder / name, quality=95)
    (folder / "notes.txt").write_text("no image")
    return folder


def plain(gray):
    """A pixel of an image of one gray, normalized."""
    return (gray / 255 - MEAN) / STD


def test_noise_images_have_the_spectrum_of_photographs(tmp_path):
    images = noise_images(tmp_path, ViTConfig(image_size=128, num_channels=1), 16, seed=3)
    assert images.dtype == torch.float32
    assert (images.shape, images.min(), images.max()) == ((16, 1, 128, 128), -1.0, 1.0)
    amplitude = torch.fft.rfft2(images).abs().mean((0, 1))
    falls = (amplitude[0, 4] / amplitude[0, 32]).log2() / 3  # an eighth of the frequency
    assert falls == pytest.approx(1.0, abs=0.15)


def test_noise_images_are_seeded_and_normalized(model):
    images = noise_images(model, CONFIG, 3, seed=3)
    assert image_shape(CONFIG) == tuple(images.shape[1:]) == (3, 48, 64)
    assert torch.equal(images, noise_images(model, CONFIG, 3, seed=3))
    assert not torch.equal(images, noise_images(model, CONFIG, 3, seed=4))
    pixels = images * STD[:, None, None] + MEAN[:, None, None]
    assert pixels.min() >= -1e-6
    assert pixels.max() <= 1 + 1e-6
    assert pixels.mean() == pytest.approx(0.5, abs=0.02)


def test_a_folder_is_read_as_the_model_says(model, photos):
    images = read_images(photos, model, CONFIG, count=9)
    assert (images.shape, images.dtype) == ((5, 3, 48, 64), torch.float32)
    grays = [0, 100, 200, 50, 150]  # those of the folder itself come first by name
    assert torch.allclose(images.mean((2, 3)), torch.stack([plain(gray) for gray in grays]), atol=0.02)
    fewer = read_images(photos, model, CONFIG, count=2)
    assert torch.equal(fewer, images[[0, 2]])


def test_an_array_is_taken_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).normal(size=(5, 3, 48, 64)).astype(np.float32)
    np.save(tmp_path / "images.npy", pixels)
    assert np.array_equal(read_images(tmp_path / "images.npy", tmp_path, CONFIG, 2), pixels[[0, 2]])


def test_what_is_no_image_is_said(model, photos, tmp_path):
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "small.npy", np.zeros((2, 3, 32, 32), np.float32))
    np.save(tmp_path / "bytes.npy", np.zeros((2, 3, 48, 64), np.uint8))
    np.save(tmp_path / "endless.npy", np.full((2, 3, 48, 64), np.inf, np.float32))
    (tmp_path / "text.npy").write_text("x")
    messages = {
        "empty": "holds no images (bmp, gif, jpeg, jpg, png, ppm, tif, tiff, webp)",
        "small.npy": "is of 3×32×32 (channels, height, width), but the model takes 3×48×64",
        "bytes.npy": "holds uint8 [2, 3, 48, 64]; give normalized pixels, float32 [n, c, h, w]",
        "endless.npy": "holds pixels that aren't finite",
        "text.npy": "can't read the images",
        "missing.npy": "is neither a folder of images nor an .npy file of them",
        "photos/notes.txt": "is neither a folder of images nor an .npy file of them",
    }
    for name, why in messages.items():
        with pytest.raises(UsageError) as error:
            read_images(tmp_path / name, model, CONFIG, 4)
        assert why in str(error.value)
    (photos / "9.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"can't read the image .*9\.png \(cannot identify image file"):
        read_images(photos, model, CONFIG, 9)


def test_a_model_that_resizes_to_another_size_or_does_not_say_how(model, photos):
    with pytest.raises(
        UsageError, match=r"as preprocessor_config\.json has it resized, is of 3×48×64 .* takes 3×96×96"
    ):
        read_images(photos, model, ViTConfig(image_size=96), 4)
    (model / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"has no preprocessor_config\.json.*give normalized pixels in an \.npy file"):
        read_images(photos, model, CONFIG, 4)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"image_mean": "gray"}, "image_mean is 'gray', not a number for each of 3 channels"),
        ({"image_std": [0.5, 0.5]}, "not a number for each of 3 channels"),
        ({"image_processor_type": "XProcessor"}, "can't be used"),
        ({"size": "large"}, "can't be used"),
    ],
)
def test_a_processor_that_cannot_be_used_is_told_before_the_work(model, changes, reason):
    check_processor(model, CONFIG)
    file = model / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(ModelError, match=reason):
        check_processor(model, CONFIG)
    file.unlink()
    check_processor(model, CONFIG)
