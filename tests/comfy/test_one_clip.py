"""The graphs that make every condition of one clip: to a video, cancelled anywhere, and never twice over sessions."""

import json
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from crafters.cli import main
from crafters.cli.client import InterruptError
from crafters.host.prompt import read_prompt
from crafters.prepared.conditions import CONDITIONS
from crafters.prepared.folder import Prepared
from crafters.proof.demo import WEIGHTS, moving, presenting
from crafters.scenes import LANDSCAPE, PORTRAIT
from helpers.comfy_harness import Comfy, start_comfy

pytestmark = [pytest.mark.comfy, pytest.mark.slow]

# Stages of the two graphs that take long enough to be met at work.
STAGES = {
    "AnchorCrafter from one clip": ["Driving Pose", "Segment Video", "Hand Mesh", "Anchor Sampler"],
    "AniCrafter replace person": [
        *("Driving Pose", "Segment Video", "Body Motion from Video", "Remove Person"),
        *("Avatar from Photo (projection)", "Render Avatar", "KSampler"),
    ],
}
MADE = {"Driving Pose", "Segment Video", "Object Depth", "Hand Mesh", "Body Motion from Video", "Remove Person"}
FRAMES = 8
LENGTHS = {  # the node that reads the clip, the sampler, and the last of the stages that are kept
    "AnchorCrafter from one clip": ("Driving Clip Frames", "Anchor Sampler", "Hand Mesh"),
    "AniCrafter replace person": ("Source Frames", "KSampler", "Remove Person"),
}
MAKERS = {"AnchorCrafter from one clip": (presenting, PORTRAIT), "AniCrafter replace person": (moving, LANDSCAPE)}


class Session:
    """A ComfyUI on a base directory that outlives it, as a user's does."""

    def __init__(self, comfy: Comfy):
        self.comfy = comfy

    def run(self, prompt: dict, cancel_in: Collection[str] = ()) -> tuple[dict, dict[str, tuple[float, float]]]:
        """Outputs by node; by title, how far each node got that ran. The first step of one in `cancel_in` cancels."""
        self.steps, self.cancelled = {}, ""
        steps = self.steps

        def on_progress(node: str, value: float, maximum: float) -> None:
            title = prompt[node]["_meta"]["title"]
            if title in cancel_in and value and not self.cancelled:
                self.cancelled = title
                with ThreadPoolExecutor(1) as thread:
                    thread.submit(self.comfy.interrupt).result()
            if value or title not in steps:
                steps[title] = value, maximum

        return self.comfy.run(prompt, on_progress), steps


@contextmanager
def session(comfy_dir: Path, base: Path):
    with start_comfy(comfy_dir, base, models=WEIGHTS) as comfy:
        yield Session(comfy)


def titled(prompt: dict, title: str) -> dict:
    (node,) = (node for node in prompt.values() if node["_meta"]["title"] == title)
    return node["inputs"]


