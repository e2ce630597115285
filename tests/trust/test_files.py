"""Files made to run something, to crash, or to unfold without end."""

import io
import json
import os
import pickle
import struct
import sys
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from crafters.files import bounded
from crafters.metrics.networks import SOURCES
from crafters.models.avatar.lhm.convert import convert_sapiens
from crafters.models.body import motion_files
from crafters.models.body.layout import BodyModelError
from crafters.models.body.motion import MotionError
from crafters.models.body.motion_files import read_motion
from crafters.models.checkpoint import CheckpointError, read
from crafters.models.hmr.mano import load_mano
from crafters.models.pretrained import from_folder, read_config
from crafters.preprocessors.pose.dwpose import _open
from crafters.preprocessors.segment.prompts import read_points
from crafters.training.settings import Settings, SettingsError, read_settings

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def refused(kind, call, *args, match="", seconds=5):
    """The sentence that `call` refuses with, within a time and without much memory."""
    tracemalloc.start()
    begin = time.process_time()  # of this process alone: others may have the cores
    try:
        with pytest.raises(kind, match=match or None) as error:
            call(*args)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
    assert time.process_time() - begin < seconds
    assert "\n" not in str(error.value) and len(str(error.value)) <= 300
    return str(error.value)


# --- Programs ---


class Writes(torch.nn.Module):
    """Writes a file when it is loaded."""

    def __init__(self, path: str):
        super().__init__()
        self.path = path
        self.pos_embed = torch.nn.Parameter(torch.ones(1, 4, 8))

    @torch.jit.export
    def __getstate__(self):
        return self.pos_embed, self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, str, bool]):
        self.pos_embed, self.path, self.training = state
        torch.save(state[0], state[1])

    def forward(self, x):
        return x


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_program_is_not_loaded(tmp_path):
    written, file = tmp_path / "written", tmp_path / "i3d_torchscript.pt"
    torch.jit.script(Writes(str(written))).save(str(file))
    refused(CheckpointError, convert_sapiens, file, tmp_path / "out.safetensors", match="i3d_torchscript.pt")
    refused(CheckpointError, SOURCES["i3d_torchscript"].open, file, match="i3d_torchscript.pt is a program")
    refused(CheckpointError, read, file, match="i3d_torchscript.pt")
    assert not written.exists() and not (tmp_path / "out.safetensors").exists()
    torch.jit.load(str(file))
    assert written.exists(), "this test proves nothing any more"


# --- Pickles ---


def legacy(body):
    """A file of torch's old format whose object is the pickle `body`."""
    head = b"".join(pickle.dumps(part, 2) for part in (MAGIC, PROTOCOL, {"little_endian": True}))
    return head + b"\x80\x02" + body + b"." + pickle.dumps([], 2)


def archive(path, body, storages=(), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("a/data.pkl", b"\x80\x02" + body + b".")
        for key, content in storages:
            file.writestr(f"a/data/{key}", content)
    return path


def tensor(count, size, stride, offset=0, key="0"):
    """The pickle of a tensor of `size` in a float32 storage of `count`."""

    def number(n):
        return b"\x8a\x08" + struct.pack("<q", n)

    def numbers(values):
        return b"(" + b"".join(map(number, values)) + b"t"

    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0" + key.encode() + b"X\x03\0\0\0cpu"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(count) + b"tQ" + number(offset) + numbers(size)
        + numbers(stride) + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def named(body):
    return b"}X\x01\0\0\0a" + body + b"s"


def test_looking_up_a_nested_tuple_ends(tmp_path):
    """Each level holds the one below twice: its hash is 2¹⁰⁰ steps away."""
    twice = b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(100))
    deep = b")" + b"\x85" * 1_000_000
    for number, bomb in enumerate((b")" + twice, deep)):
        (tmp_path / f"{number}.pth").write_bytes(legacy(b"}" + bomb + b"K\x01s"))
        refused(CheckpointError, read, tmp_path / f"{number}.pth", match=f"{number}.pth cannot be read .*unfold")
        archive(tmp_path / f"{number}.pt", b"}" + bomb + b"K\x01s")
        refused(CheckpointError, read, tmp_path / f"{number}.pt", match=f"{number}.pt cannot be read .*unfold")


