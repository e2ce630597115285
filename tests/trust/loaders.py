"""Every loader, with a small whole file of its own to be damaged."""

import json
import shutil
import sys
from pathlib import Path
from unittest import mock

from trust.folders import FOLDERS, load_wan
from trust.whole import Loader


def _state() -> dict:
    import torch

    return {"a.weight": torch.arange(12.0).view(3, 4), "a.bias": torch.arange(3.0), "b": torch.ones(2).half()}


def _torch(legacy: bool) -> Loader:
    def make(folder: Path) -> Path:
        import torch

        torch.save({"state_dict": _state(), "step": 3}, folder / "w.pth", _use_new_zipfile_serialization=not legacy)
        return folder / "w.pth"

    return Loader(make, _read)


def _read(path: Path):
    from crafters.models.checkpoint import read

    return {name: tensor.float().sum() for name, tensor in read(path)[0].items()}


def _safetensors(folder: Path) -> Path:
    from safetensors.torch import save_file

    save_file(_state(), folder / "w.safetensors", {"config": '{"heads": [1, 2]}'})
    return folder / "w.safetensors"


def _avatar(suffix: str) -> Loader:
    def make(folder: Path) -> Path:
        import torch
        from crafters.models.avatar.files import save_avatar
        from crafters.models.avatar.gaussians import Avatar

        n = 20
        parts = [torch.rand(n, width) for width in (3, 3, 3, 1, 3, 4)]
        save_avatar(Avatar(*parts, torch.eye(4).repeat(55, 1, 1), torch.zeros(10)), folder / f"avatar{suffix}")
        return folder / f"avatar{suffix}"

    def load(path: Path):
        from crafters.models.avatar.files import load_avatar

        return load_avatar(path)

    return Loader(make, load)


def _body(folder: Path) -> Path:
    import numpy as np

    random_, vertices = np.random.default_rng(0), 60
    np.savez_compressed(
        folder / "SMPLX_NEUTRAL.npz", v_template=random_.normal(size=(vertices, 3)),
        shapedirs=random_.normal(size=(vertices, 3, 20)), posedirs=random_.normal(size=(vertices, 3, 486)),
        J_regressor=random_.random((55, vertices)), weights=random_.random((vertices, 55)),
        kintree_table=np.array([[2**32 - 1, *range(54)], range(55)]), f=random_.integers(0, vertices, (80, 3)),
    )
    return folder / "SMPLX_NEUTRAL.npz"


def _load_body(path: Path):
    from crafters.models.body.load import load_body_model

    return load_body_model(path)


def _constraint(folder: Path) -> Path:
    import numpy as np

    np.savez(folder / "human_prior_constrain.npz", masks=np.ones(60))
    return folder / "human_prior_constrain.npz"


def _load_constraint(path: Path):
    from crafters.models.avatar.rig import read_constraint

    return read_constraint(path)


def _motion(kind: str) -> Loader:
    def make(folder: Path) -> Path:
        import torch
        from crafters.models.body.motion import BodyMotion
        from crafters.models.body.motion_files import save_motion

        parts = [torch.rand(4, *shape) + 0.1 for shape in ((55, 3), (3,), (10,), (2,), (2,))]
        motion = BodyMotion(*parts, (640, 480), (0, 1, 2, 3), 30.0)
        path = folder / ("walk.npz" if kind == "npz" else "walk")
        save_motion(motion, path)
        return path if kind == "npz" else sorted(path.glob("*.json"))[1]

    def load(path: Path):
        from crafters.models.body.motion_files import read_motion

        motion = read_motion(path if kind == "npz" else path.parent)
        return motion.filled() if motion.missing else motion

    return Loader(make, load)


def _mano(folder: Path) -> Path:
    from helpers.mano_file import write_mano

    return write_mano(folder / "MANO_RIGHT.pkl", 300)


def _load_mano(path: Path):
    from crafters.models.hmr.mano import load_mano

    return load_mano(path)


def _sapiens(folder: Path) -> Path:
    from helpers.lhm_files import write_torchscript

    write_torchscript(folder / "sapiens.pt2")
    return folder / "sapiens.pt2"


def _convert_sapiens(path: Path):
    from crafters.models.avatar.lhm.convert import convert_sapiens

    convert_sapiens(path, path.with_suffix(".safetensors"))


