"""Networks on a card that they do not fit in; run by `test_anicrafter_patch.py`.

There is no card here: ComfyUI is told that the processor is one with little memory. The weights of layers that wait are
made unusable but by ComfyUI's own call, so that a network which takes them by itself gives another result.
"""

import copy

import comfy.cli_args

comfy.cli_args.args.cpu = True  # before anything of ComfyUI looks for a GPU

import comfy.model_management as host  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from crafters.host.memory import Managed  # noqa: E402
from crafters.models.anchorcrafter.encoders import DINOv2, FrameVAE  # noqa: E402
from crafters.models.anchorcrafter.frugal import save_memory  # noqa: E402
from crafters.models.anicrafter.conditions import Scene  # noqa: E402
from crafters.models.anicrafter.embedders import Embedders, embed  # noqa: E402
from crafters.models.avatar.lhm.encoders import BodyEncoder  # noqa: E402
from crafters.models.avatar.lhm.precision import matrices_to  # noqa: E402
from crafters.models.clip_vision import ClipVision  # noqa: E402
from crafters.models.loaded import Loaded  # noqa: E402
from crafters.models.vit import ViTSize  # noqa: E402
from crafters.preprocessors.segment.prompts import Prompt  # noqa: E402
from crafters.preprocessors.segment.sam import SAM  # noqa: E402
from diffusers import AutoencoderKLTemporalDecoder, WanTransformer3DModel  # noqa: E402
from helpers.plain_anchor import small_system  # noqa: E402
from helpers.small_models import ANCHOR, small_sam  # noqa: E402
from torch import nn  # noqa: E402
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Dinov2Config, Dinov2Model  # noqa: E402

VIT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2, "patch_size": 14}


