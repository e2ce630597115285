"""The shipped AniCrafter graphs, run in a real ComfyUI on small networks to a video."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from crafters.cli.client import ComfyError
from crafters.host.prompt import read_prompt
from crafters.media.clip import write_video
from crafters.models.body.motion_files import save_motion
from crafters.proof.demo import SMALL, fill
from helpers.comfy_harness import ROOT, find
from helpers.made_up import waving, write_moving
from helpers.smplx_file import write_smplx
from PIL import Image
from safetensors.torch import save_file

pytestmark = pytest.mark.comfy
WORKFLOWS = ["AniCrafter", "AniCrafter long video", "AniCrafter self-contained", "AniCrafter fast"]


@pytest.fixture(scope="module")
def actor(comfy, steps_lora):
    """A function from a workflow's name, a number of frames and a size to its prompt on a made-up person."""
    made = {}

    def prompt(workflow="AniCrafter", frames=8, width=160, height=96):
        name = f"actor{frames}-{width}x{height}"
        if name not in made:
            made[name] = write_moving(comfy.base / "input" / name, frames, width, height)
        shipped = read_prompt(ROOT / "workflows" / "api" / f"{workflow}.json")
        filled, _ = fill(shipped, {title: Path(name) / path.name for title, path in made[name].items()})
        changes = {
            "CraftersRenderAvatar": {"width": width, "height": height},
            "CraftersRenderBodyMesh": {"width": width, "height": height},
            "WanContextWindowsManual": {"context_length": 17, "context_overlap": 5},
            "LoraLoaderModelOnly": {"lora_name": steps_lora},
            # The demo has no self-contained sampler.
            "CraftersLoadWan": {"transformer": SMALL["UNETLoader"]["unet_name"]},
            "CraftersAniCrafterSampler": {"steps": 2, "cfg": 1.0},
        }
        for node in filled.values():
            node["inputs"].update(changes.get(node["class_type"], {}))
        return filled

    return prompt


def video_of(comfy, prompt):
    return comfy.video(comfy.run(prompt)).astype(int)


def have_shape(pictures, aspect):
    sizes = (Image.open(BytesIO(picture)).size for picture in pictures)
    return all(abs(width / height - aspect) < 0.01 for width, height in sizes)


@pytest.mark.parametrize(
    ("workflow", "frames"), [(WORKFLOWS[0], 8), (WORKFLOWS[1], 32), (WORKFLOWS[2], 8), (WORKFLOWS[3], 8)]
)
def test_workflow_makes_a_video(comfy, actor, workflow, frames):
    said = comfy.complaints()
    video = video_of(comfy, actor(workflow, frames))
    assert video.shape == (frames, 96, 160, 3)
    assert video.std() > 2
    assert comfy.complaints() == said


@pytest.mark.parametrize(("width", "height"), [(96, 160), (96, 96)])
def test_portrait_and_square(comfy, actor, width, height):
    video = video_of(comfy, actor(frames=4, width=width, height=height))
    assert video.shape == (4, height, width, 3)
    assert video.std() > 2


def test_own_sampler_makes_long_videos_in_windows(comfy, actor):
    prompt = actor(WORKFLOWS[2], 16)
    prompt[find(prompt, "CraftersAniCrafterSampler")]["inputs"].update(steps=2, window=9, overlap=4)
    windowed = video_of(comfy, prompt)
    assert windowed.shape == (16, 96, 160, 3)
    prompt[find(prompt, "CraftersAniCrafterSampler")]["inputs"].update(window=81)
    whole = video_of(comfy, prompt)
    assert 0 < np.abs(windowed - whole).mean() < 0.2 * whole.std()