def _onnx(folder: Path) -> Path:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper, save

    given = [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 640, 640])]
    results = [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 8400, 85])]
    shape = numpy_helper.from_array(np.array([1, 8400, 85]), "shape")
    node = helper.make_node("ConstantOfShape", ["shape"], ["output"])
    graph = helper.make_graph([node], "g", given, results, [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    save(model, folder / "yolox.onnx")
    return folder / "yolox.onnx"


def _load_onnx(path: Path):
    from crafters.preprocessors.pose.dwpose import _open

    return _open(path, "cpu", "detector", (3, 640, 640), [(8400, 85)])


def _constant_onnx(folder: Path) -> Path:
    fixture = Path(__file__).parents[1] / "fixtures" / "dwpose_a" / "detector_constant.onnx"
    return Path(shutil.copy(fixture, folder))


def _load_onnx_by_opencv(path: Path):
    with mock.patch.dict(sys.modules, {"onnxruntime": None}):
        return _load_onnx(path)


def _settings(folder: Path) -> Path:
    text = "stages:\n  - {steps: 10, batch: 2}\nlearning_rate: 1e-4\nwarmup: 5\nprecision: fp32\ntask: {data: clips}\n"
    (folder / "recipe.yaml").write_text(text)
    return folder / "recipe.yaml"


def _load_settings(path: Path):
    from crafters.training.settings import checked, read_settings

    @checked
    class Task:
        data: Path

    return read_settings(path, [], Task)


def _prompts(folder: Path) -> Path:
    import torch
    from crafters.models.anicrafter.prompt import save_prompts

    save_prompts(folder / "prompt.safetensors", torch.ones(1, 8, 16), torch.ones(1, 8, 16))
    return folder / "prompt.safetensors"


def _load_prompts(path: Path):
    from crafters.models.anicrafter.prompt import load_prompts

    return load_prompts(path)


def _workflow(folder: Path) -> Path:
    graph = {"1": {"class_type": "Node", "inputs": {"a": 1.5, "b": "text", "c": ["2", 0]}, "_meta": {"title": "One"}}}
    (folder / "graph.json").write_text(json.dumps(graph))
    return folder / "graph.json"


def _load_workflow(path: Path):
    from crafters.host.prompt import read_prompt

    return read_prompt(path)


def _wan_file(folder: Path) -> Path:
    from helpers.small_wan import random_state, wan_shapes
    from safetensors.torch import save_file

    save_file(random_state(wan_shapes(128, 1, 16, 16, 16, 16)), folder / "wan.safetensors")
    return folder / "wan.safetensors"


def _shard(folder: Path) -> Path:
    from helpers.small_wan import anicrafter_shapes, random_state
    from safetensors.torch import save_file

    save_file(random_state(anicrafter_shapes(16, 1, 16)), folder / "anicrafter.safetensors")
    return folder / "anicrafter.safetensors"


def _load_shard(path: Path):
    from crafters.models.anicrafter.checkpoint import AniCrafter

    return AniCrafter.from_files([path])


def _released(folder: Path) -> Path:
    import argparse

    import torch

    torch.save({"state_dict": _state(), "args": argparse.Namespace(size=3)}, folder / "multihmr.pt")
    return folder / "multihmr.pt"


def _load_released(path: Path):
    from crafters.models.checkpoint import read
    from crafters.models.hmr.multihmr import SETTINGS

    return {name: tensor.float().sum() for name, tensor in read(path, SETTINGS)[0].items()}


LOADERS = {
    "torch": _torch(legacy=False),
    "legacy torch": _torch(legacy=True),
    "safetensors": Loader(_safetensors, _read),
    "avatar.pth": _avatar(".pth"),
    "avatar.safetensors": _avatar(".safetensors"),
    "avatar.ply": _avatar(".ply"),
    "body": Loader(_body, _load_body),
    "constraint": Loader(_constraint, _load_constraint),
    "motion.npz": _motion("npz"),
    "motion.json": _motion("json"),
    "mano": Loader(_mano, _load_mano),
    "sapiens": Loader(_sapiens, _convert_sapiens),
    "onnx": Loader(_onnx, _load_onnx),
    "onnx by opencv": Loader(_constant_onnx, _load_onnx_by_opencv),
    "settings": Loader(_settings, _load_settings),
    "prompts": Loader(_prompts, _load_prompts),
    "workflow.json": Loader(_workflow, _load_workflow),
    "released": Loader(_released, _load_released),
    "shard": Loader(_shard, _load_shard),
    "wan file": Loader(_wan_file, load_wan, slow=True),
    **FOLDERS,
}
