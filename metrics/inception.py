"""Inception-v3 as FID means it: the 2015 TensorFlow network, whose PyTorch port pytorch-fid publishes."""

import torch
import torch.nn.functional as F
from torch import nn

Kernel = int | tuple[int, int]


class Conv(nn.Module):
    """Convolution, batch norm and ReLU; the picture keeps its size, or shrinks by `stride` without padding."""

    def __init__(self, width: int, out: int, kernel: Kernel, stride: int = 1, padded: bool = True):
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = tuple(side // 2 for side in sides) if padded and stride == 1 else 0
        self.conv = nn.Conv2d(width, out, sides, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Branches beside each other: chains of `Conv`, and a pooling with at most one behind it.

    branches: per branch a list of (name, out, kernel) or (name, out, kernel, stride); a list in a chain's place is a
    fork, whose ends are concatenated. `width` is the number of channels of the output.
    """

    def __init__(self, width: int, branches: list[list], pool, pool_out: int = 0):
        super().__init__()
        self.chains: list[list[list[str]]] = []
        self.pool = pool
        self.width = pool_out or width
        for branch in branches:
            steps = [step if isinstance(step, list) else [step] for step in branch]
            inner = width
            for step in steps:
                for name, *shape in step:
                    self.add_module(name, Conv(inner, *shape))
                inner = sum(out for _, out, *_ in step)
            self.chains.append([[name for name, *_ in step] for step in steps])
            self.width += inner
        self.branch_pool = Conv(width, pool_out, 1) if pool_out else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ends = []
        for chain in self.chains:
            end = x
            for names in chain:
                end = torch.cat([self.get_submodule(name)(end) for name in names], dim=1)
            ends.append(end)
        return torch.cat([*ends, self.branch_pool(self.pool(x))], dim=1)


def _average(x: torch.Tensor) -> torch.Tensor:
    # TensorFlow's average leaves the padding out.
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _maximum(x: torch.Tensor) -> torch.Tensor:
    return F.max_pool2d(x, 3, 1, 1)


def _halve(x: torch.Tensor) -> torch.Tensor:
    return F.max_pool2d(x, 3, 2)


def _block_a(width: int, pool_out: int) -> Mixed:
    return Mixed(
        width,
        [
            [("branch1x1", 64, 1)],
            [("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)],
            [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)],
        ],
        _average,
        pool_out,
    )


def _block_b(width: int) -> Mixed:
    double = [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3, 2)]
    return Mixed(width, [[("branch3x3", 384, 3, 2)], double], _halve)


def _block_c(width: int, inner: int) -> Mixed:
    row, column = (1, 7), (7, 1)
    double = [("branch7x7dbl_1", inner, 1), ("branch7x7dbl_2", inner, column), ("branch7x7dbl_3", inner, row)]
    return Mixed(
        width,
        [
            [("branch1x1", 192, 1)],
            [("branch7x7_1", inner, 1), ("branch7x7_2", inner, row), ("branch7x7_3", 192, column)],
            [*double, ("branch7x7dbl_4", inner, column), ("branch7x7dbl_5", 192, row)],
        ],
        _average,
        192,
    )


def _block_d(width: int) -> Mixed:
    seven = [("branch7x7x3_1", 192, 1), ("branch7x7x3_2", 192, (1, 7)), ("branch7x7x3_3", 192, (7, 1))]
    return Mixed(
        width,
        [[("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3, 2)], [*seven, ("branch7x7x3_4", 192, 3, 2)]],
        _halve,
    )


def _block_e(width: int, pool) -> Mixed:
    fork = [("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1))]
    double_fork = [("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1))]
    return Mixed(
        width,
        [
            [("branch1x1", 320, 1)],
            [("branch3x3_1", 384, 1), fork],
            [("branch3x3dbl_1", 448, 1), ("branch3x3dbl_2", 384, 3), double_fork],
        ],
        pool,
        192,
    )


class InceptionV3(nn.Module):
    """`pt_inception-2015-12-05-6726825d.pth` without its classifier (`fc.`), which FID does not use."""

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3, padded=False)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3, padded=False)
        width = 192
        blocks = {
            **{f"5{letter}": (_block_a, out) for letter, out in zip("bcd", (32, 64, 64), strict=True)},
            "6a": (_block_b,),
            **{f"6{letter}": (_block_c, inner) for letter, inner in zip("bcde", (128, 160, 160, 192), strict=True)},
            "7a": (_block_d,),
            # That one block takes the maximum is an oddity of the 2015 network.
            "7b": (_block_e, _average),
            "7c": (_block_e, _maximum),
        }
        self.mixed = [f"Mixed_{name}" for name in blocks]
        for name, (build, *options) in blocks.items():
            block = build(width, *options)
            self.add_module(f"Mixed_{name}", block)
            width = block.width

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """[N,3,299,299] in −1…1 → [N,2048], the features of the last pooling."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(pixels)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(_halve(x)))
        x = _halve(x)
        for name in self.mixed:
            x = self.get_submodule(name)(x)
        return x.mean((2, 3))