def test_nodes_show_what_they_made(comfy, actor):
    """Pictures of the result under the nodes, and of every frame while they work."""
    prompt = actor(frames=12)
    # Of its own, so that no other test has filled the cache.
    write_smplx(comfy.models("crafters/smplx"))
    prompt[find(prompt, "CraftersLoadBodyModel")]["inputs"]["body"] = "smplx/SMPLX_NEUTRAL.npz"
    edit_motion(prompt, turn=20.0)
    avatar, motion = find(prompt, "CraftersLoadAvatar"), find(prompt, "CraftersLoadMotion")
    inputs = {"avatar": [avatar, 0], "filename_prefix": "shown/avatar", "format": "ply"}
    prompt["save"] = {"class_type": "CraftersSaveAvatar", "inputs": inputs}
    kinds = {"CraftersLoadAvatar": 1, "CraftersSaveAvatar": 1, "CraftersLoadBodyModel": 1, "CraftersLoadMotion": 4,
             "CraftersEditMotion": 4, "CraftersRenderAvatar": 4, "CraftersRenderBodyMesh": 4,
             "CraftersComposeScene": 4}
    shown = {find(prompt, kind): count for kind, count in kinds.items()}
    needed = {"CraftersRigAvatar", "CraftersClipFrames", "LoadVideo", "LoadImage", "PreviewImage", *kinds}
    prompt = {node_id: node for node_id, node in prompt.items() if node["class_type"] in needed}
    live = []
    outputs = comfy.run(prompt, on_preview=live.append)
    for node_id, count in shown.items():
        pictures = [Image.open(comfy.output_path(file)) for file in outputs[node_id]["images"]]
        assert len(pictures) == count
        assert all(np.array(picture).std() > 5 for picture in pictures)
    edited, loaded = (Image.open(comfy.output_path(outputs[of]["images"][0])) for of in ("edit", motion))
    assert edited.size == loaded.size and edited != loaded
    assert len(live) >= 2 * 12 and have_shape(live, 160 / 96)


def test_own_sampler_shows_previews(comfy, actor):
    prompt = actor(WORKFLOWS[2])
    prompt[find(prompt, "CraftersAniCrafterSampler")]["inputs"].update(seed=5, steps=4)
    live = []
    comfy.run(prompt, on_preview=live.append)
    assert len(live) >= 3 and have_shape(live, 160 / 96)


def test_only_what_changed_runs_again(comfy, actor):
    prompt = actor()
    sampler = find(prompt, "KSampler")
    prompt[sampler]["inputs"]["seed"] = 77  # of its own, so that no other test has filled the cache
    comfy.run(prompt)
    started = set()
    comfy.run(prompt, lambda node, value, maximum: started.add(node))
    assert started == set()
    prompt[sampler]["inputs"]["seed"] += 1
    comfy.run(prompt, lambda node, value, maximum: started.add(node))
    after = {find(prompt, kind) for kind in ("KSampler", "VAEDecode", "CraftersAniCrafterTrim", "CreateVideo",
                                             "SaveVideo")}
    assert sampler in started and started <= after, [prompt[node]["class_type"] for node in started - after]


@pytest.mark.parametrize(
    ("workflow", "kind"), [(WORKFLOWS[0], "KSampler"), (WORKFLOWS[2], "CraftersAniCrafterSampler")]
)
def test_cancel_while_sampling_leaves_no_result(comfy, actor, workflow, kind):
    prompt = actor(workflow)
    sampler = find(prompt, kind)
    prompt[sampler]["inputs"].update(steps=150, seed=7)
    comfy.cancel(prompt, sampler)


def test_apply_and_loras_before_and_after(comfy, actor):
    """The result depends on the scene, on the strength, and on a LoRA on either side of the node."""
    plain = actor()
    apply, sampler = find(plain, "CraftersAniCrafterApply"), find(plain, "KSampler")
    lora = {
        f"diffusion_model.blocks.0.ffn.0.lora_{side}.weight": torch.randn(*shape, generator=torch.manual_seed(1))
        for side, shape in (("A", (4, 256)), ("B", (512, 4)))
    }
    save_file(lora, comfy.models("loras") / "style.safetensors")
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
        "plain": plain, "weak": weak, "before": with_lora("before"), "after": with_lora("after")}.items()}

    def apart(a, b):
        return np.abs(videos[a] - videos[b]).mean()

    assert apart("plain", "weak") > 0.5 and apart("plain", "before") > 0.5
    # Added up in another order, weights differ in their last bits; the lossy video makes more of it.
    assert apart("before", "after") < 0.3 * apart("plain", "before")