@pytest.mark.parametrize(
    "body",
    [
        b"cbuiltins\nbytearray\n\x8a\x05\0\0\0\0\x7f\x85R",
        b"\x96" + struct.pack("<Q", 1 << 36),
        b"r\xff\xff\xff\x7f",
        b"cos\nsystem\nX\x04\0\0\0true\x85R",
        b"(ios\nsystem\n",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R",
        b"\x82\x01",
        b"ctorch\nFloatStorage\n)R",
        b"ccollections\nOrderedDict\n}X\x0b\0\0\0__class____b",
    ],
)
def test_a_pickle_makes_nothing_else(tmp_path, body):
    (tmp_path / "w.pth").write_bytes(legacy(body))
    refused(CheckpointError, read, tmp_path / "w.pth", match=r"w\.pth")
    refused(CheckpointError, read, archive(tmp_path / "z.pth", body), match=r"z\.pth")


def test_tensors_lie_within_their_storage(tmp_path):
    four = [("0", struct.pack("<4f", 1, 2, 3, 4))]
    path = archive(tmp_path / "w.pth", named(tensor(4, [2, 2], [2, 1])), four)
    assert read(path)[0]["a"].tolist() == [[1, 2], [3, 4]]
    for body in (
        tensor(1 << 30, [1 << 30], [1]),  # more than is there
        tensor(4, [5], [1]),
        tensor(4, [2], [1], offset=3),
        tensor(4, [2], [1 << 40]),
        tensor(4, [1 << 20, 1 << 20], [0, 0]),  # the same number again and again
        tensor(4, [-1], [1]),
        tensor(4, [2, 2], [1]),
        tensor(-4, [4], [1]),
        tensor(4, [4], [1], key="1"),
        tensor(4, [4], [1]) + b"}X\x04\0\0\0datasb",
    ):
        refused(CheckpointError, read, archive(tmp_path / "w.pth", named(body), four), match=r"w\.pth cannot be read")
    packed = archive(tmp_path / "p.pth", named(tensor(4, [4], [1])), four, zipfile.ZIP_DEFLATED)
    refused(CheckpointError, read, packed, match="its tensors are compressed")
    again = tensor(1 << 18, [1 << 18], [1])
    body = b"}(" + b"".join(b"X\x04\0\0\0%04d" % i + again for i in range(200)) + b"u"
    refused(CheckpointError, read, archive(tmp_path / "w.pth", body, [("0", bytes(1 << 20))]))


class Pointers:
    def __reduce__(self):
        make, args, _ = np.zeros(0).__reduce__()
        return make, args, (1, (64,), np.dtype(object), False, b"\x41" * 512)


class Raw:
    def __init__(self, count, kind="<f8"):
        self.count, self.kind = count, kind

    def __reduce__(self):
        make, args, _ = np.zeros(0).__reduce__()
        return make, args, (1, (self.count,), np.dtype(self.kind), False, b"\0" * 16)


@pytest.mark.parametrize("array", [Pointers(), Raw(1 << 40), Raw(3), Raw(2, "<M8[ns]")])
def test_a_hands_arrays_are_numbers(tmp_path, array):
    """Arrays of pointers ended the process."""
    names = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f", "kintree_table")
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps(dict.fromkeys(names, array), protocol=2))
    refused(BodyModelError, load_mano, tmp_path / "MANO_RIGHT.pkl", match="MANO_RIGHT.pkl cannot be read")


