"""What an avatar is: a person as 3-D gaussians in a neutral pose."""

import math
from dataclasses import dataclass, fields

import torch

SHAPES = {
    "offset": ("N", 3), "points": ("N", 3), "rgb": ("N", 3), "opacity": ("N", 1), "scale": ("N", 3),
    "rotation": ("N", 4), "neutral_transforms": (55, 4, 4), "betas": (10,),
}


@dataclass(frozen=True, eq=False)
class Avatar:
    """A person as N 3-D gaussians in a neutral pose (LHM, canonical avatar). All tensors are float32 on the CPU.

    SMPL-X axes: y up, the person faces +z, their left is +x; arms out, legs spread by 20°.

    offset, points [N, 3] m: a gaussian is at `points + offset`, `points` lying on the body model's surface.
    rgb [N, 3], opacity [N, 1]: 0..1. scale [N, 3] m: standard deviations. rotation [N, 4]: unit quaternions, wxyz.
    neutral_transforms [55, 4, 4]: per joint, from the neutral pose to SMPL-X's T-pose; all 0 where the pose is not
    known. betas [10]: SMPL-X shape.
    visible_ratio: which part of the body the photo showed, 0..1. has_head: 1 if the head was made from a close-up.

    Raises ValueError, naming the item, for a wrong shape or count, a value that is not finite or out of its range.
    """

    offset: torch.Tensor
    points: torch.Tensor
    rgb: torch.Tensor
    opacity: torch.Tensor
    scale: torch.Tensor
    rotation: torch.Tensor
    neutral_transforms: torch.Tensor
    betas: torch.Tensor
    visible_ratio: float = 1.0
    has_head: int = 0

    def __post_init__(self):
        count = len(self.points) if isinstance(self.points, torch.Tensor) and self.points.ndim else 0
        for name, shape in SHAPES.items():
            tensor = getattr(self, name)
            if not (isinstance(tensor, torch.Tensor) and tensor.is_floating_point()):
                raise ValueError(f"{name} is no tensor of floating-point numbers")
            shape = tuple(count if size == "N" else size for size in shape)
            if tensor.shape != shape:
                raise ValueError(f"{name} has the shape {[*tensor.shape]} instead of {[*shape]}")
            tensor = tensor.detach().to("cpu", torch.float32).contiguous()
            if not tensor.isfinite().all():
                raise ValueError(f"{name} holds a value that is not a finite number")
            object.__setattr__(self, name, tensor)
        if count == 0:
            raise ValueError("there are no gaussians")
        for name, most in (("rgb", 1.0), ("opacity", 1.0), ("scale", math.inf)):
            low, high = getattr(self, name).aminmax()
            if low < 0 or high > most:
                raise ValueError(f"{name} goes from {low:.4g} to {high:.4g}, outside 0..{most:g}")
        if not self.rotation.any(-1).all():
            raise ValueError("rotation holds a quaternion of length 0")
        for name, kind in (("visible_ratio", float), ("has_head", int)):
            value = getattr(self, name)
            if not (isinstance(value, (bool, int, float)) and math.isfinite(value)):
                raise ValueError(f"{name} is {value!r}, not a number")
            object.__setattr__(self, name, kind(value))

    def __len__(self) -> int:
        return len(self.points)

    @property
    def posed(self) -> bool:
        """Whether it is known in which pose the gaussians stand."""
        return bool(self.neutral_transforms.any())

    def xyz(self) -> torch.Tensor:
        """Where the gaussians are in the neutral pose, [N, 3] m."""
        return self.points + self.offset


NAMES = tuple(field.name for field in fields(Avatar))  # also the order of the ten items of a .pth
