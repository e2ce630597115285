"""The feature networks: their published layouts, reading them, and what frames become before them."""

import hashlib
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from crafters.metrics import inputs, video_networks
from crafters.metrics import networks as n
from crafters.metrics.face import AdaFace
from crafters.metrics.inception import InceptionV3
from crafters.metrics.inputs import WINDOW
from crafters.metrics.networks import BATCH, SOURCES, Networks
from crafters.metrics.video_networks import I3D, ResNet3D, _pad_same
from crafters.models.checkpoint import CheckpointError
from crafters.models.clip_vision import ClipVisionOutput
from torch import nn

RNG = np.random.default_rng(0)


def frame(height, width):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("network", "tensors", "parameters", "some"),
    [
        (
            InceptionV3,
            564,
            21_785_568,
            {
                "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
                "Mixed_5b.branch_pool.conv.weight": (32, 192, 1, 1),
                "Mixed_6a.branch3x3dbl_3.conv.weight": (96, 96, 3, 3),
                "Mixed_6c.branch7x7dbl_4.conv.weight": (160, 160, 7, 1),
                "Mixed_7a.branch7x7x3_4.bn.running_var": (192,),
                "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
            },
        ),
        (
            I3D,
            344,
            12_697_264,
            {
                "Conv3d_1a_7x7.conv3d.weight": (64, 3, 7, 7, 7),
                "Mixed_3c.b2b.conv3d.weight": (96, 32, 3, 3, 3),
                "Mixed_4b.b0.bn.weight": (192,),
                "Mixed_5c.b3b.conv3d.weight": (128, 832, 1, 1, 1),
                "logits.conv3d.weight": (400, 1024, 1, 1, 1),
                "logits.conv3d.bias": (400,),
            },
        ),
        (
            ResNet3D,
            318,
            46_198_976,
            {
                "conv1.weight": (64, 3, 7, 7, 7),
                "layer1.0.downsample.0.weight": (256, 64, 1, 1, 1),
                "layer3.5.conv2.weight": (256, 256, 3, 3, 3),
                "layer4.0.downsample.1.running_mean": (2048,),
            },
        ),
        (
            AdaFace,
            467,
            43_585_600,
            {
                "input_layer.2.weight": (64,),
                "body.3.shortcut_layer.0.weight": (128, 64, 1, 1),
                "body.23.res_layer.4.weight": (512, 512, 3, 3),
                "output_layer.3.weight": (512, 25088),
                "output_layer.4.running_mean": (512,),
            },
        ),
    ],
)
def test_full_size_layouts(network, tensors, parameters, some):
    with torch.device("meta"):
        module = network()
    state = module.state_dict()
    assert len(state) == tensors and sum(p.numel() for p in module.parameters()) == parameters
    assert {name: tuple(state[name].shape) for name in some} == some


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "shape", "features"),
    [
        (InceptionV3, (3, 299, 299), 2048),
        (I3D, (3, WINDOW, 224, 224), 400),
        (ResNet3D, (3, WINDOW, 112, 112), 2048),
        (AdaFace, (3, 112, 112), 512),
    ],
)
def test_full_size_features(network, shape, features):
    with torch.inference_mode():
        out = network().eval()(torch.rand(1, *shape))
    assert out.shape == (1, features) and torch.isfinite(out).all()


@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [(16, 7, 2), (17, 7, 2), (5, 3, 1), (8, 2, 2), (9, 3, 2), (4, 1, 2)]
)
def test_same_padding_is_tensorflows(size, kernel, stride):
    x = torch.ones(1, 1, size, size, size)
    padded = _pad_same(x, (kernel,) * 3, (stride,) * 3)
    assert (padded.shape[-1] - kernel) // stride + 1 == -(-size // stride)
    line = padded.sum((0, 1, 2, 3))
    front, behind = int((line == 0).int().argmin()), int((line.flip(0) == 0).int().argmin())
    assert behind - front in (0, 1) and front + size + behind == padded.shape[-1]


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 1)
        self.bn1 = nn.BatchNorm2d(4)

    def forward(self, pixels):
        return self.bn1(self.conv1(pixels)).mean((2, 3))