def test_a_hand_as_python_2_wrote_it(tmp_path):
    """Its modules have other names, and chumpy and scipy wrap what is in it."""
    from helpers.mano_file import random_hand, write_mano

    write_mano(tmp_path / "new.pkl")
    plain = random_hand()
    pieces = io.BytesIO()
    pickler = pickle.Pickler(pieces, 2)
    chumpy = b"ccopy_reg\n_reconstructor\n(cchumpy.ch\nCh\nc__builtin__\nobject\nNtR}X\x01\0\0\0x"
    body = b"}"
    for name, array in plain.items():
        pieces.seek(0), pieces.truncate()
        pickler.clear_memo()
        pickler.dump(array)
        text = pieces.getvalue()[2:-1].replace(b"numpy._core", b"numpy.core")
        key = b"X" + struct.pack("<I", len(name)) + name.encode()
        body += key + (chumpy + text + b"sb" if name == "shapedirs" else text) + b"s"
    (tmp_path / "old.pkl").write_bytes(b"\x80\x02" + body + b".")
    old, new = load_mano(tmp_path / "old.pkl"), load_mano(tmp_path / "new.pkl")
    assert torch.equal(old.shape_dirs, new.shape_dirs) and torch.equal(old.faces, new.faces)


# --- Sizes ---


