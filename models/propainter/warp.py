"""Sampling along a flow: warping, the forward-backward check, and deformable convolution in plain torch.

Everything is sampled in float32 at least: in half precision, coordinates beyond 1024 lose whole pixels.
"""

import torch
import torch.nn.functional as F

# Forward-backward check of ProPainter: |f + b|² < RELATIVE (|f|² + |b|²) + ABSOLUTE, in px².
RELATIVE, ABSOLUTE = 0.01, 0.5


def pixel_grid(like: torch.Tensor) -> torch.Tensor:
    """[2,H,W]: x and y of every pixel of `like` [...,H,W]."""
    height, width = like.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=like.device, dtype=like.dtype),
        torch.arange(width, device=like.device, dtype=like.dtype),
        indexing="ij",
    )
    return torch.stack([x, y])


def warp(x: torch.Tensor, flow: torch.Tensor, mode: str = "bilinear") -> torch.Tensor:
    """`x` [N,C,H,W] seen at pixel + flow; flow [N,2,H,W] in pixels (x, y). Zero outside the picture."""
    height, width = x.shape[-2:]
    wide = flow if flow.dtype == torch.float64 else flow.float()
    at = (pixel_grid(wide) + wide).movedim(1, -1)
    size = torch.tensor([max(width - 1, 1), max(height - 1, 1)], device=x.device, dtype=wide.dtype)
    sampled = F.grid_sample(x.to(wide.dtype), 2 * at / size - 1, mode, padding_mode="zeros", align_corners=True)
    return sampled.to(x.dtype)


def consistent(flow: torch.Tensor, opposite: torch.Tensor) -> torch.Tensor:
    """[N,1,H,W] of 0 and 1: where going along `flow` and back along `opposite` ends where it began."""
    back = warp(opposite, flow)
    length = (flow**2).sum(1, keepdim=True) + (back**2).sum(1, keepdim=True)
    return (((flow + back) ** 2).sum(1, keepdim=True) < RELATIVE * length + ABSOLUTE).to(flow.dtype)


def deform_conv2d(
    x: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Modulated deformable convolution (DCNv2, arXiv 1811.11168) of stride 1 that keeps the size.

    x: [N,C,H,W]; weight: [O,C,k,k], k odd; offset: [N,G*k*k*2,H,W], (dy, dx) in pixels per tap, and mask:
    [N,G*k*k,H,W], for each of the G groups of channels. Outside the picture x is 0.
    """
    n, channels, height, width = x.shape
    side = weight.shape[-1]
    taps = side * side
    groups = mask.shape[1] // taps
    exact = torch.float64 if x.dtype == torch.float64 else torch.float32
    around = torch.arange(side, device=x.device, dtype=exact) - side // 2
    tap_y, tap_x = (steps.reshape(taps, 1, 1) for steps in torch.meshgrid(around, around, indexing="ij"))
    shift = offset.to(exact).view(n * groups, taps, 2, height, width)
    x_pixel, y_pixel = pixel_grid(shift)
    at_x = x_pixel + tap_x + shift[:, :, 1]  # [N*G,k*k,H,W]
    at_y = y_pixel + tap_y + shift[:, :, 0]
    grid = torch.stack([(2 * at_x + 1) / width - 1, (2 * at_y + 1) / height - 1], -1)
    parts = x.to(exact).view(n * groups, channels // groups, height, width)
    grid = grid.view(n * groups, taps * height, width, 2)
    seen = F.grid_sample(parts, grid, "bilinear", "zeros", align_corners=False).to(x.dtype)
    seen = seen * mask.reshape(n * groups, 1, taps * height, width)
    columns = seen.view(n, channels * taps, height * width)
    result = (weight.view(len(weight), -1) @ columns).view(n, len(weight), height, width)
    return result if bias is None else result + bias[:, None, None]
