import logging

import cv2
import numpy as np
import pytest
import torch
from crafters.media.photo import mask_of, read_photo
from PIL import Image

RAMP = np.linspace(0, 65535, 80).astype(np.uint16)[None].repeat(60, 0)


@pytest.mark.parametrize(
    ("numbers", "name", "told"),
    [
        (RAMP, "grey.png", None),
        (RAMP, "grey.tif", None),
        (RAMP.astype(np.int32), "whole.tif", "65535 is taken"),
        ((RAMP // 257).astype(np.int32), "whole.tif", "255 is taken"),
        ((RAMP // 16).astype(np.int32), "twelve_bits.tif", "4095 is taken"),
        ((RAMP / 65535).astype(np.float32), "float.tif", None),
        ((RAMP / 257).astype(np.float32), "float.tif", "255 is taken"),
    ],
)
def test_numbers_are_scaled_by_their_range(tmp_path, caplog, numbers, name, told):
    Image.fromarray(numbers).save(tmp_path / name)
    with caplog.at_level(logging.WARNING):
        image, opacity = read_photo(tmp_path / name)
    assert image.shape == (1, 60, 80, 3) and opacity is None
    np.testing.assert_allclose(image[0, ..., 1].numpy(), RAMP / 65535, atol=0.005)
    assert told in caplog.text if told else not caplog.text


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_of_colour(tmp_path, channels):
    colours = np.arange(4 * 5 * channels, dtype=np.uint16).reshape(4, 5, channels) * 1000
    cv2.imwrite(str(tmp_path / "photo.png"), colours)
    image, opacity = read_photo(tmp_path / "photo.png")
    np.testing.assert_allclose(image[0].numpy(), colours[..., 2::-1] / 65535, atol=1 / 255)
    if channels == 4:
        np.testing.assert_allclose(opacity[0].numpy(), colours[..., 3] / 65535, atol=1 / 255)


def test_a_photo_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "photo.jpg", exif=exif)
    assert read_photo(tmp_path / "photo.jpg")[0].shape == (1, 30, 20, 3)


@pytest.mark.parametrize("size", [(50, 50), (16385, 1)])
def test_too_large_pictures(tmp_path, monkeypatch, size):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # twice as many are a bomb to PIL
    Image.new("L", size).save(tmp_path / "huge.png")
    with pytest.raises(ValueError, match="huge.png is too large: pictures have at most 16384 pixels a side"):
        read_photo(tmp_path / "huge.png")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "tif", "webp", "bmp"])
def test_broken_pictures(tmp_path, kind):
    rng, path = np.random.default_rng(0), tmp_path / f"photo.{kind}"
    Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8)).save(path)
    whole = path.read_bytes()
    for trial in range(30):
        broken = bytearray(whole[: rng.integers(len(whole))] if trial % 2 else whole)
        for _ in range(trial // 2):
            if broken:
                broken[rng.integers(min(len(broken), 200))] = rng.integers(256)
        path.write_bytes(broken)
        try:
            assert read_photo(path)[0].ndim == 4
        except ValueError as error:
            assert "is not a picture that can be read" in str(error) or "is too large" in str(error)


def test_load_images_mask_is_turned_round(caplog):
    person = torch.zeros(1, 40, 30)
    person[:, 10:, 8:22] = 1
    with caplog.at_level(logging.WARNING):
        assert mask_of("person", person, "auto", "mask") is person and not caplog.text
        assert torch.equal(mask_of("person", 1 - person, "auto", "mask"), person)
    assert "turned round" in caplog.text
    assert torch.equal(mask_of("person", 1 - person, "background", "mask"), person)
    assert mask_of("person", person, "person", "mask") is person


@pytest.mark.parametrize("shows", ["auto", "background"])
def test_load_images_mask_of_an_opaque_photo_says_nothing(shows):
    assert mask_of("person", torch.zeros(1, 64, 64), shows, "mask") is None
    assert mask_of("person", None, shows, "mask") is None
