"""The AnchorCrafter graph on the published sample input, at its published size."""

import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from crafters.cli.client import output_files
from crafters.host.prompt import read_prompt
from crafters.proof.demo import fill
from helpers.real_data import real_file
from PIL import Image

pytestmark = [pytest.mark.comfy, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
POSE_NETWORKS = ROOT / "tests" / "fixtures" / "dwpose_a"  # answer the same pose for every picture
FRAMES = 8


def test_sample_clip_at_576x1024(comfy, presenter):
    for network in ("detector_constant.onnx", "pose_constant.onnx"):
        shutil.copy(POSE_NETWORKS / network, comfy.models("crafters"))
    inputs = comfy.base / "input"
    # The one sample that is not published: the drawn scene's stands in.
    scene = {"Object Depth": presenter["Object Depth"].relative_to(inputs)}
    for title, name in {
        "Person Photo": "person_woman.jpg",
        "Driving Clip": "driving.mp4",
        "Hand Mesh": "hand_mesh.mp4",
        "Product Left": "product_0.jpg",
        "Product Front": "product_1.jpg",
        "Product Right": "product_2.jpg",
    }.items():
        scene[title] = f"real_{name}"
        shutil.copy(real_file(f"anchorcrafter/{name}"), inputs / scene[title])
    prompt, _ = fill(read_prompt(ROOT / "workflows" / "api" / "AnchorCrafter.json"), scene)
    for node in prompt.values():
        match node["class_type"]:
            case "CraftersLoadDWPose":
                node["inputs"].update(detector="detector_constant.onnx", pose="pose_constant.onnx")
            case "CraftersFitPerson":
                node["inputs"]["short_side"] = 576
            case "CraftersClipFrames":
                node["inputs"].update(frames=FRAMES, every=2)
                if "Depth" in node["_meta"]["title"]:
                    node["inputs"].update(every=1, at_fps=0)  # another clip's, taken frame by frame
            case "PreviewImage":
                node.update(class_type="SaveImage", inputs={**node["inputs"], "filename_prefix": "conditions"})
            case "CraftersAnchorSampler":
                node["inputs"].update(steps=2, window=11)

    files = list(output_files(comfy.run(prompt)))
    (video,) = (comfy.output_path(file) for file in files if file["filename"].endswith(".mp4"))
    with av.open(str(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == FRAMES and frames[0].shape == (1024, 576, 3)
    sheets = [comfy.output_path(file) for file in files if file["filename"].startswith("conditions")]
    assert len(sheets) == FRAMES
    artifacts = ROOT / "test-artifacts"
    artifacts.mkdir(exist_ok=True)
    shutil.copy(sheets[FRAMES // 2], artifacts / "real_conditions.png")
    # The published hand mesh is light blue and lies where the placed driving clip has its hands: not everywhere.
    sheet = np.asarray(Image.open(sheets[FRAMES // 2])).astype(int)
    hands = (sheet.min(-1) > 110) & (sheet[..., 2] > sheet[..., 0] + 8)
    assert 0.001 < hands.mean() < 0.2
