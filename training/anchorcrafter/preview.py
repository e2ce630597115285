"""What an AnchorCrafter in training makes of a held-out clip."""

import numpy as np
import torch

from ...models.anchorcrafter.conditions import MOTION_BUCKET, AnchorCondition
from ...models.anchorcrafter.encoders import FrameVAE
from ...models.anchorcrafter.generate import decode, generate_latents
from ...models.loaded import Loaded
from ...preprocessors.condition_sheet import condition_sheet

COLUMNS = 4


@torch.no_grad()
def preview(task) -> np.ndarray:
    """uint8 [H, W, 3]: the conditions over the person, below them the result, then the truth, for some frames.

    task: an AnchorTask, whose settings say which clip and how many steps.
    """
    settings, encoders, clip, system = task.settings, task.encoders, task.shown, task.trained
    device = next(system.parameters()).device
    numbers = settings.stride * np.arange(task.frames - settings.reference_frame)
    person, product = encoders.person(clip, 0), encoders.product(clip)
    conditions = task.shown_conditions(clip, encoders.read_conditions(clip, numbers))

    shown = conditions.to(device) / 127.5 - 1
    maps = system.pose_net(shown[:, :6]) + system.track_net(shown[:, 6:])
    tokens = system.object_tokens(task.shown_tokens(product["tokens"])[None].to(device))
    context = torch.cat([person["embedding"][None, None].to(device), tokens], 1)
    photos = [photo["moments"][None, :4] for photo in (person, product)]
    condition = AnchorCondition(maps, context, *photos, (settings.fps, MOTION_BUCKET, 0.0))
    options = {"steps": settings.preview_steps, "guidance": (settings.preview_guidance,) * 2}
    latents = generate_latents(_Live(system), condition, window=condition.frames, **options)
    if not settings.reference_frame:  # `decode` drops frame 0, which is the reference at inference only
        latents = torch.cat([latents[:1], latents])
    result = decode(latents, FrameVAE(_Live(encoders.vae)))

    pose, hand, depth = (conditions[-len(result) :].movedim(1, -1).float() / 255).split(3, -1)
    photo = person["pixels"].movedim(0, -1)[None].float() / 255
    truth = encoders.film(clip, numbers).movedim(1, -1).float() / 255
    rows = (condition_sheet(photo, pose, hand, depth, encoders.views(clip)), result, truth)
    columns = np.unique(np.linspace(0, len(result) - 1, COLUMNS).round().astype(int))
    picture = torch.cat([torch.cat(list(row[columns]), 1) for row in rows])
    return (picture * 255).round().byte().numpy()


class _Live(Loaded):
    """A network in the middle of its training: what `Loaded` would freeze stays as it is."""

    def __init__(self, module: torch.nn.Module):
        self.module = module
