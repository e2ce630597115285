"""The shipped AnchorCrafter and MimicMotion graphs, run in a real ComfyUI on small networks to a video."""

import asyncio
import threading
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from crafters.cli.client import ComfyClient, ComfyError, InterruptError, output_files
from crafters.host.prompt import read_prompt
from crafters.proof.demo import WEIGHTS, fill
from crafters.proof.embedded import run_embedded
from PIL import Image

pytestmark = pytest.mark.comfy
ROOT = Path(__file__).parents[2]
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
        filled[node_of(filled, "CraftersAnchorSampler")]["inputs"].update(steps=4, window=FRAMES, overlap=2)
        if workflow != "AnchorCrafter":
            filled[node_of(filled, "CraftersLoadAnchorCrafter")]["inputs"]["checkpoint"] = mimicmotion
        return filled

    return prompt


def node_of(prompt, class_type):
    return next(node_id for node_id, node in prompt.items() if node["class_type"] == class_type)


def run(comfy, prompt):
    """Outputs by node, and the nodes that were executed (not served from the cache)."""
    started = set()

    async def queue():
        async with ComfyClient(comfy.url) as client:
            return await client.queue(prompt, on_progress=lambda node, value, maximum: started.add(node))

    return asyncio.run(queue()), started


def frames_of(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize("workflow", ["AnchorCrafter", "MimicMotion baseline"])
def test_workflow_makes_a_video(comfy, demo, workflow):
    prompt, said = demo(workflow), comfy.complaints()
    outputs = comfy.run(prompt)
    (video,) = (file for file in output_files(outputs) if file["filename"].endswith(".mp4"))
    frames = frames_of(comfy.output_path(video))
    assert frames.shape == (FRAMES, 320, 192, 3)
    assert frames.std() > 5 and not np.array_equal(frames[0], frames[-1])
    assert comfy.complaints() == said


def test_embedded_road_makes_the_same_frames(comfy, demo):
    filled = demo()
    decode = node_of(filled, "CraftersAnchorDecode")
    filled["save"] = {"class_type": "SaveImage", "inputs": {"images": [decode, 0], "filename_prefix": "frames"}}
    saved = comfy.run(filled)["save"]["images"]
    hosted = np.stack([np.array(Image.open(comfy.output_path(file))) for file in saved])
    embedded = (run_embedded(demo(local=True), WEIGHTS) * 255).numpy()
    assert hosted.shape == embedded.shape
    assert np.abs(hosted - embedded).max() <= 1.01  # SaveImage truncates


def test_only_what_changed_runs_again(comfy, demo):
    prompt = demo()
    # A length of its own, so that no other test has filled the cache.
    prompt[node_of(prompt, "CraftersAnchorSampler")]["inputs"]["steps"] = 3
    comfy.run(prompt)
    _, again = run(comfy, prompt)
    assert again == set()

    sampler, decoder = node_of(prompt, "CraftersAnchorSampler"), node_of(prompt, "CraftersAnchorDecode")
    prompt[sampler]["inputs"]["seed"] += 1
    _, again = run(comfy, prompt)
    assert {sampler, decoder} <= again
    after = {sampler, decoder, node_of(prompt, "CreateVideo"), node_of(prompt, "SaveVideo")}
    assert again <= after, [prompt[node]["class_type"] for node in again - after]


def test_cancel_while_sampling_leaves_no_result(comfy, demo):
    prompt = demo()
    sampler = node_of(prompt, "CraftersAnchorSampler")
    prompt[sampler]["inputs"].update(steps=150, seed=7)
    seen = []

    def on_progress(node, value, maximum):
        if node == sampler:
            seen.append((value, maximum))
            if len(seen) == 3:
                threading.Thread(target=comfy.interrupt).start()

    async def queue():
        async with ComfyClient(comfy.url) as client:
            return await client.queue(prompt, on_progress=on_progress)

    before = set((comfy.base / "output").rglob("*"))
    with pytest.raises(InterruptError):
        asyncio.run(queue())
    assert set((comfy.base / "output").rglob("*")) == before
    value, maximum = seen[-1]
    assert value < maximum / 4, "went on sampling long after the cancel"
    assert comfy.run(demo()), "the server must work on after a cancel"


def test_sampling_shows_previews(comfy, demo):
    prompt = demo()
    prompt[node_of(prompt, "CraftersAnchorSampler")]["inputs"].update(seed=99, steps=4)
    pictures = []

    async def queue():
        async with ComfyClient(comfy.url) as client:
            await client.queue(prompt, on_preview=pictures.append)

    asyncio.run(queue())
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
    prompt[node_of(prompt, "CraftersAnchorSampler")]["inputs"]["steps"] = 1
    with pytest.raises(ComfyError) as error:
        comfy.run(prompt)
    assert sentence.lower() in error.value.message.lower()
