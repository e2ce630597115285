"""What `gpu.py` measures of the networks that make videos. Sizes are width × height."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from anchor_sampling import FULL, GUIDANCE
from crafters.host.memory import Managed
from crafters.models.anchorcrafter import encoders as anchor_encoders
from crafters.models.anchorcrafter import sampling
from crafters.models.anchorcrafter.conditions import ProductTokens, anchor_condition, clip_resize
from crafters.models.anchorcrafter.system import AnchorConfig, AnchorCrafter
from crafters.models.anicrafter import schedule
from crafters.models.anicrafter.checkpoint import AniCrafter
from crafters.models.anicrafter.embedders import TILE, Embedders
from crafters.models.anicrafter.encoders import WanVAE
from crafters.models.anicrafter.transformer import HEAD_DIM, merge_lora
from crafters.models.anicrafter.wan import WanCondition, denoise, initial_noise
from crafters.models.checkpoint import DTYPES
from crafters.models.clip_vision import ClipVision
from embedders import measure as measure_embedders
from full_size import CLIP_VIT_H, DINOV2_LARGE, SVD_VAE
from helpers import small_models
from helpers.small_wan import TARGETS
from torch.nn.attention import SDPBackend, sdpa_kernel

BF16, FP16 = torch.bfloat16, torch.float16
STEPS = 30  # AnchorCrafter's default


@dataclass(frozen=True)
class Sizes:
    """Of everything, as published. Frames are those of the video; `side` is of square matrices, `copied` in bytes."""

    side: int = 8192
    copied: int = 2**31
    anchor: AnchorConfig = FULL
    anchor_size: tuple[int, int] = (576, 1024)
    anchor_frames: int = 25
    nets: tuple[dict, dict, dict] = (SVD_VAE, CLIP_VIT_H, DINOV2_LARGE)
    heads: int = 40
    ffn: int = 13824
    layers: int = 40
    rank: int = 128
    wan_sizes: tuple[tuple[int, int], ...] = ((832, 480), (1280, 720))
    wan_frames: int = 81
    vae_width: int = 96
    gaussians: int = 40_000
    pictures: tuple[tuple[int, int], ...] = ((1280, 720), (640, 360), (3840, 2160))
    motion: int = 300
    clips: tuple[tuple[int, int], ...] = ((640, 360), (832, 480))
    clip_frames: int = 81


TINY = Sizes(
    side=256,
    copied=2**20,
    anchor=small_models.ANCHOR,
    anchor_size=(64, 128),
    anchor_frames=13,
    nets=(small_models.VAE, small_models.CLIP, small_models.DINOV2),
    heads=2,
    ffn=256,
    layers=2,
    rank=4,
    wan_sizes=((96, 64), (64, 64)),
    wan_frames=13,
    vae_width=8,
    gaussians=400,
    pictures=((64, 36),),
    motion=20,
    clips=((136, 128),),
    clip_frames=3,
)


def sizes(run) -> Sizes:
    return TINY if run.tiny else Sizes()


@contextmanager
def building(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """What is built in here is made on `device` in `dtype` at once: 16 billion weights in float32 would not fit."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            yield
    finally:
        torch.set_default_dtype(before)