def draw(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def anchor(loaded):
    system = loaded.module
    maps = system.pose_net(draw(5, 6, 128, 64)) + system.track_net(draw(5, 3, 128, 64))
    context = torch.cat([draw(1, 1, 32), system.object_tokens(draw(1, 3 * ANCHOR.view_tokens, 32))], 1)
    return system.unet.predict(draw(1, 5, 12, 16, 8), torch.tensor(0.5), context, draw(1, 3), maps[None])


def vae(loaded):
    own = FrameVAE(loaded)
    return own.decode(own.encode(draw(3, 32, 16, 3)))


def small_vae():
    sizes = {"block_out_channels": (32, 32), "layers_per_block": 1, "down_block_types": ("DownEncoderBlock2D",) * 2}
    network = AutoencoderKLTemporalDecoder(**sizes)
    save_memory(network)
    return network


def sam(loaded):
    clip = (draw(4, 48, 40, 3) * 255).byte().numpy()
    found = SAM(loaded).track(clip, [Prompt(1, box=(5, 5, 30, 40), inside=((10, 10),))])
    return torch.from_numpy(np.stack(list(found.values()))).float()


def wan(loaded):
    return loaded.module(draw(1, 36, 2, 8, 8), torch.tensor([3.0]), draw(1, 6, 16), draw(1, 5, 32))[0]


def tokens(loaded):
    scene = Scene(draw(5, 32, 32, 3), draw(5, 32, 32, 3), draw(5, 32, 32).round())
    return embed(loaded, scene, dtype=torch.float32)


NETWORKS = {
    "AnchorCrafter": (small_system, anchor),
    "SVD's VAE": (small_vae, vae),
    "CLIP": (lambda: CLIPVisionModelWithProjection(CLIPVisionConfig(**VIT, image_size=28, projection_dim=8)),
             lambda loaded: ClipVision(loaded).encode_image(draw(1, 30, 28, 3)).image_embeds),
    "DINOv2": (lambda: Dinov2Model(Dinov2Config(**VIT, image_size=518)),
               lambda loaded: DINOv2(loaded).tokens(draw(1, 518, 518, 3))),
    "Sapiens in bf16": (lambda: matrices_to(BodyEncoder(ViTSize(32, 2, 2, 16, (4, 4), 64), 64), torch.bfloat16),
                        lambda loaded: loaded.module(draw(1, 3, 64, 64))),
    "SAM 2": (lambda: small_sam(64), sam),
    "Wan": (lambda: WanTransformer3DModel(num_attention_heads=2, attention_head_dim=32, in_channels=36, out_channels=16,
                                          text_dim=16, freq_dim=16, ffn_dim=64, num_layers=2, image_dim=32,
                                          added_kv_proj_dim=64), wan),
    "AniCrafter's embedders": (lambda: Embedders(8), tokens),
}


class Card:
    """A small one: of `room` bytes, with what is loaded of its networks in them."""

    def __init__(self, monkeypatch, device="cpu"):
        self.room, self.networks = 0, []
        for name, value in {
            "get_torch_device": lambda: torch.device(device), "unet_offload_device": lambda: torch.device("cpu"),
            "is_device_cpu": lambda device: False, "vram_state": host.VRAMState.NORMAL_VRAM,
            "minimum_inference_memory": lambda *_: 0, "extra_reserved_memory": lambda *_: 0,
            "get_free_memory": self.free, "current_loaded_models": [], "MIN_WEIGHT_MEMORY_RATIO": 0.0,
        }.items():
            monkeypatch.setattr(host, name, value)

    def free(self, device=None, torch_free_too=False):
        left = self.room - sum(managed._patcher.loaded_size() for managed in self.networks)
        return (left, left) if torch_free_too else left

    def managed(self, network):
        self.networks.append(Managed(network))
        return self.networks[-1]


def waiting(managed):
    return [layer for layer in managed.module.modules() if getattr(layer, "comfy_cast_weights", False)]


def spoil(layer):
    for name in ("weight", "bias"):
        tensor = getattr(layer, name)
        if tensor is not None:
            true = tensor.data.clone()
            setattr(layer, f"{name}_function", [lambda _, true=true: true])
            tensor.data.fill_(float("nan"))


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_a_network_that_does_not_fit_gives_the_same(monkeypatch, name, share):
    make, use = NETWORKS[name]
    torch.manual_seed(0)
    with torch.inference_mode(False):
        network = make()
        copied = copy.deepcopy(network)
    expected = use(Loaded(network))
    card = Card(monkeypatch)
    managed = card.managed(copied)
    card.room = int(share * managed._patcher.model_size())
    managed.load()
    layers = waiting(managed)
    streamable = [part for part in managed.module.modules() if hasattr(part, "comfy_cast_weights")]
    assert managed._patcher.loaded_size() <= card.room
    if streamable:
        assert layers and (share or {*streamable} == {*layers})
    for layer in layers:
        spoil(layer)
    monkeypatch.setattr(managed, "load", lambda memory=0: torch.device("cpu"))  # again, it might bring what is spoiled
    assert torch.equal(use(managed), expected)


def small():
    """A network with every way of holding a tensor."""
    network = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.Embedding(9, 64), nn.Linear(64, 64))
    network.table = nn.Parameter(torch.ones(64))
    network.register_buffer("scale", torch.ones(64))
    return network


def test_all_but_the_layers_that_wait_are_on_the_card(monkeypatch):
    card = Card(monkeypatch, "meta")
    managed = card.managed(small())
    card.room = int(2.1 * 65 * 64 * 4)  # of its larger layers one, and the place to fetch the other into
    assert managed.load() == torch.device("meta")
    places = {name: tensor.device.type for name, tensor in managed.module.state_dict().items()}
    assert places.keys() == small().state_dict().keys() and managed.dtype == torch.float32
    assert [name for name, place in places.items() if place == "cpu"] in (
        ["0.weight", "0.bias"], ["3.weight", "3.bias"]
    )


def test_with_room_a_network_is_loaded_whole_and_what_waited_comes_later(monkeypatch):
    card = Card(monkeypatch)
    managed = card.managed(small())
    managed.load()
    assert len(waiting(managed)) == 3
    card.room = 10 * managed._patcher.model_size()
    managed.load()
    assert not waiting(managed)
    managed.load(card.room)  # for what it computes
    assert managed.load() == torch.device("cpu")


def test_activations_have_room_before_weights(monkeypatch):
    card = Card(monkeypatch)
    managed = card.managed(small())
    size = managed._patcher.model_size()
    card.room = 4 * size
    managed.load(4 * size)
    assert len(waiting(managed)) == 3
