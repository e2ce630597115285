"""Any number of product photos, each on a socket of its own, beside the sockets of older graphs."""

import json

import numpy as np
import pytest
from crafters.cli.client import ComfyError
from helpers.comfy_harness import ROOT
from PIL import Image

pytestmark = pytest.mark.comfy
SOCKETS = """() => app.graph.nodes.find(n => n.type === "CraftersProductViews").inputs
    .filter(i => i.type !== "COMBO").map(i => i.name)"""
CONNECT = """name => {
    const views = app.graph.nodes.find(n => n.type === "CraftersProductViews");
    const photo = app.graph.nodes.find(n => n.type === "LoadImage");
    photo.connect(0, views, views.inputs.findIndex(i => i.name === name));
}"""


def prompt(presenter, root, **further):
    """Product Views of the front and what else stands in `further`, shown."""
    names = {which: f"Product {which.title()}" for which in ("front", "left", "right")}
    photos = {
        which: {"class_type": "LoadImage", "inputs": {"image": str(presenter[name].relative_to(root))}}
        for which, name in names.items()
    }
    views = {"front": ["front", 0], "front_mask": ["front", 1], "masks_show": "background", **further}
    return {
        **photos,
        "views": {"class_type": "CraftersProductViews", "inputs": views},
        "both": {"class_type": "ImageBatch", "inputs": {"image1": ["left", 0], "image2": ["right", 0]}},
        "shown": {"class_type": "PreviewImage", "inputs": {"images": ["views", 1]}},
    }


def shown(comfy, prompt):
    files = comfy.run(prompt)["shown"]["images"]
    return np.stack([np.asarray(Image.open(comfy.output_path(file))) for file in files])


def test_photos_one_by_one_are_the_batch_of_more(comfy, presenter):
    root = comfy.base / "input"
    batch = shown(comfy, prompt(presenter, root, more=["both", 0]))
    single = shown(comfy, prompt(presenter, root, **{"photos.photo0": ["left", 0], "photos.photo1": ["right", 0]}))
    alone = shown(comfy, prompt(presenter, root))
    assert np.array_equal(single, batch) and not np.array_equal(single, alone)


def test_a_mask_belongs_to_the_photo_of_its_number(comfy, presenter):
    one = {"photos.photo0": ["left", 0], "photos.photo1": ["right", 0], "masks.mask2": ["left", 1]}
    with pytest.raises(ComfyError, match="mask2 has no photo of its number"):
        comfy.run(prompt(presenter, comfy.base / "input", **one))


def test_an_older_graph_opens_and_a_free_socket_follows_the_last(page, tmp_path):
    page.drop(ROOT / "tests" / "data" / "saved_graphs" / "AnchorCrafter.json")
    before = [node for node in page.prompt().values() if node["class_type"] == "CraftersProductViews"]
    old = json.loads((ROOT / "tests" / "data" / "saved_graphs" / "api" / "AnchorCrafter.json").read_text("utf-8"))
    saved = [node["inputs"] for node in old.values() if node["class_type"] == "CraftersProductViews"]
    assert [node["inputs"] for node in before] == saved
    assert page.page.evaluate(SOCKETS)[-2:] == ["photos.photo0", "masks.mask0"]
    page.page.evaluate(CONNECT, "photos.photo0")
    page.page.wait_for_function(f"() => ({SOCKETS})().includes('photos.photo1')", timeout=10_000)
    (node,) = [node for node in page.prompt().values() if node["class_type"] == "CraftersProductViews"]
    assert "photos.photo0" in node["inputs"] and "photos.photo1" not in node["inputs"]
