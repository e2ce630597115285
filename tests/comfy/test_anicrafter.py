"""The shipped AniCrafter graphs, run in a real ComfyUI on small networks to a video."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from crafters.demo.performance import make_performance, waving
from crafters.demo.run import fill_anicrafter
from crafters.models.avatar.motion_files import save_motion
from crafters.runtime.client import ComfyError, output_files
from safetensors.torch import save_file

pytestmark = pytest.mark.comfy
ROOT = Path(__file__).parents[2]
WORKFLOWS = ["AniCrafter", "AniCrafter long video", "AniCrafter self-contained"]


@pytest.fixture(scope="module")
def actor(comfy, tiny_models):
    """A function from a workflow's name and a number of frames to its prompt on the made-up actor."""
    made = {}

    def prompt(workflow="AniCrafter", frames=8):
        if frames not in made:
            made[frames] = make_performance(comfy.base / "input" / f"actor{frames}", comfy.base / "models", frames)
        local = {
            use: path if use == "body" else Path(f"actor{frames}") / path.name for use, path in made[frames].items()
        }
        shipped = json.loads((ROOT / "workflows" / "api" / f"{workflow}.json").read_text())
        return fill_anicrafter(shipped, local, tiny_models)[0]

    return prompt


def find(prompt, kind):
    return next(node_id for node_id, node in prompt.items() if node["class_type"] == kind)


def video_of(comfy, prompt):
    outputs = comfy.run(prompt)
    (file,) = (file for file in output_files(outputs) if file["filename"].endswith(".mp4"))
    with av.open(str(comfy.output_path(file))) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(int)


@pytest.mark.parametrize(("workflow", "frames"), [(WORKFLOWS[0], 8), (WORKFLOWS[1], 32), (WORKFLOWS[2], 8)])
def test_workflow_makes_a_video(comfy, actor, workflow, frames):
    said = comfy.complaints()
    video = video_of(comfy, actor(workflow, frames))
    assert video.shape == (frames, 96, 160, 3)
    assert video.std() > 2
    assert comfy.complaints() == said


def test_apply_and_loras_before_and_after(comfy, actor):
    """The result depends on the scene, on the strength, and on a LoRA on either side of the node."""
    plain = actor()
    apply, sampler = find(plain, "CraftersAniCrafterApply"), find(plain, "KSampler")
    lora = {
        f"diffusion_model.blocks.0.ffn.0.lora_{side}.weight": torch.randn(*shape, generator=torch.manual_seed(1))
        for side, shape in (("A", (4, 256)), ("B", (256, 4)))
    }
    folder = comfy.base / "models" / "loras"
    folder.mkdir(exist_ok=True)
    save_file(lora, folder / "style.safetensors")
    loader = {"class_type": "LoraLoaderModelOnly", "_meta": {"title": "LoRA"}}

    def with_lora(where):
        prompt = actor()
        takes = prompt[apply if where == "before" else sampler]["inputs"]
        inputs = {"model": takes["model"], "lora_name": "style.safetensors", "strength_model": 1.0}
        prompt["lora"] = {**loader, "inputs": inputs}
        takes["model"] = ["lora", 0]
        return prompt

    weak = actor()
    weak[apply]["inputs"]["strength"] = 0.0
    videos = {name: video_of(comfy, p) for name, p in {
        "plain": plain, "weak": weak, "before": with_lora("before"), "after": with_lora("after")}.items()}  # fmt: skip

    def apart(a, b):
        return np.abs(videos[a] - videos[b]).mean()

    assert apart("plain", "weak") > 0.5 and apart("plain", "before") > 0.5
    # Added up in another order, weights differ in their last bits; the lossy video makes more of it.
    assert apart("before", "after") < 0.3 * apart("plain", "before")


@pytest.mark.parametrize(
    ("kind", "key", "value", "sentence"),
    [
        ("CraftersRenderAvatar", "height", 320, "would stretch this motion"),
        ("CraftersClipFrames", "frames", 5, "differ in (frames, height, width)"),
        ("CraftersLoadAniCrafter", "weights", "anchorcrafter-small.pth", "holds nothing of AniCrafter"),
        ("CraftersLoadBodyModel", "body", "missing.npz", "not in list"),
        ("CraftersAniCrafterPrompt", "file", "absent.safetensors", "connect the text encoder once"),
        ("UNETLoader", "unet_name", "t2v.safetensors", "not T2V"),
    ],
)
def test_user_mistakes_get_a_sentence(comfy, actor, kind, key, value, sentence):
    if value == "t2v.safetensors":
        from crafters.demo.small_wan import random_state, wan_shapes

        state = {name: x for name, x in random_state(wan_shapes(channels=16)).items()
                 if not name.startswith("img_emb") and "_img" not in name}  # fmt: skip
        save_file(state, comfy.base / "models" / "diffusion_models" / value)
    prompt = actor()
    prompt[find(prompt, kind)]["inputs"][key] = value
    with pytest.raises(ComfyError) as error:
        comfy.run(prompt)
    assert sentence.lower() in error.value.message.lower()


def test_avatar_and_motion_are_saved(comfy, actor):
    prompt = actor()
    avatar, motion = find(prompt, "CraftersLoadAvatar"), find(prompt, "CraftersLoadMotion")
    graph = {avatar: prompt[avatar], motion: prompt[motion]}
    for i, kind in enumerate(("safetensors", "pth", "ply")):
        inputs = {"avatar": [avatar, 0], "filename_prefix": "saved/avatar", "format": kind}
        graph[f"a{i}"] = {"class_type": "CraftersSaveAvatar", "inputs": inputs}
    graph["edit"] = {
        "class_type": "CraftersEditMotion",
        "inputs": {"motion": [motion, 0], "x": 0.2, "turn": 30.0, "scale": 0.8, "fps": 30.0, "frames": 50},
    }
    for kind in ("json", "npz"):
        inputs = {"motion": ["edit", 0], "filename_prefix": "saved/motion", "format": kind}
        graph[kind] = {"class_type": "CraftersSaveMotion", "inputs": inputs}
    comfy.run(graph)
    saved = comfy.base / "output" / "saved"
    assert {p.suffix for p in saved.glob("avatar*")} == {".safetensors", ".pth", ".ply"}
    (folder,) = (p for p in saved.glob("motion*") if p.is_dir())
    assert len(list(folder.glob("*.json"))) == 50


def test_motion_with_a_gap_is_filled_or_refused(comfy, actor):
    prompt = actor()
    folder = comfy.base / "input" / "gappy"
    save_motion(waving(8, 160, 96), folder)
    (folder / "00004.json").unlink()
    load = prompt[find(prompt, "CraftersLoadMotion")]
    load["inputs"].update(motion="gappy", fill_gaps=False)
    save = {"class_type": "CraftersSaveMotion", "inputs": {"motion": ["m", 0], "filename_prefix": "g", "format": "npz"}}
    with pytest.raises(ComfyError, match="missing: 4"):
        comfy.run({"m": load, "s": save})
    load["inputs"]["fill_gaps"] = True
    assert comfy.run({"m": load, "s": save}) is not None
