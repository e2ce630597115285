"""AnchorCrafter's object-depth condition of a plain clip: a depth network steadied over time, or a relief."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ...media.frames import gathered, levels, stepped
from ...models.checkpoint import CheckpointError
from ...models.loaded import Loaded
from ...models.normalise import IMAGENET
from ...models.pretrained import from_folder, read_config
from ..condition_colours import depth_pictures, inferno

# model_type of config.json: transformers' class; shorter side; what both sides are multiples of, None for a square
# (transformers' DPT takes no other); mean and deviation of a pixel.
KINDS = {
    "depth_anything": ("DepthAnythingForDepthEstimation", 518, 14, *IMAGENET),
    "dpt": ("DPTForDepthEstimation", 384, None, (0.5,) * 3, (0.5,) * 3),
}
ACTIVATIONS = 2 << 30  # bytes
TRIMMED, ROUNDS = 0.7, 3  # share of the background that fits best and is believed; the rest moved
GROWN = 0.05  # of the picture's longer side: how far from the product background begins
SCALES = 0.5, 2.0  # what a network's scale may change by between two frames; more is a failed fit
# Brightness of the relief: at the silhouette, above it in the middle, by nearness. What ViTA's depth of a held product
# has in the published clips (levels 190 to 225).
RIM, DOME, NEARER = 0.75, 0.12, 0.05


class DepthNetwork:
    """Depth Anything V2 or DPT: inverse depth, nearer is larger, of one picture at a time."""

    def __init__(self, loaded: Loaded):
        """loaded: what `load_depth` answers."""
        self.loaded = loaded
        _, self._side, self._multiple, mean, std = KINDS[loaded.module.config.model_type]
        self._mean, self._std = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)

    @torch.inference_mode()
    def __call__(self, frame: np.ndarray) -> torch.Tensor:
        """float32 [h, w] of a picture uint8 [H, W, 3], at the network's size: square, or near the picture's shape."""
        device = self.loaded.load(ACTIVATIONS)
        size = [self._side] * 2
        if self._multiple:
            scale = self._side / min(frame.shape[:2])
            size = [max(1, round(side * scale / self._multiple)) * self._multiple for side in frame.shape[:2]]
        pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
        pixels = F.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 255)[0] / 255
        pixels = ((pixels - self._mean) / self._std)[None].to(device, self.loaded.dtype)
        return self.loaded.module(pixels).predicted_depth[0].float().cpu()


def load_depth(folder: Path, dtype: torch.dtype | None = None) -> torch.nn.Module:
    """The network of a folder as on the hub (depth-anything/Depth-Anything-V2-Small-hf). Raises CheckpointError."""
    kind = read_config(folder).get("model_type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise CheckpointError(f"{folder.name} is a {kind} model; object depth needs one of {', '.join(KINDS)}.")
    import transformers

    return from_folder(getattr(transformers, KINDS[kind][0]), folder, dtype)


def object_depth(
    images: torch.Tensor,
    mask: torch.Tensor,
    network: Callable[[np.ndarray], torch.Tensor] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """The object-depth condition uint8 RGB [T, H, W, 3], exactly 0 off the product; see `object_depth_pictures`."""
    return gathered(object_depth_pictures(images, mask, network, on_step), len(images))


def object_depth_pictures(
    images: torch.Tensor,
    mask: torch.Tensor,
    network: Callable[[np.ndarray], torch.Tensor] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Iterator[torch.Tensor]:
    """The object-depth condition frame by frame, uint8 RGB [H, W, 3], exactly 0 off the product.

    images: float [T, H, W, 3] in 0…1. mask: [T, H, W] in 0…1, the product's visible pixels. network: `DepthNetwork`;
    its frames are aligned over time on the background, and the clip has one range. Without it, `relief`. Raises
    ValueError for a mask of another clip or an empty one.
    """
    visible = (mask >= 0.5).cpu()
    if visible.shape != images.shape[:3]:
        sizes = [f"{len(part)} frames of {part.shape[2]}x{part.shape[1]}" for part in (visible, images)]
        raise ValueError(f"The mask has {sizes[0]}, the clip {sizes[1]}: make the mask from this very clip.")
    if not visible.any():
        raise ValueError("The product is visible in no frame of the mask: segment the product first.")
    if network is None:
        yield from relief_pictures(visible, on_step)
        return
    steady, depth = Steady(), []
    for frame in stepped(range(len(images)), on_step):
        depth.append(steady(network(levels(images[frame, ..., :3])), visible[frame]).half())
    yield from depth_pictures(depth, visible)


class Steady:
    """Brings a network's depth, whose scale and offset wander, to those of the frame before, by the background."""

    def __init__(self):
        self._before: torch.Tensor | None = None
        self._background: torch.Tensor | None = None

    def __call__(self, depth: torch.Tensor, product: torch.Tensor) -> torch.Tensor:
        """depth: float [h, w]; product: bool [H, W], not background. Answers the depth in the first frame's terms."""
        size = depth.shape
        near = F.interpolate(product[None, None].float(), size, mode="bilinear", antialias=True)
        reach = max(1, round(GROWN * max(size)))
        background = F.max_pool2d(near, 2 * reach + 1, 1, reach)[0, 0] == 0
        if self._before is not None:
            shared = background & self._background
            depth = _fitted(depth, self._before, shared)
        self._before, self._background = depth, background
        return depth


def _fitted(depth: torch.Tensor, target: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
    """a·depth + b, closest to the target on the shared background, of which what moved is left out."""
    x, y = depth[shared].double(), target[shared].double()
    for _ in range(ROUNDS):
        if len(x) < 2 or float(x.var()) <= 1e-12:
            return depth
        a = float(((x - x.mean()) * (y - y.mean())).mean() / x.var(correction=0))
        b = float(y.mean() - a * x.mean())
        off = (a * x + b - y).abs()
        kept = off <= off.kthvalue(max(1, round(TRIMMED * len(off)))).values
        x, y = x[kept], y[kept]
    return a * depth + b if SCALES[0] <= a <= SCALES[1] else depth


def relief(visible: torch.Tensor, on_step: Callable[[int, int], None] | None = None) -> torch.Tensor:
    """Depth without a network, uint8 RGB [T, H, W, 3]: a dome on the product, brighter where it appears larger.

    visible: bool [T, H, W]. The dome stands on the outline that fingers do not bite into: the hull of what is seen.
    """
    return gathered(relief_pictures(visible, on_step), len(visible))


def relief_pictures(
    visible: torch.Tensor, on_step: Callable[[int, int], None] | None = None
) -> Iterator[torch.Tensor]:
    """The frames of `relief`, each made when it is asked for."""
    import cv2

    areas = visible.flatten(1).sum(1).float()
    usual = areas[areas > 0].median()
    for frame in stepped(range(len(visible)), on_step):
        seen = visible[frame]
        colours = torch.zeros(*seen.shape, 3, dtype=torch.uint8)
        if not seen.any():
            yield colours
            continue
        points = np.ascontiguousarray(np.argwhere(seen.numpy())[:, ::-1], dtype=np.int32)
        hull = np.zeros(seen.shape, np.uint8)
        cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
        inward = cv2.distanceTransform(hull, cv2.DIST_L2, 5)
        height = RIM + DOME * np.sqrt(inward / inward.max()) + NEARER * float(torch.log(areas[frame] / usual))
        level = torch.from_numpy((255 * height.clip(0.2, 1)).astype(np.uint8))
        colours[seen] = inferno(level[seen])
        yield colours