@pytest.mark.parametrize("name", STAGES)
def test_graph_over_two_sessions(comfy_dir, tmp_path, name):
    make, (width, height) = MAKERS[name]
    demo = make(tmp_path / "made", read_prompt(Path(f"workflows/api/{name}.json")), 1)
    prompt, base = demo.prompt, tmp_path / "base"
    frames, sampler, last = LENGTHS[name]
    titled(prompt, frames)["frames"] = FRAMES
    titled(prompt, sampler)["steps"] = 3
    for node in prompt.values():
        if node["class_type"] == "CraftersPreviewAvatar":
            node["inputs"].update(frames=6, width=128, height=160)
    kept = base / "output" / "crafters" / "prepared"

    with session(comfy_dir, base) as first:
        first.comfy.upload(prompt, demo.files)
        waiting = {*STAGES[name]}  # none runs to its end before it was cancelled once, in whatever order they come
        while waiting:
            with pytest.raises(InterruptError):
                first.run(prompt, cancel_in=waiting)
            value, maximum = first.steps[first.cancelled]
            assert value < maximum, f"{first.cancelled} went on after the cancel"
            waiting.remove(first.cancelled)
            assert not list((base / "output").glob("crafters/*.mp4"))
        outputs, _ = first.run(prompt)
        video = first.comfy.video(outputs)
    assert video.shape == (FRAMES, height, width, 3)
    assert video.std() > 5
    manifest = json.loads((kept / "manifest.json").read_text())
    files = {path: path.stat().st_mtime_ns for path in kept.rglob("*") if path.is_file()}
    assert {*files} == {kept / "manifest.json", kept / ".part" / "lock", *(kept / file for file in manifest)}

    with session(comfy_dir, base) as second:
        outputs, steps = second.run(prompt)
        assert not steps.keys() & MADE, "what was kept was made again"
        assert files == {path: path.stat().st_mtime_ns for path in files}, "what was kept was written again"
        # Not to the bit: networks on a CPU round as their memory happens to lie.
        assert np.abs(second.comfy.video(outputs).astype(float) - video).mean() < 0.5 * video.std()

        # A setting that only the last of the kept stages has: those before stay kept.
        titled(prompt, last)[{"Hand Mesh": "field_of_view", "Remove Person": "dilation"}[last]] = 8
        titled(prompt, sampler)["steps"] = 1
        _, steps = second.run(prompt)
        assert steps.keys() & MADE == {last}

        # The user's own mask in the folder: used, and what is made of it made again.
        prepared = Prepared(kept)
        what = "product_mask" if name.startswith("Anchor") else "person_mask"
        file = CONDITIONS[what].of("person_product")
        mask = CONDITIONS[what].read(prepared.path(file))
        block = mask[:, 100:140, 60:100]
        block.copy_(1 - block)
        CONDITIONS[what].write(prepared.path(file), mask, 15.0)
        assert prepared.is_own(file)
        written = prepared.path(file).read_bytes()
        _, steps = second.run(prompt)
        assert last in steps and "Segment Video" not in steps
        assert prepared.path(file).read_bytes() == written


def test_prepared_clips_are_loaded(comfy_dir, tmp_path, monkeypatch):
    """`crafters prepare` into ComfyUI's output folder, then the conditions as nodes take them."""
    monkeypatch.setenv("CRAFTERS_MODELS", str(WEIGHTS))
    demo = presenting(tmp_path / "made", {}, 1)
    assert demo.prompt == {}
    out = tmp_path / "base" / "output" / "mine"
    clip = tmp_path / "made" / "anna_mug.mp4"
    (tmp_path / "made" / "Driving Clip.mp4").rename(clip)
    assert main(["prepare", str(clip), "--out", str(out), "--frames", "5"]) == 0

    def show(source: str, slot: int) -> dict:
        return {"class_type": "PreviewImage", "inputs": {"images": [source, slot]}}

    def node(kind: str, **inputs) -> dict:
        return {"class_type": kind, "inputs": inputs}

    prompt = {
        "anchor": node("CraftersLoadAnchorConditions", clip="mine/anna_mug"),
        "hand": show("anchor", 1),
        "depth": show("anchor", 2),
        "drawn": node("CraftersDrawPose", keypoints=["anchor", 0], antialias=False),
        "pose": show("drawn", 0),
        "mask": node("MaskToImage", mask=["anchor", 3]),
        "masks": show("mask", 0),
        "ani": node("CraftersLoadAniConditions", clip="mine/anna_mug"),
        "background": show("ani", 1),
        "body": node("CraftersLoadBodyModel", body="Anny"),
        "mesh": node("CraftersRenderBodyMesh", body=["body", 0], motion=["ani", 0], width=192, height=320),
        "meshes": show("mesh", 0),
    }
    for number, one in prompt.items():
        one["_meta"] = {"title": number}
    with session(comfy_dir, tmp_path / "base") as comfy:
        outputs, _ = comfy.run(prompt)
        shown = {number: len(outputs[number]["images"]) for number in outputs if "images" in outputs[number]}
        wanted = dict.fromkeys(("hand", "depth", "pose", "masks", "background", "meshes"), 5)
        assert {number: shown[number] for number in wanted} == wanted

        prepared = Prepared(out)
        prepared.path(CONDITIONS["hand"].of("anna_mug")).unlink()
        with pytest.raises(Exception, match="mine/anna_mug has no hand"):
            comfy.run(prompt)
