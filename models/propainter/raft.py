"""RAFT (arXiv 2003.12039), the large network: where every pixel of a frame went in the next one."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from .warp import pixel_grid

LEVELS, RADIUS = 4, 4
HIDDEN = 128
SMALLEST_SIDE = 128  # px: below it the coarsest level of the correlation is a single cell
VOLUME_BYTES = 256 << 20  # of the finest correlation volume that is held at once


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, norm: type[nn.Module]):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.norm1, self.norm2 = norm(outputs), norm(outputs)
        self.downsample = None
        if stride != 1:
            self.norm3 = norm(outputs)  # the released file holds this layer under both names
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), self.norm3)

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        return F.relu((x if self.downsample is None else self.downsample(x)) + y)


class Encoder(nn.Module):
    """[N,3,H,W] to [N,256,H/8,W/8]."""

    def __init__(self, norm: type[nn.Module]):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3)
        self.norm1 = norm(64)
        self.layer1 = nn.Sequential(ResidualBlock(64, 64, 1, norm), ResidualBlock(64, 64, 1, norm))
        self.layer2 = nn.Sequential(ResidualBlock(64, 96, 2, norm), ResidualBlock(96, 96, 1, norm))
        self.layer3 = nn.Sequential(ResidualBlock(96, 128, 2, norm), ResidualBlock(128, 128, 1, norm))
        self.conv2 = nn.Conv2d(128, 256, 1)

    def forward(self, x):
        x = F.relu(self.norm1(self.conv1(x)))
        return self.conv2(self.layer3(self.layer2(self.layer1(x))))


class Correlation:
    """How alike each cell of one frame is to each cell of the other, at four resolutions of the other."""

    def __init__(self, first: torch.Tensor, second: torch.Tensor):
        """Both [N,256,h,w]."""
        n, channels, height, width = first.shape
        volume = first.flatten(2).transpose(1, 2) @ second.flatten(2) / channels**0.5
        self.pyramid = [volume.view(n * height * width, 1, height, width)]
        for _ in range(LEVELS - 1):
            self.pyramid.append(F.avg_pool2d(self.pyramid[-1], 2))

    def __call__(self, at: torch.Tensor) -> torch.Tensor:
        """[N,4*81,h,w]: windows of 9x9 around `at` [N,2,h,w], in cells (x, y)."""
        n, _, height, width = at.shape
        steps = torch.arange(-RADIUS, RADIUS + 1, device=at.device, dtype=at.dtype)
        # The weights were trained with windows that run down the columns first.
        window = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1)
        center = at.movedim(1, -1).reshape(-1, 1, 1, 2)
        windows = []
        for level, volume in enumerate(self.pyramid):
            size = torch.tensor(volume.shape[:1:-1], device=at.device, dtype=at.dtype) - 1
            grid = 2 * (center / 2**level + window) / size - 1
            windows.append(F.grid_sample(volume, grid, align_corners=True).view(n, height, width, -1))
        return torch.cat(windows, -1).permute(0, 3, 1, 2)


class MotionEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.convc1 = nn.Conv2d(LEVELS * (2 * RADIUS + 1) ** 2, 256, 1)
        self.convc2 = nn.Conv2d(256, 192, 3, padding=1)
        self.convf1 = nn.Conv2d(2, 128, 7, padding=3)
        self.convf2 = nn.Conv2d(128, 64, 3, padding=1)
        self.conv = nn.Conv2d(256, 126, 3, padding=1)

    def forward(self, flow, correlation):
        c = F.relu(self.convc2(F.relu(self.convc1(correlation))))
        f = F.relu(self.convf2(F.relu(self.convf1(flow))))
        return torch.cat([F.relu(self.conv(torch.cat([c, f], 1))), flow], 1)


class SeparableGRU(nn.Module):
    """A convolutional GRU, first along the rows, then along the columns."""

    def __init__(self):
        super().__init__()
        for axis, kernel, padding in ((1, (1, 5), (0, 2)), (2, (5, 1), (2, 0))):
            for gate in "zrq":
                self.add_module(f"conv{gate}{axis}", nn.Conv2d(HIDDEN + 256, HIDDEN, kernel, padding=padding))

    def forward(self, hidden, x):
        for update, reset, candidate in (
            (self.convz1, self.convr1, self.convq1),
            (self.convz2, self.convr2, self.convq2),
        ):
            both = torch.cat([hidden, x], 1)
            z, r = torch.sigmoid(update(both)), torch.sigmoid(reset(both))
            new = torch.tanh(candidate(torch.cat([r * hidden, x], 1)))
            hidden = (1 - z) * hidden + z * new
        return hidden


class FlowHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(HIDDEN, 256, 3, padding=1)
        self.conv2 = nn.Conv2d(256, 2, 3, padding=1)

    def forward(self, hidden):
        return self.conv2(F.relu(self.conv1(hidden)))


class UpdateBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = MotionEncoder()
        self.gru = SeparableGRU()
        self.flow_head = FlowHead()
        self.mask = nn.Sequential(nn.Conv2d(HIDDEN, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 64 * 9, 1))

    def forward(self, hidden, context, correlation, flow):
        """The new hidden state, and what to add to the flow."""
        hidden = self.gru(hidden, torch.cat([context, self.encoder(flow, correlation)], 1))
        return hidden, self.flow_head(hidden)


class RAFT(nn.Module):
    """`raft-things.pth`, whose keys begin with `module.`; always float32, as published."""

    def __init__(self):
        super().__init__()
        self.fnet = Encoder(nn.InstanceNorm2d)
        self.cnet = Encoder(nn.BatchNorm2d)
        self.update_block = UpdateBlock()

    def forward(self, frames: torch.Tensor, iterations: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
        """Flows from each frame to the next, and back: both [T-1,2,H,W], pixels (x, y).

        frames: [T,3,H,W] in -1…1; sides multiples of 8, at least `SMALLEST_SIDE`. Pairs whose correlation fits
        `VOLUME_BYTES` go through at a time, so memory does not grow with the number of frames but for the features.
        """
        features = torch.cat([self.fnet(frame[None]) for frame in frames])
        context = torch.cat([self.cnet(frame[None]) for frame in frames])
        cells = features[0, 0].numel()
        at_once = max(1, VOLUME_BYTES // (cells**2 * features.element_size()))

        def flows(first: slice, second: slice) -> torch.Tensor:
            pairs = zip(
                features[first].split(at_once), features[second].split(at_once), context[first].split(at_once),
                strict=True,
            )
            return torch.cat([self._flow(*pair, iterations) for pair in pairs])

        return flows(slice(0, -1), slice(1, None)), flows(slice(1, None), slice(0, -1))

    def _flow(self, first, second, context, iterations):
        for hidden, flow in self.refine(Correlation(first, second), context, iterations):  # noqa: B007, the last counts
            pass
        return upsample(flow, 0.25 * self.update_block.mask(hidden))

    def refine(
        self, correlation: Correlation, context: torch.Tensor, iterations: int
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The hidden state and the flow [N,2,H/8,W/8], in cells, after each iteration."""
        hidden, context = torch.tanh(context[:, :HIDDEN]), F.relu(context[:, HIDDEN:])
        start = pixel_grid(context)
        flow = context.new_zeros(len(context), *start.shape)
        for _ in range(iterations):
            hidden, change = self.update_block(hidden, context, correlation(start + flow), flow)
            flow = flow + change
            yield hidden, flow


def upsample(flow: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Convex upsampling of [N,2,h,w] in cells to [N,2,8h,8w] in pixels; weights: [N,9*64,h,w], before softmax."""
    n, _, height, width = flow.shape
    weights = weights.view(n, 1, 9, 8, 8, height, width).softmax(2)
    neighbours = F.unfold(8 * flow, 3, padding=1).view(n, 2, 9, 1, 1, height, width)
    fine = (weights * neighbours).sum(2)  # [N,2,8,8,h,w]
    return fine.permute(0, 1, 4, 2, 5, 3).reshape(n, 2, 8 * height, 8 * width)
