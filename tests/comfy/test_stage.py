"""A person staged in ComfyUI: inputs of each choice, from the server and from the page, to pictures at their place."""

import json

import numpy as np
import pytest
from crafters.cli.client import ComfyError
from crafters.models.body.motion_files import save_motion
from helpers.made_up import waving
from PIL import Image
from workflow_graph import Graph

pytestmark = [pytest.mark.comfy, pytest.mark.slow]

SIZE = WIDTH, HEIGHT = 320, 400
PLACES = {
    "at a point": {"place.feet_x": 0.4, "place.size.pixels": 200.0, "place.size.horizon": 0.4},
    "at a point, by the camera": {
        "place.feet_y": 0.8, "place.size": "pixels and camera height", "place.size.pixels": 180.0,
        "place.size.camera_height": 2.0, "facing": "degrees", "facing.degrees": 40.0,
    },
    "where a clip's person is": {"place.path": "frame by frame", "place.horizon": 0.45},
    "where a motion's person is": {"place.path": "standing"},
}


@pytest.fixture
def staged(comfy):
    """A function that describes a graph with these inputs of Stage Person."""
    motion = comfy.base / "input" / "staged.npz"
    if not motion.exists():
        save_motion(waving(3, WIDTH, HEIGHT), motion)

    def describe(place: str, **inputs) -> Graph:
        graph = Graph(comfy.get("/object_info"), place)
        graph.group("Inputs", 0)
        body = graph.add("CraftersLoadBodyModel", body="Anny")["body"]
        moves = graph.add("CraftersLoadMotion", motion="staged.npz", width=WIDTH, height=HEIGHT)["motion"]
        scene = graph.add("EmptyImage", width=WIDTH, height=HEIGHT, batch_size=3, color=0x808080)["IMAGE"]
        graph.group("Staged", 1)
        place = place.partition(",")[0]
        if place == "where a clip's person is":
            inputs["place.keypoints"] = graph.add("CraftersPoseFromMotion", body=body, motion=moves)["keypoints"]
        if place == "where a motion's person is":
            inputs["place.clip_motion"] = moves
        node = graph.add("CraftersStagePerson", motion=moves, body=body, background=scene, place=place, **inputs)
        mesh = graph.add(
            "CraftersRenderBodyMesh", body=body, motion=node["motion"], width=node["width"], height=node["height"]
        )
        graph.add("SaveImage", images=mesh["image"], filename_prefix="staged")
        return graph

    return describe


def drawn(comfy, outputs: dict) -> np.ndarray:
    """[F,H,W]: the saved mesh."""
    (images,) = (node["images"] for node in outputs.values()
                 if any(image["filename"].startswith("staged") for image in node.get("images", ())))
    return np.stack([np.array(Image.open(comfy.output_path(file)))[..., 0] for file in images])


@pytest.mark.parametrize("place", PLACES)
def test_it_is_drawn_where_it_was_staged(comfy, staged, place):
    said = comfy.complaints()
    outputs = comfy.run(staged(place, **PLACES[place]).api())
    clip = drawn(comfy, outputs)
    assert clip.shape == (3, HEIGHT, WIDTH)
    rows = np.flatnonzero(clip[0].any(1))
    assert comfy.complaints() == said
    previews = [node["images"] for node in outputs.values() if len(node.get("images", ())) == 3]
    assert len(previews) >= 2, "the node shows the mesh over the background"
    if place.startswith("at a point"):
        bottom = PLACES[place].get("place.feet_y", 0.9) * HEIGHT
        assert abs(rows[-1] + 1 - bottom) <= 1
    else:  # as the motion itself is drawn: the waving person is seen whole
        assert rows[0] > 10 and rows[-1] < HEIGHT - 1


def test_the_page_opens_every_choice_with_its_inputs(page, staged, tmp_path):
    for number, (place, inputs) in enumerate(PLACES.items()):
        graph = staged(place, **inputs)
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(graph.ui()), "utf-8")
        page.drop(path)
        assert page.missing_nodes() == []
        shown, written = page.prompt(), graph.api()
        assert {key: node["inputs"] for key, node in shown.items()} == {
            key: node["inputs"] for key, node in written.items()
        }


@pytest.mark.parametrize(("value", "sentence"), [(float("nan"), "feet_x"), (7.0, "feet_x")])
def test_a_number_of_a_choice_has_its_limits(comfy, staged, value, sentence):
    prompt = staged("at a point", **{"place.feet_x": value}).api()
    with pytest.raises(ComfyError, match=sentence):
        comfy.run(prompt)


def test_a_place_where_nobody_can_stand_is_one_sentence(comfy, staged):
    prompt = staged("at a point", **{"place.feet_y": 0.3}).api()
    with pytest.raises(ComfyError, match="not below the horizon"):
        comfy.run(prompt)
