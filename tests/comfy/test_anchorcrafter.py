"""The shipped AnchorCrafter and MimicMotion graphs, run in a real ComfyUI on small networks to a video."""

from io import BytesIO

import numpy as np
import pytest
from crafters.cli.client import ComfyError
from crafters.host.prompt import read_prompt
from crafters.proof.demo import WEIGHTS, fill
from crafters.proof.embedded import run_embedded
from helpers.comfy_harness import ROOT, find
from PIL import Image

pytestmark = pytest.mark.comfy
FRAMES = 4


@pytest.fixture(scope="module")
def demo(comfy, presenter, mimicmotion):
    """A function from a workflow's name to its prompt on the demo's scene and small networks.

    `local`: files are named by their paths here, as `run_embedded` wants them, not by their names on the server.
    """

    def prompt(workflow="AnchorCrafter", local=False):
        shipped = read_prompt(ROOT / "workflows" / "api" / f"{workflow}.json")
        files = {title: path if local else path.relative_to(comfy.base / "input") for title, path in presenter.items()}
        filled, _ = fill(shipped, files)
        for node in filled.values():
            if node["class_type"] == "CraftersClipFrames":
                node["inputs"]["frames"] = FRAMES
            if node["class_type"] == "CraftersPresentProduct":
                node["inputs"].update(seconds=FRAMES / 4, fps=4.0)
        filled[find(filled, "CraftersAnchorSampler")]["inputs"].update(steps=4, window=FRAMES, overlap=2)
        if workflow == "MimicMotion baseline":
            filled[find(filled, "CraftersLoadAnchorCrafter")]["inputs"]["checkpoint"] = mimicmotion
        return filled

    return prompt


@pytest.mark.parametrize(
    "workflow", ["AnchorCrafter", "AnchorCrafter fast", "AnchorCrafter directed", "MimicMotion baseline"]
)
def test_workflow_makes_a_video(comfy, demo, workflow):
    said = comfy.complaints()
    frames = comfy.video(comfy.run(demo(workflow)))
    assert frames.shape == (FRAMES, 320, 192, 3)
    assert frames.std() > 5 and not np.array_equal(frames[0], frames[-1])
    assert comfy.complaints() == said


def test_embedded_road_makes_the_same_frames(comfy, demo):
    filled = demo()
    decode = find(filled, "CraftersAnchorDecode")
    filled["save"] = {"class_type": "SaveImage", "inputs": {"images": [decode, 0], "filename_prefix": "frames"}}
    saved = comfy.run(filled)["save"]["images"]
    hosted = np.stack([np.array(Image.open(comfy.output_path(file))) for file in saved])
    embedded, _ = run_embedded(demo(local=True), WEIGHTS)
    assert hosted.shape == embedded.shape
    assert np.abs(hosted.astype(int) - embedded).max() <= 1  # SaveImage truncates


def test_only_what_changed_runs_again(comfy, demo):
    prompt = demo()
    # A length of its own, so that no other test has filled the cache.
    prompt[find(prompt, "CraftersAnchorSampler")]["inputs"]["steps"] = 3
    comfy.run(prompt)
    again = set()
    comfy.run(prompt, lambda node, value, maximum: again.add(node))
    assert again == set()

    sampler, decoder = find(prompt, "CraftersAnchorSampler"), find(prompt, "CraftersAnchorDecode")
    prompt[sampler]["inputs"]["seed"] += 1
    comfy.run(prompt, lambda node, value, maximum: again.add(node))
    assert {sampler, decoder} <= again
    after = {sampler, decoder, find(prompt, "CreateVideo"), find(prompt, "SaveVideo")}
    assert again <= after, [prompt[node]["class_type"] for node in again - after]


def test_cancel_while_sampling_leaves_no_result(comfy, demo):
    prompt = demo()
    sampler = find(prompt, "CraftersAnchorSampler")
    prompt[sampler]["inputs"].update(steps=150, seed=7)
    comfy.cancel(prompt, sampler)
    assert comfy.run(demo()), "the server must work on after a cancel"


def test_sampling_shows_previews(comfy, demo):
    prompt = demo()
    prompt[find(prompt, "CraftersAnchorSampler")]["inputs"].update(seed=99, steps=4)
    pictures = []
    comfy.run(prompt, on_preview=pictures.append)
    sizes = {Image.open(BytesIO(picture)).size for picture in pictures}
    assert len(pictures) >= 3 and all(abs(width / height - 192 / 320) < 0.01 for width, height in sizes)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("CraftersLoadAnchorCrafter", "checkpoint", "mimicmotion-small.pth"), "knows no product"),
        (("CraftersAnchorSampler", "window", 1), "min of 2"),
        (("Driving Clip Frames", "frames", 5), "the pose clip 5"),
        (("Driving Clip Frames", "first_frame", 500), "choose a smaller first frame"),
    ],
)
def test_user_mistakes_get_a_sentence(comfy, demo, change, sentence):
    prompt = demo()
    where, key, value = change
    node = next(node for node in prompt.values() if where in (node["class_type"], node["_meta"]["title"]))
    node["inputs"][key] = value
    prompt[find(prompt, "CraftersAnchorSampler")]["inputs"]["steps"] = 1
    with pytest.raises(ComfyError) as error:
        comfy.run(prompt)
    assert sentence.lower() in error.value.message.lower()