def trained_toy():
    toy = Toy()
    for buffer in (toy.bn1.running_mean, toy.bn1.running_var):
        buffer.uniform_(1, 2)
    return toy.eval()


def test_old_files_with_wrappers_classifier_and_without_counters(tmp_path):
    """The layout of the 3-D ResNet's file: pickled before torch 1.6, of DataParallel, among other things."""
    toy = trained_toy()
    state = {f"module.{name}": tensor for name, tensor in toy.state_dict().items() if "num_batches" not in name}
    state["module.fc.weight"] = torch.ones(2)
    path = tmp_path / "old.pth"
    torch.save({"arch": "toy", "epoch": 3, "state_dict": state}, path, _use_new_zipfile_serialization=False)
    read = n._weights(Toy, without="fc.")(path).eval()
    pixels = torch.rand(2, 3, 5, 5)
    assert torch.equal(read(pixels), toy(pixels))


def test_lightning_checkpoints_that_name_a_callback(tmp_path, monkeypatch):
    """AdaFace's: its own entries start with `model.`, and a key is a class of a library that need not be there."""
    named = type("ModelCheckpoint", (), {"__module__": "pytorch_lightning.callbacks.model_checkpoint"})
    library = ModuleType(named.__module__)
    library.ModelCheckpoint = named
    toy = trained_toy()
    state = {f"model.{name}": tensor for name, tensor in toy.state_dict().items()} | {"head.kernel": torch.ones(2)}
    path = tmp_path / "adaface.ckpt"
    with monkeypatch.context() as patch:
        for name in ("pytorch_lightning", "pytorch_lightning.callbacks", named.__module__):
            patch.setitem(sys.modules, name, library)
        torch.save({"state_dict": state, "callbacks": {named: {"best_model_score": torch.ones(1)}}}, path)
    read = n._weights(Toy, only="model.")(path).eval()
    pixels = torch.rand(2, 3, 5, 5)
    assert torch.equal(read(pixels), toy(pixels))


def test_a_foreign_file_is_refused(tmp_path):
    torch.save({"conv1.weight": torch.ones(1)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"x\.pth does not fit: .*missing"):
        n._weights(Toy)(tmp_path / "x.pth")
    torch.jit.script(ToyI3D()).save(str(tmp_path / "i3d.pt"))
    with pytest.raises(CheckpointError, match=r"i3d\.pt is a program, and not the published one, so it is not run"):
        SOURCES["i3d_torchscript"].open(tmp_path / "i3d.pt")


class ToyI3D(nn.Module):
    def forward(self, x, rescale: bool = True, resize: bool = True, return_features: bool = False):
        assert not rescale and not resize and return_features
        return x.mean((2, 3, 4))


def test_the_torchscript_network_is_asked_for_features(tmp_path, monkeypatch):
    torch.jit.script(ToyI3D()).save(str(tmp_path / "i3d.pt"))
    digest = hashlib.sha256((tmp_path / "i3d.pt").read_bytes()).hexdigest()
    monkeypatch.setattr(video_networks, "SCRIPTED_SHA256", digest)
    clips = torch.rand(2, 3, 16, 4, 4)
    module = SOURCES["i3d_torchscript"].open(tmp_path / "i3d.pt")
    torch.testing.assert_close(module(clips), clips.mean((2, 3, 4)))


def test_clip_and_dino_from_their_folders(tmp_path):
    from transformers import CLIPConfig, CLIPModel, ViTConfig, ViTModel

    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**small, "image_size": 224, "patch_size": 32}
    whole = CLIPModel(CLIPConfig(text_config={**small, "vocab_size": 9}, vision_config=vision, projection_dim=8)).eval()
    whole.save_pretrained(tmp_path / "clip")
    vit = ViTModel(ViTConfig(**small, image_size=224, patch_size=16), add_pooling_layer=False).eval()
    vit.save_pretrained(tmp_path / "dino")
    pixels = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        found = SOURCES["clip"].open(tmp_path / "clip")(pixels)
        torch.testing.assert_close(found, whole.visual_projection(whole.vision_model(pixels).pooler_output))
        dino = SOURCES["dino"].open(tmp_path / "dino")
        torch.testing.assert_close(dino(pixels), vit(pixels).last_hidden_state[:, 0])
        assert dino(torch.rand(1, 3, 224, 320)).shape == (1, 16)


