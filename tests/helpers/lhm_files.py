"""Small files in the layout of LHM's release and of Sapiens' TorchScript."""

import torch
from crafters.models.avatar.lhm.encoders import HeadEncoder
from crafters.models.avatar.lhm.network import Network
from crafters.models.vit import ViTSize
from safetensors.torch import save_file
from torch import nn

from helpers.parity_case import named_weight

DIM, TOKEN_DIM = 64, 128
HEAD = ViTSize(64, 24, 1, patch=14, grid=(37, 37), mlp=64, registers=4, layer_scale=True)
GRID = 2  # of the small Sapiens: pictures of 32×32


def filled(module, prefix=""):
    """A state dict of `module`, which may be on the meta device."""
    return {prefix + name: named_weight(prefix + name, tensor.shape) for name, tensor in module.state_dict().items()}


def lhm_state(layers=2):
    """The networks' tensors."""
    with torch.device("meta"):
        head, network = HeadEncoder(HEAD, DIM), Network(layers, DIM, 1, TOKEN_DIM, (32, 32))
    return {**filled(head, "encoder."), **filled(network), "pcl_embed.basis": torch.zeros(3, 24)}


def body_buffers(body, vertex):
    """What the file holds of SMPL-X, for points whose nearest template vertices are `vertex` [N]."""
    layer = {
        "v_template": body.template, "shapedirs": body.shape_dirs, "J_regressor": body.regressor,
        "parents": torch.tensor(body.skeleton.parents), "lbs_weights": body.skinning, "faces_tensor": body.faces,
    }
    buffers = {f"smplx_layer.{name}": tensor for name, tensor in layer.items()} | {
        "skinning_weight": body.skinning[vertex],
        "shape_dirs": body.shape_dirs[vertex],
        "is_constrain_body": torch.zeros(len(vertex), dtype=torch.bool),
        "voxel_ws": torch.zeros(2, 2),  # not used
    }
    return {f"renderer.smplx_model.{name}": tensor.clone() for name, tensor in buffers.items()}


def write_lhm(path, body, vertex, **changes):
    """A small `model.safetensors`; changes: tensors put in, or left out where None."""
    state = lhm_state() | body_buffers(body, vertex) | changes
    save_file({name: tensor.contiguous() for name, tensor in state.items() if tensor is not None}, path)
    return path


class _Layer(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(dim, 1e-6), nn.LayerNorm(dim, 1e-6)
        self.attn = nn.Module()
        self.attn.qkv, self.attn.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.ffn = nn.Module()
        self.ffn.layers = nn.Sequential(nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU()), nn.Linear(4 * dim, dim))

    def forward(self, x):
        q, k, v = self.attn.qkv(self.ln1(x)).unflatten(-1, (3, -1, 64)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT / 8).softmax(-1)
        x = x + self.attn.proj((weights @ v).transpose(1, 2).flatten(2))
        return x + self.ffn.layers(self.ln2(x))


class _Backbone(nn.Module):
    def __init__(self, padding, class_token, epsilon):
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.projection = nn.Conv2d(3, TOKEN_DIM, 16, stride=16, padding=padding)
        self.cls_token = nn.Parameter(torch.empty(1, 1, TOKEN_DIM)) if class_token else None
        self.pos_embed = nn.Parameter(torch.empty(1, GRID**2 + class_token, TOKEN_DIM))
        self.layers = nn.ModuleList(_Layer(TOKEN_DIM) for _ in range(2))
        self.ln1 = nn.LayerNorm(TOKEN_DIM, epsilon)


class Sapiens(nn.Module):
    """Laid out as Sapiens' own image encoder (mmpretrain's VisionTransformer), with its tensor names."""

    def __init__(self, padding=2, class_token=True, epsilon=1e-6):
        super().__init__()
        self.backbone = _Backbone(padding, class_token, epsilon)
        self.head = nn.Linear(2, 2)
        self.load_state_dict(filled(self))
        with torch.no_grad():
            self.backbone.pos_embed.mul_(10)

    def forward(self, image):
        own = self.backbone
        x = own.patch_embed.projection(image).flatten(2).transpose(1, 2)
        if own.cls_token is not None:
            x = torch.cat([own.cls_token, x], dim=1)
        x = x + own.pos_embed
        for layer in own.layers:
            x = layer(x)
        x = own.ln1(x)[:, -(GRID**2) :]
        return (x.transpose(1, 2).reshape(1, TOKEN_DIM, GRID, GRID),)


def write_torchscript(path, **options):
    model = Sapiens(**options).eval()
    torch.jit.trace(model, torch.zeros(1, 3, 16 * GRID, 16 * GRID)).save(str(path))
    return model