@pytest.mark.parametrize(
    ("kind", "key", "value", "sentence"),
    [
        ("CraftersRenderAvatar", "height", 320, "would stretch this motion"),
        ("LoadVideo", "file", "upright.mp4", "The background is 96×160"),
        ("CraftersClipFrames", "frames", 5, "The avatar has 8 frames, but the background 5"),
        ("CraftersLoadAniCrafter", "weights", "anchorcrafter_small.safetensors", "holds nothing of AniCrafter"),
        ("CraftersLoadBodyModel", "body", "missing.npz", "missing.npz' is not in"),
        ("CraftersAniCrafterPrompt", "file", "absent.safetensors", "connect the text encoder once"),
        ("UNETLoader", "unet_name", "t2v.safetensors", "not T2V"),
    ],
)
def test_user_mistakes_get_a_sentence(comfy, actor, kind, key, value, sentence):
    if value == "t2v.safetensors":
        from helpers.small_wan import random_state, wan_shapes

        state = {name: x for name, x in random_state(wan_shapes(channels=16)).items()
                 if not name.startswith("img_emb") and "_img" not in name}
        save_file(state, comfy.models("diffusion_models") / value)
    prompt = actor()
    if value == "upright.mp4":
        write_video(comfy.base / "input" / value, np.zeros((8, 160, 96, 3), np.uint8), 15)
    prompt[find(prompt, kind)]["inputs"][key] = value
    with pytest.raises(ComfyError) as error:
        comfy.run(prompt)
    assert sentence.lower() in error.value.message.lower()


def edit_motion(prompt, **edit):
    """An Edit Motion node between Load Motion and whatever takes it."""
    load = find(prompt, "CraftersLoadMotion")
    for node in prompt.values():
        node["inputs"].update({key: ["edit", 0] for key, value in node["inputs"].items() if value == [load, 0]})
    prompt["edit"] = {"class_type": "CraftersEditMotion", "inputs": {"motion": [load, 0], **edit}}


def test_motion_shorter_than_the_background(comfy, actor):
    prompt = actor()
    edit_motion(prompt, frames=4)
    assert len(video_of(comfy, prompt)) == 8  # the person leaves


def test_a_person_out_of_sight(comfy, actor):
    prompt = actor()
    edit_motion(prompt, x=20.0)
    with pytest.raises(ComfyError, match="body is in no frame"):
        comfy.run(prompt)


def test_an_empty_mask_of_the_character(comfy, actor):
    prompt = actor()
    mask = {"class_type": "SolidMask", "inputs": {"value": 0.0, "width": 160, "height": 256}}
    prompt["mask"], scene = mask, prompt[find(prompt, "CraftersComposeScene")]
    scene["inputs"] |= {"character_mask": ["mask", 0], "mask_shows": "person"}
    with pytest.raises(ComfyError, match="mask of the character's photo is empty"):
        comfy.run(prompt)


def test_a_rig_of_another_avatar(comfy, actor):
    prompt = actor()
    write_moving(comfy.base / "input" / "other", 4, gaussians=500)
    load = prompt[find(prompt, "CraftersLoadAvatar")]
    prompt["other"] = {**load, "inputs": {**load["inputs"], "avatar": "other/character_gaussian.pth"}}
    prompt[find(prompt, "CraftersRigAvatar")]["inputs"]["avatar"] = ["other", 0]
    with pytest.raises(ComfyError, match="avatar has 4000 gaussians, but the rig is for 500"):
        comfy.run(prompt)


def test_a_lora_with_unknown_keys(comfy, actor):
    from helpers.small_wan import anicrafter_shapes, random_state

    state = random_state(anicrafter_shapes())
    state["pipe.dit.blocks.0.self_attn.rope.lora_A.default.weight"] = torch.zeros(4, 256)
    save_file(state, comfy.models("crafters") / "strange.safetensors")
    prompt = actor()
    prompt[find(prompt, "CraftersLoadAniCrafter")]["inputs"]["weights"] = "strange.safetensors"
    with pytest.raises(ComfyError, match="LoRA on what is no part of Wan .*self_attn.rope"):
        comfy.run(prompt)


def test_avatar_and_motion_are_saved(comfy, actor):
    prompt = actor()
    avatar, motion = find(prompt, "CraftersLoadAvatar"), find(prompt, "CraftersLoadMotion")
    prompt[motion]["inputs"].update(fps=15.0, film_fps=0.0)  # the film stays away
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
    load["inputs"].update(motion="gappy", fill_gaps=False, fps=15.0, film_fps=0.0)
    save = {"class_type": "CraftersSaveMotion", "inputs": {"motion": ["m", 0], "filename_prefix": "g", "format": "npz"}}
    with pytest.raises(ComfyError, match="missing: 4"):
        comfy.run({"m": load, "s": save})
    load["inputs"]["fill_gaps"] = True
    assert comfy.run({"m": load, "s": save}) is not None
