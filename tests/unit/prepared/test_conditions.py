"""The conditions as files: their names, what comes back of them, and what a clip has."""

import pytest
import torch
from crafters.prepared.conditions import CONDITIONS, VIEWS, clip_name, clip_names, contents, read_condition
from crafters.prepared.folder import Prepared


@pytest.fixture
def prepared(tmp_path):
    return Prepared(tmp_path / "out")


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("anna_mug", "anna_mug"),
        ("anna_mug_2", "anna_mug_2"),
        ("IMG 1234", "IMG-1234_IMG-1234"),
        ("anna_", "anna-_anna-"),
        (".hidden", "hidden_hidden"),
    ],
)
def test_names(stem, name):
    assert clip_name(stem) == name


def test_every_condition_comes_back(prepared):
    """Masks and keypoints to the bit, pictures nearly."""
    generator = torch.Generator().manual_seed(0)
    masks = (torch.rand(3, 32, 48, generator=generator) > 0.5).float()
    keypoints = [{"people": [], "canvas_width": 48, "canvas_height": 32}] * 3
    smooth = torch.linspace(0, 1, 48).expand(3, 32, 48)[..., None].repeat(1, 1, 1, 3)
    values = {"keypoints": keypoints, "product_mask": masks, "hand": smooth, "background": smooth}
    for what, value in values.items():
        CONDITIONS[what].put(prepared, "a_b", 1, value, 12.5)
    read = {what: CONDITIONS[what].read(prepared.path(CONDITIONS[what].of("a_b"))) for what in values}
    assert read["keypoints"] == keypoints
    assert torch.equal(read["product_mask"], masks)
    for what in ("hand", "background"):
        assert (read[what] - smooth).abs().max() < 0.03
    assert clip_names(prepared) == ["a_b"]
    photo = torch.rand(5, 7, 4, generator=generator)
    CONDITIONS["reference"].put(prepared, "a_b", 1, photo, 0)
    assert [CONDITIONS[view].of("anna_mug_2") for view in VIEWS] == [
        f"anchorcrafter/masked_object_cut/mug_{number}.png" for number in range(3)
    ]


def test_what_a_clip_has(prepared):
    """Absent ones are None; digests tell all files from the user's own."""
    assert read_condition(prepared, "a_b", "keypoints") is None and contents(prepared, "a_b") == []
    CONDITIONS["keypoints"].put(prepared, "a_b", 1, [], 0)
    assert read_condition(prepared, "a_b", "keypoints") == []
    made, own = contents(prepared, "a_b"), contents(prepared, "a_b", own=True)
    assert len(made) == 1 and own == []
    prepared.path(CONDITIONS["keypoints"].of("a_b")).write_text("[1]")
    assert contents(prepared, "a_b", own=True) == contents(prepared, "a_b") != made


def test_an_unreadable_own_file_is_told(prepared):
    for what, sentence in {"keypoints": "is not a JSON file", "hand": "cannot be read as a video"}.items():
        path = prepared.path(CONDITIONS[what].of("a_b"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("nonsense")
        with pytest.raises(ValueError, match=sentence):
            CONDITIONS[what].read(path)
