"""Propagation along completed flows (ProPainter, section 3.2): of pixels, and of features."""

import torch
from torch import nn

from .layers import DeformableAlignment, two_convs
from .warp import consistent, warp

CHANNELS = 128
DIRECTIONS = ("backward_1", "forward_1")


def _unsure(x: torch.Tensor) -> torch.Tensor:
    """1 where a mask, possibly blurred by warping, is more than a trace."""
    return (x > 0.1).to(x.dtype)


def propagate_pixels(
    frames: torch.Tensor, forward: torch.Tensor, backward: torch.Tensor, masks: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fill masked pixels from where a consistent flow leads in other frames, backward through the clip, then forward.

    frames: [T,3,H,W], 0 where masked; forward, backward: completed flows [T-1,2,H,W] in pixels; masks: [T,1,H,W] of
    0 and 1. Answers the frames [T,3,H,W], meaningful inside the masks, and what is still masked [T,1,H,W].
    """
    last = len(frames) - 1
    frames, masks = _pixel_pass(list(frames.split(1)), list(masks.split(1)), range(last, -1, -1), forward, backward)
    frames, masks = _pixel_pass(frames, masks, range(last + 1), backward, forward)
    return torch.cat(frames), torch.cat(masks)


def _pixel_pass(frames, masks, order, flows, opposite):
    """One pass in `order`; the flow that leads from a frame to the one visited before it is of that pair in `flows`."""
    frames, masks = list(frames), list(masks)
    for before, t in zip(order, order[1:], strict=False):
        pair = slice(min(before, t), min(before, t) + 1)
        valid = consistent(flows[pair], opposite[pair])
        usable = valid * (1 - _unsure(warp(masks[before], flows[pair])))
        fill = _unsure(masks[t] * usable)
        frames[t] = fill * warp(frames[before], flows[pair], "nearest") + (1 - fill) * frames[t]
        masks[t] = _unsure(masks[t] * (1 - usable))
    return frames, masks


class FeaturePropagation(nn.Module):
    """The same with features, and deformable convolutions around where the flow leads."""

    def __init__(self):
        super().__init__()
        self.deform_align = nn.ModuleDict(
            {d: DeformableAlignment(CHANNELS, 2 * CHANNELS + 2 + 1 + 2, reach=3) for d in DIRECTIONS}
        )
        self.backbone = nn.ModuleDict({d: two_convs(2 * CHANNELS + 2, slope=0.2) for d in DIRECTIONS})
        self.fuse = two_convs(2 * CHANNELS + 2, slope=0.2)

    def forward(
        self, x: torch.Tensor, forward: torch.Tensor, backward: torch.Tensor, masks: torch.Tensor
    ) -> torch.Tensor:
        """x: [T,128,h,w]; flows: [T-1,2,h,w] in cells; masks: [T,2,h,w], before and after pixel propagation."""
        last = len(x) - 1
        behind = self._pass("backward_1", x, range(last, -1, -1), forward, backward, masks)
        ahead = self._pass("forward_1", behind, range(last + 1), backward, forward, masks)
        return self.fuse(torch.cat([behind, ahead, masks], 1)) + x

    def _pass(self, direction, x, order, flows, opposite, masks):
        done: list[torch.Tensor | None] = [None] * len(x)
        before = None
        for t in order:
            current, mask = x[t : t + 1], masks[t : t + 1]
            carried = current
            if before is not None:
                pair = slice(min(before, t), min(before, t) + 1)
                flow, valid = flows[pair], consistent(flows[pair], opposite[pair])
                condition = [current, warp(done[before], flow), *(y.to(x.dtype) for y in (flow, valid)), mask]
                carried = self.deform_align[direction](done[before], torch.cat(condition, 1), flow)
            done[t] = carried + self.backbone[direction](torch.cat([current, carried, mask], 1))
            before = t
        return torch.cat(done)