def test_embedding_in_batches(tmp_path, monkeypatch):
    torch.save(trained_toy().state_dict(), tmp_path / "toy.pth")
    opened = []

    def find(name, kind):
        opened.append((name, kind))
        return tmp_path / name

    monkeypatch.setitem(SOURCES, "toy", n.Source("toy.pth", "crafters", n._weights(Toy), "nowhere"))
    networks, ticks = Networks(find), []
    pictures = [torch.rand(3, 5, 5) for _ in range(BATCH + 1)] + [torch.rand(3, 7, 5)]
    features = networks.embed("toy", pictures, lambda: ticks.append(1))
    single = torch.cat([networks.embed("toy", [picture], lambda: None) for picture in pictures])
    torch.testing.assert_close(features, single)
    assert len(ticks) == 3 and opened == [("toy.pth", "crafters")]


def test_a_missing_file_says_where_it_goes():
    def find(name, kind):
        raise FileNotFoundError(name)

    with pytest.raises(FileNotFoundError, match=r"i3d_pretrained_400\.pt in ComfyUI's models/crafters"):
        Networks(find).embed("i3d", [], lambda: None)


def test_a_connected_clip_gets_the_pictures_back():
    seen = []

    class Host:
        def encode_image(self, images):
            seen.append(images)
            return type("Output", (), {"image_embeds": images.mean((1, 2))})

    networks = Networks(None, clip_vision=Host())
    picture = frame(224, 224)
    networks.embed("clip", [inputs.clip_input(picture)], lambda: None)
    torch.testing.assert_close(seen[0][0], torch.from_numpy(picture) / 255, atol=1e-6, rtol=0)
    assert "not the paper's" in networks.clip_name


def test_a_connected_clip_without_a_projection_is_refused():
    class Wans:
        def encode_image(self, images):
            return ClipVisionOutput(torch.zeros(1, 2, 3))

    with pytest.raises(CheckpointError, match="no projection"):
        Networks(None, clip_vision=Wans()).embed("clip", [inputs.clip_input(frame(224, 224))], lambda: None)


@pytest.mark.parametrize("size", [(300, 260), (100, 180)])
def test_clips_preparation_is_that_of_its_own_processor(size):
    from transformers import CLIPImageProcessorPil

    picture = frame(*size)
    expected = CLIPImageProcessorPil()(picture, return_tensors="pt").pixel_values[0]
    torch.testing.assert_close(inputs.clip_input(picture), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("prepare", "shape", "low", "high"),
    [
        (inputs.clip_frame, (3, 224, 224), -2.2, 2.7),
        (inputs.dino_frame, (3, 224, 298), -2.2, 2.7),
        (inputs.inception_input, (3, 299, 299), -1, 1),
        (inputs.resnet3d_frame, (3, 112, 112), -115, 156),
        (inputs.i3d_frame, (3, 224, 224), -1, 1),
        (inputs.i3d_torchscript_frame, (3, 224, 224), -1, 1),
    ],
)
def test_what_frames_become(prepare, shape, low, high):
    pixels = prepare(frame(90, 120))
    assert pixels.shape == shape and pixels.dtype == torch.float32
    assert low <= pixels.min() and pixels.max() <= high
    white, black = (prepare(np.full((90, 120, 3), level, dtype=np.uint8)) for level in (255, 0))
    assert (white > black).all() and torch.allclose(white[0], white[0, 0, 0])


def test_a_face_goes_in_as_bgr():
    red = np.zeros((112, 112, 3), dtype=np.uint8)
    red[..., 0] = 255
    assert inputs.adaface_input(red).mean((1, 2)).tolist() == [-1, -1, 1]


def test_windows_slide_by_one():
    runs = list(inputs.windows(range(WINDOW + 2), lambda i: torch.full((3, 1, 1), float(i))))
    assert [run[0, :, 0, 0].tolist() for run in runs] == [[float(i + j) for j in range(WINDOW)] for i in range(3)]
    assert not list(inputs.windows(range(WINDOW - 1), lambda i: torch.zeros(3, 1, 1)))