def npz(path, **entries):
    """An .npz whose arrays' headers say (shape) and whose bytes are (content)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, (shape, content) in entries.items():
            head = io.BytesIO()
            np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": shape})
            file.writestr(f"{name}.npy", head.getvalue() + content)
    return path


def test_an_npz_unfolds_to_what_a_motion_holds(tmp_path, monkeypatch):
    path = npz(tmp_path / "walk.npz", poses=((10**9, 165), b""), trans=((10**9, 3), b""))
    refused(MotionError, read_motion, path, match="walk.npz is not a whole .npz file .*`poses` says it has")
    path = npz(tmp_path / "walk.npz", poses=((0, 165), b""), trans=((10**9, 0), b""))
    refused(MotionError, read_motion, path, match=r"walk\.npz")
    monkeypatch.setattr(motion_files, "_MOST", 1 << 20)
    path = npz(tmp_path / "walk.npz", poses=((1588, 165), bytes(1588 * 165 * 8)))
    assert path.stat().st_size < 1 << 14
    refused(MotionError, read_motion, path, match="it has more than 1048576 bytes of numbers")


def test_gaps_between_frames_are_bounded(tmp_path):
    def frame():
        pose = {"root_pose": [0.1] * 3, "jaw_pose": [0] * 3, "leye_pose": [0] * 3, "reye_pose": [0] * 3}
        pose |= {"body_pose": [[0] * 3] * 21, "lhand_pose": [[0] * 3] * 15, "rhand_pose": [[0] * 3] * 15}
        camera = {"focal": [500, 500], "princpt": [320, 240], "img_size_wh": [640, 480]}
        return json.dumps({**pose, **camera, "trans": [0, 0, 3], "betas": [0] * 10})

    for number, name in enumerate(("IMG_20240101.json", "2000000000.json", f"{'9' * 100}.json")):
        folder = tmp_path / str(number)
        folder.mkdir()
        for file in ("IMG_1.json", name):
            (folder / file).write_text(frame())
        refused(MotionError, read_motion, folder, match=f"{number}: Frames .* number the frames in a row")


def test_json_and_yaml_are_bounded(tmp_path):
    for text in ("[" * 100_000, "[" * 500 + "]" * 500, '{"a":' * 90 + "1" + "}" * 90):
        with pytest.raises(ValueError):
            bounded.parse_json(text)
    (tmp_path / "big.json").write_text("[" + "1," * 1000 + "1]")
    refused(bounded.RefusedError, bounded.read_json, tmp_path / "big.json", 1000, match="big.json .*at most 1000")
    laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    deep, date, code = "x: " + "[" * 5000, "a: 2020-99-99\n", "!!python/object/apply:os.getcwd []\n"
    for text in (laughs, "a: &a [*a]\n", deep, date, code):
        (tmp_path / "recipe.yaml").write_text(text)
        refused(SettingsError, read_settings, tmp_path / "recipe.yaml", [], Settings, match=r"recipe\.yaml")
    for number in (".nan", ".inf", "1e999"):
        change = [f"learning_rate={number}"]
        (tmp_path / "recipe.yaml").write_text("stages: [{steps: 1, batch: 1}]\n")
        refused(SettingsError, read_settings, tmp_path / "recipe.yaml", change, Settings, match="learning_rate is")


# --- Folders as on the hub ---


def folder(path, **config):
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({"model_type": "dinov2", **config}))
    return path


@pytest.mark.parametrize(
    "config",
    [
        {"hidden_size": 10**12}, {"num_hidden_layers": 10**6}, {"rope": {"theta": float("nan")}},
        {"auto_map": {"AutoModel": "evil.Model"}}, {"quantization_config": {}}, {"depths": [10**5]},
        {"blocks_per_stage": [1, 5000]}, {"attn_implementation": "evil/kernels"}, {"layers": [1] * 5000},
    ],
)
def test_a_configuration_is_a_models(tmp_path, config):
    refused(CheckpointError, read_config, folder(tmp_path / "dinov2", **config), match="dinov2")


def test_the_sizes_of_published_models_are_taken(tmp_path):
    """SAM 2.1's largest, and DINOv2's numbers."""
    sam = {"embed_dim_per_stage": [144, 288, 576, 1152], "blocks_per_stage": [2, 6, 36, 4]}
    config = {"backbone_config": sam, "hidden_size": 1024, "num_hidden_layers": 24, "rope_theta": 10000.0}
    assert read_config(folder(tmp_path / "sam", **config))["backbone_config"] == sam


@pytest.mark.slow
def test_weights_of_a_folder_are_tensors_beside_it(tmp_path):
    from transformers import Dinov2Config, Dinov2Model

    small = Dinov2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=28, patch_size=14)
    Dinov2Model(small).save_pretrained(tmp_path / "dinov2")
    weights = tmp_path / "dinov2" / "model.safetensors"
    index = tmp_path / "dinov2" / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"a": "../elsewhere.safetensors"}}))
    told = refused(CheckpointError, from_folder, Dinov2Model, tmp_path / "dinov2", None)
    assert "names '../elsewhere.safetensors', which is no file of its folder" in told
    index.unlink()
    config = json.loads((tmp_path / "dinov2" / "config.json").read_text())
    folder(tmp_path / "dinov2", **config | {"hidden_size": 100_000, "mlp_ratio": 400})
    told = refused(CheckpointError, from_folder, Dinov2Model, tmp_path / "dinov2", None)
    assert "describes a model of" in told
    folder(tmp_path / "dinov2", **config)
    weights.rename(tmp_path / "dinov2" / "pytorch_model.bin")
    (tmp_path / "dinov2" / "pytorch_model.bin").write_bytes(legacy(b"cos\nsystem\nX\x04\0\0\0true\x85R"))
    told = refused(CheckpointError, from_folder, Dinov2Model, tmp_path / "dinov2", None)
    assert "pytorch_model.bin is not a plain weight file" in told and "weights_only" not in told


def test_a_pose_networks_numbers_are_its_own(tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx")
    given = [onnx.helper.make_tensor_value_info(name, 1, [4]) for name in "xy"]
    weight = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=1)
    node = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    (tmp_path / "models").mkdir()
    (tmp_path / "private").write_bytes(bytes(16))
    for place in ("../private", str(tmp_path / "private")):
        weight.ClearField("external_data")
        weight.external_data.add(key="location", value=place)
        graph = onnx.helper.make_graph([node], "g", given[:1], given[1:], [weight])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
        (tmp_path / "models" / "pose.onnx").write_bytes(model.SerializeToString())
        session = tmp_path / "models" / "pose.onnx", "cpu", "pose network", (4,), [(4,)]
        refused(bounded.RefusedError, _open, *session, match="pose.onnx cannot be read as an ONNX network")
        with monkeypatch.context() as patch:  # by OpenCV too
            patch.setitem(sys.modules, "onnxruntime", None)
            refused(bounded.RefusedError, _open, *session, match="its weights lie in other files")


@pytest.mark.parametrize("text", ["nan,1", "1,inf", '[{"x": NaN, "y": 1}]', "[" * 100_000 + "1", "1e999 2", "x" * 5000])
def test_points_are_finite(text):
    refused(ValueError, read_points, text, match="are no points")


def test_every_refusal_is_one_line(tmp_path):
    state = {"a\n" * 500: torch.ones(1), "b": 3}
    torch.save(state, tmp_path / "w.pth")
    told = refused(CheckpointError, read, tmp_path / "w.pth")
    assert told.startswith("w.pth holds more than tensors") and os.linesep not in told
