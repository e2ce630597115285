"""What an AnchorCrafter training is told beside the loop's settings."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from ...models.anchorcrafter.system import AnchorConfig
from ..settings import BelowOne, checked

Side = Annotated[int, Field(ge=64, multiple_of=64)]


@checked
class AnchorSettings:
    """What to train, on what, and how the loss is drawn. The defaults are the published fine-tuning's.

    data: folder in the published layout (`training.datasets.anchorcrafter`); held_out: another one, for previews (else
    `data`). svd: folder with vae/ and image_encoder/; dinov2: folder or file. cache: folder that keeps what they
    answer, shared by runs; cache_films: also for whole films, which need not be decoded and encoded again for every
    sample; resident: all of it is on the device that computes besides, which a fast one with room for the clips wants.
    vae_dtype: bf16 is several times faster on CPUs that have it. size: (width, height), multiples of 64. stride:
    between frames of a sample. reference_frame: frame 0 of a sample is the person's photo with its own pose, no hand
    and no product, as at inference; else all are of the film, as published.

    weights: a checkpoint to start from, or `model`: the sizes of networks to start from nothing. train: groups (all,
    unet, pose_net, track_net, object_nets, dual_adapter) or regular expressions that parameter names begin with.
    region: of the HOI-region loss, product and hands (pretrain), product (finetune) or none; region_rate: its weight.
    noise_mean, noise_std: of ln σ. shared_noise: the part of the noise's variance that all frames of a sample share, as
    in Anchor Sampler. augmentation: mean and deviation of ln strength of the noise on both photos, none for photos
    without noise. dropout: p of condition dropout, of which three parts of that size are drawn. fps: as the network is
    told. ablate: what Table 1 of the paper leaves out: dual_adapter (product tokens join the CLIP token in one
    cross-attention), view_fusion (the front view stands for all three), hand_mesh (no hands, neither as condition nor
    in the region), hoi_loss.
    """

    data: Path
    svd: Path
    dinov2: Path
    cache: Path
    held_out: Path | None = None
    cache_films: bool = True
    resident: bool = False
    vae_dtype: Literal["fp32", "fp16", "bf16"] = "fp32"
    size: tuple[Side, Side] = (576, 1024)
    stride: PositiveInt = 2
    reference_frame: bool = False
    weights: Path | None = None
    model: AnchorConfig | None = None
    train: tuple[str, ...] = ("all",)
    region: Literal["pretrain", "finetune", "none"] = "finetune"
    region_rate: PositiveFloat = 1.0
    noise_mean: float = 0.7
    noise_std: NonNegativeFloat = 1.6
    shared_noise: BelowOne = 0.0
    augmentation: tuple[float, float] | None = (-3.0, 0.5)
    dropout: Annotated[float, Field(ge=0, le=1 / 3)] = 0.1
    fps: int = 7
    gradient_checkpointing: bool = False
    ablate: tuple[Literal["dual_adapter", "view_fusion", "hand_mesh", "hoi_loss"], ...] = ()
    export_dtype: Literal["fp32", "fp16", "bf16"] = "fp16"
    preview_steps: PositiveInt = 10
    preview_guidance: float = 1.5

    def __post_init__(self):
        if self.resident and (not self.cache_films or self.augmentation is not None):
            raise ValueError("resident is for latents that are made once: set cache_films and augmentation: null.")
        if (self.weights is None) == (self.model is None):
            raise ValueError("either weights to start from or the sizes of a new model are wanted.")
        if self.model is not None and not self.model.product:
            raise ValueError("model.product must be true: MimicMotion is not trained here.")