def ceilings(run) -> None:
    """What a matrix product, a copy and attention reach on this GPU."""
    size, times = sizes(run), 20
    with building(run.device, BF16):
        a, b = torch.randn(size.side, size.side), torch.randn(size.side, size.side)
    out = a @ b
    flops = 2 * size.side**3
    seconds = run.measure(
        f"matrix product {size.side}³, bf16",
        lambda: [torch.mm(a, b, out=out) for _ in range(times)],
        times,
        flops * times,
    )
    run.attainable = flops / seconds
    source = torch.randn(size.copied // 4, device=run.device)
    target = source.clone()
    run.measure(
        "copy on the device",
        lambda: [target.copy_(source) for _ in range(times)],
        times,
        0,
        note=lambda seconds, _: f"{2 * size.copied / seconds / 1e12:.2f} TB/s, read and written",
    )
    width, height = size.wan_sizes[0]
    tokens = ((size.wan_frames - 1) // 4 + 1) * (height // 16) * (width // 16)
    with building(run.device, BF16):
        q, k, v = torch.randn(3, 1, size.heads, tokens, HEAD_DIM)
    choices = {
        "torch's choice": nullcontext(),
        "FlashAttention": sdpa_kernel(SDPBackend.FLASH_ATTENTION),
        "cuDNN": sdpa_kernel(SDPBackend.CUDNN_ATTENTION),
    }
    for name, chosen in choices.items():
        with run.section(f"attention, {name}"), chosen:
            run.measure(
                f"attention of one block of Wan, {width}×{height}×{size.wan_frames}, bf16, {name}",
                lambda: F.scaled_dot_product_attention(q, k, v),
            )


def anchor(run) -> None:
    """AnchorCrafter: conditions, sampling, decoding."""
    from diffusers import AutoencoderKLTemporalDecoder
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Dinov2Config, Dinov2Model

    size = sizes(run)
    (width, height), frames = size.anchor_size, size.anchor_frames
    svd, clip, dinov2 = size.nets
    with building(run.device, BF16):
        vae = anchor_encoders.FrameVAE(Managed(AutoencoderKLTemporalDecoder(**svd)))
    with building(run.device, FP16):
        clip = ClipVision(Managed(CLIPVisionModelWithProjection(CLIPVisionConfig(**clip))))
        dinov2 = anchor_encoders.DINOv2(Managed(Dinov2Model(Dinov2Config(**dinov2))))
    with building(run.device, BF16):
        system = AnchorCrafter(size.anchor)
        for net in (system.pose_net, system.track_net):  # not zero as before training
            torch.nn.init.normal_(net.final_proj.weight, std=0.1)
    person, drawing = torch.rand(2, 1, height, width, 3)
    pose, depth, hand = torch.rand(3, frames - 1, height, width, 3)
    views = torch.rand(3, dinov2.SIZE, dinov2.SIZE, 3)
    what = f"{width}×{height}"
    run.measure(f"SVD's VAE encodes an image, {what}, bf16", lambda: vae.encode(person))
    run.measure("CLIP ViT-H, an image, fp16", lambda: clip.encode_image(clip_resize(person), crop=False))
    run.measure("DINOv2 large, three views, fp16", lambda: dinov2.tokens(views))
    product = ProductTokens(views, dinov2.tokens(views))
    model = Managed(system)
    inputs = (person, drawing, pose, product, depth, hand)
    run.measure(f"all conditions of {frames - 1} frames, {what}", lambda: anchor_condition(model, vae, clip, *inputs))
    condition = anchor_condition(model, vae, clip, *inputs)
    noise = sampling.initial_noise(condition, 11, 0)
    for name, rows in (("bf16", 0), ("fp16", 0), ("bf16", 1)):
        system.to(DTYPES[name])
        calls = []

        def steps(count, rows=rows, calls=calls):
            on_call = lambda done, total: calls.append(done)  # noqa: E731
            return sampling.sample(model, condition, noise, count, GUIDANCE, rows=rows, on_call=on_call)

        flops = run.count(lambda: steps(1))
        run.measure(
            f"AnchorCrafter, a step of {frames} frames, {what}, {name}, {calls[0]} passes a call",
            lambda: steps(3),
            3,
            3 * flops,
            note=lambda seconds, latents: f"{STEPS} steps: about {STEPS * seconds:.0f} s{_finite(latents)}",
        )
    latents = torch.randn(8, *condition.image_latent.shape[1:])
    run.measure(f"SVD's VAE decodes, a frame of 8, {what}, bf16", lambda: vae.decode(latents), len(latents))


def _finite(numbers: torch.Tensor) -> str:
    return "" if numbers.isfinite().all() else "; not finite with these weights"


def wan(run) -> None:
    """AniCrafter: Wan's transformer with the added tokens and the LoRA."""
    from diffusers import WanTransformer3DModel

    size = sizes(run)
    dim = size.heads * HEAD_DIM
    with building(run.device, BF16):
        transformer = WanTransformer3DModel(
            num_attention_heads=size.heads,
            ffn_dim=size.ffn,
            num_layers=size.layers,
            in_channels=36,
            image_dim=1280,
            added_kv_proj_dim=dim,
        )
    rope = transformer.rope  # its tables are in float32
    transformer.rope = type(rope)(HEAD_DIM, rope.patch_size, rope.max_seq_len)
    _merge(run, transformer, size)
    model = Managed(transformer)
    model.load()
    for nth, (width, height) in enumerate(size.wan_sizes):
        latent = (size.wan_frames - 1) // 4 + 1, height // 8, width // 8
        condition = WanCondition(
            torch.randn(1, dim, latent[0], height // 16, width // 16, dtype=BF16, device=run.device).cpu(),
            torch.randn(1, 20, *latent),
            torch.randn(1, 257, 1280),
            *torch.randn(2, 1, 512, 4096),
        )
        noise = initial_noise(condition, 0)

        def step(guidance, condition=condition, noise=noise):
            return denoise(model, condition, noise, 1, guidance)

        def note(seconds, latents):
            steps = schedule.STEPS
            return f"{steps} steps: about {steps * seconds:.0f} s{_finite(latents)}"

        what = f"AniCrafter, a step, {width}×{height}×{size.wan_frames}, bf16"
        flops = run.count(lambda: step(1)) if nth == 0 else None
        run.measure(f"{what}, without guidance", lambda: step(1), 1, flops, cold=nth > 0, note=note)
        if nth == 0:
            run.measure(f"{what}, with guidance", lambda: step(schedule.GUIDANCE), 1, 2 * flops, note=note)
        with sdpa_kernel([SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.MATH], set_priority=True):
            run.measure(f"{what}, without guidance, cuDNN's attention", lambda: step(1), cold=True, note=note)


def _merge(run, transformer, size: Sizes) -> None:
    dim, lora = size.heads * HEAD_DIM, {}
    with building(run.device, BF16):
        for target in TARGETS:
            inside, outside = (size.ffn if target == end else dim for end in ("ffn.2", "ffn.0"))
            for block in range(size.layers):
                pair = torch.randn(size.rank, inside), 1e-4 * torch.randn(outside, size.rank)
                lora[f"blocks.{block}.{target}"] = pair
    weights = AniCrafter(Embedders(dim), lora)
    run.measure(f"LoRA of rank {size.rank} merged, on the GPU", lambda: merge_lora(transformer, weights), 1, 0)


def wan_vae(run) -> None:
    """Wan's VAE on whole clips."""
    from diffusers import AutoencoderKLWan

    size = sizes(run)
    frames = size.wan_frames
    with building(run.device, BF16):
        vae = WanVAE(Managed(AutoencoderKLWan(base_dim=size.vae_width)))
    for width, height in size.wan_sizes:
        clip = torch.rand(frames, height, width, 3)
        latents = torch.randn(1, 16, (frames + 3) // 4, height // 8, width // 8)
        works = {
            "encodes": lambda n, clip=clip: vae.encode(clip[:n]),
            "decodes": lambda n, latents=latents: vae.decode(latents[:, :, : (n + 3) // 4]),
        }
        for does, work in works.items():
            _by_fours(run, f"Wan's VAE {does}, {width}×{height}×{frames}, bf16", work, frames)


def _by_fours(run, what: str, work: Callable[[int], torch.Tensor], frames: int) -> None:
    """`work` on so many frames: the first, then four by four. The shortest clips warm up, and tell the FLOPs of all."""
    with run.section(what):
        five, nine = run.count(lambda: work(5)), run.count(lambda: work(9))
        flops = nine + (frames - 9) // 4 * (nine - five)
        run.measure(what, lambda: work(frames), 1, flops)


def embedders(run) -> None:
    """AniCrafter's embedders, as `embedders.py` measures them."""
    size = sizes(run)
    frames = size.wan_frames
    for width, height in size.wan_sizes:
        whole = (frames - 1) // 4 + 1, height // 16, width // 16
        for how, tile in (("in tiles", TILE), ("whole", whole)):
            with run.section(f"embedders, {width}×{height}, {how}"):
                seconds, peak = measure_embedders((width, height), frames, "fp32", tile)
                what = f"AniCrafter's embedders, {width}×{height}×{frames}, fp32, {how}"
                run.note(what, seconds, 0, 0, peak, "peak beyond the weights")
