"""The two networks that see motion: I3D (FVD) and the 3-D ResNet-50 (FID-VID), both trained on Kinetics-400."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..models.checkpoint import CheckpointError

# Of `i3d_torchscript.pt` as published.
SCRIPTED_SHA256 = "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2"


def _pad_same(x: torch.Tensor, kernel: Sequence[int], stride: Sequence[int]) -> torch.Tensor:
    """TensorFlow's "same" padding of [..., T, H, W] with zeros: the odd one goes behind."""
    sides = []
    for size, k, s in zip(x.shape[-3:], kernel, stride, strict=True):
        missing = max(k - (size % s or s), 0)
        sides = [missing // 2, missing - missing // 2, *sides]  # F.pad counts from the last axis
    return F.pad(x, sides)


def _max_pool(x: torch.Tensor, kernel: Sequence[int], stride: Sequence[int]) -> torch.Tensor:
    return F.max_pool3d(_pad_same(x, kernel, stride), kernel, stride)


class Unit(nn.Module):
    """A 3-D convolution with "same" padding, batch norm and ReLU."""

    def __init__(self, width: int, out: int, kernel: int, stride: int = 1):
        super().__init__()
        self.conv3d = nn.Conv3d(width, out, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(out, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv3d(_pad_same(x, self.conv3d.kernel_size, self.conv3d.stride))))


class InceptionBlock(nn.Module):
    """Four branches beside each other."""

    def __init__(self, width: int, single: int, first: tuple[int, int], second: tuple[int, int], pooled: int):
        """Channels of the input, the 1x1x1 branch, both 3x3x3 branches (inner, out), and behind the pooling."""
        super().__init__()
        self.b0 = Unit(width, single, 1)
        self.b1a, self.b1b = Unit(width, first[0], 1), Unit(*first, 3)
        self.b2a, self.b2b = Unit(width, second[0], 1), Unit(*second, 3)
        self.b3b = Unit(width, pooled, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = _max_pool(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], dim=1)


class I3D(nn.Module):
    """`i3d_pretrained_400.pt` (VideoGPT's; DisCo's FVD): Carreira and Zisserman 2017."""

    def __init__(self):
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64, 7, 2)
        self.Conv3d_2b_1x1 = Unit(64, 64, 1)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3)
        self.Mixed_3b = InceptionBlock(192, 64, (96, 128), (16, 32), 32)
        self.Mixed_3c = InceptionBlock(256, 128, (128, 192), (32, 96), 64)
        self.Mixed_4b = InceptionBlock(480, 192, (96, 208), (16, 48), 64)
        self.Mixed_4c = InceptionBlock(512, 160, (112, 224), (24, 64), 64)
        self.Mixed_4d = InceptionBlock(512, 128, (128, 256), (24, 64), 64)
        self.Mixed_4e = InceptionBlock(512, 112, (144, 288), (32, 64), 64)
        self.Mixed_4f = InceptionBlock(528, 256, (160, 320), (32, 128), 128)
        self.Mixed_5b = InceptionBlock(832, 256, (160, 320), (32, 128), 128)
        self.Mixed_5c = InceptionBlock(832, 384, (192, 384), (48, 128), 128)
        self.logits = nn.ModuleDict({"conv3d": nn.Conv3d(1024, 400, 1)})

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """[N,3,T,224,224] in −1…1, T at least 9 → the 400 logits, averaged over time, [N,400]."""
        x = _max_pool(self.Conv3d_1a_7x7(clips), (1, 3, 3), (1, 2, 2))
        x = _max_pool(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), (1, 3, 3), (1, 2, 2))
        x = _max_pool(self.Mixed_3c(self.Mixed_3b(x)), (3, 3, 3), (2, 2, 2))
        x = self.Mixed_4f(self.Mixed_4e(self.Mixed_4d(self.Mixed_4c(self.Mixed_4b(x)))))
        x = self.Mixed_5c(self.Mixed_5b(_max_pool(x, (2, 2, 2), (2, 2, 2))))
        return self.logits["conv3d"](F.avg_pool3d(x, (2, 7, 7), 1)).flatten(2).mean(2)


class ScriptedI3D(nn.Module):
    """`i3d_torchscript.pt` (StyleGAN-V's FVD), a TorchScript file.

    That is a program, which may do anything from the moment it is loaded: no file but the published one is. Raises
    CheckpointError.
    """

    def __init__(self, path: Path):
        super().__init__()
        content = path.read_bytes()  # what is run must be what was checked
        if hashlib.sha256(content).hexdigest() != SCRIPTED_SHA256:
            raise CheckpointError(
                f"{path.name} is a program, and not the published one, so it is not run: fetch it again, or use fvd, "
                "whose file holds tensors only."
            )
        self.script = torch.jit.load(io.BytesIO(content), map_location="cpu")

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """[N,3,T,224,224] in −1…1 → [N,400]."""
        return self.script(clips, rescale=False, resize=False, return_features=True)


class Bottleneck(nn.Module):
    def __init__(self, width: int, inner: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv3d(width, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm3d(inner)
        self.conv2 = nn.Conv3d(inner, inner, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm3d(inner)
        self.conv3 = nn.Conv3d(inner, 4 * inner, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(4 * inner)
        if width != 4 * inner:
            shortcut = nn.Conv3d(width, 4 * inner, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm3d(4 * inner))
        else:
            self.downsample = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def _layer(width: int, inner: int, blocks: int, stride: int) -> nn.Sequential:
    later = [Bottleneck(4 * inner, inner, 1) for _ in range(blocks - 1)]
    return nn.Sequential(Bottleneck(width, inner, stride), *later)


class ResNet3D(nn.Module):
    """`resnet-50-kinetics.pth` (Hara et al. 2018) without its classifier (`fc.`)."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv3d(3, 64, 7, (1, 2, 2), 3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.layer1 = _layer(64, 64, 3, stride=1)
        self.layer2 = _layer(256, 128, 4, stride=2)
        self.layer3 = _layer(512, 256, 6, stride=2)
        self.layer4 = _layer(1024, 512, 3, stride=2)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """[N,3,16,112,112], levels 0…255 less their mean → [N,2048]."""
        x = F.max_pool3d(F.relu(self.bn1(self.conv1(clips))), 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3, 4))
