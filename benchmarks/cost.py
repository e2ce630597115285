"""What a whole video costs: floating-point operations, counted at full size without computing anything.

    python benchmarks/cost.py [--write]

Every network runs once on torch's meta device under its operation counter; a video's sum follows from how often each is
called. "published" is the systems' own way (30 × 2 or 50 × 2 passes, the product's tokens projected again for each
frame and pixel); the least seconds are those at 60 % of what a GPU's tensor cores do in dense bf16.
"""

import argparse
from functools import cache

import torch
from crafters.models.anchorcrafter.schedule import FAST, guided_steps
from crafters.models.anchorcrafter.system import AnchorConfig, AnchorCrafter
from crafters.models.anicrafter.embedders import Embedders
from crafters.models.windows import ring_windows
from results import RESULTS, note
from torch.utils.flop_counter import FlopCounterMode

GPUS = {"H200": 790e12, "RTX 4090": 165e12, "RTX 4060 8 GB": 60e12}  # dense bf16, multiply-adds counted as two
SHARE = 0.6
WIDTH, HEIGHT, WINDOW = 576, 1024, 11
CLIPS = 24, 72, 240  # driving frames


def flops(call) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad(), torch.device("meta"):
        call()
    return counter.get_total_flops()


@cache
def anchor() -> AnchorCrafter:
    with torch.device("meta"):
        return AnchorCrafter(AnchorConfig()).to("meta")


@cache
def unet_pass(published: bool) -> int:
    """One window of frames through the UNet."""
    from diffusers import UNetSpatioTemporalConditionModel

    h, w, tokens = HEIGHT // 8, WIDTH // 8, 21
    unet = anchor().unet
    if not published:
        arguments = (1, WINDOW, 12, h, w), (1, tokens, 1024)
        return flops(lambda: unet.predict(torch.empty(arguments[0]), torch.tensor(1.0), torch.empty(arguments[1]),
                                          torch.empty(1, 3), torch.empty(1, WINDOW, 320, h, w)))
    with torch.device("meta"):
        plain = UNetSpatioTemporalConditionModel.from_config(unet.config).to("meta")
    return flops(lambda: plain(torch.empty(1, WINDOW, 12, h, w), torch.tensor(1.0), torch.empty(1, tokens, 1024),
                               torch.empty(1, 3)))


@cache
def shallow_pass() -> int:
    """The same, with the deep part held from a step before."""
    h, w, unet = HEIGHT // 8, WIDTH // 8, anchor().unet
    with torch.device("meta"):
        held = [torch.empty(WINDOW, 320, h, w)]
    return flops(lambda: unet.predict(torch.empty(1, WINDOW, 12, h, w), torch.tensor(1.0), torch.empty(1, 21, 1024),
                                      torch.empty(1, 3), torch.empty(1, WINDOW, 320, h, w), held))


@cache
def conditions() -> dict[str, int]:
    """Of SVD's VAE (an image in, a frame out), CLIP, three views in DINOv2, and a frame in the map networks."""
    from diffusers import AutoencoderKLTemporalDecoder
    from full_size import CLIP_VIT_H, DINOV2_LARGE, SVD_VAE
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Dinov2Config, Dinov2Model

    with torch.device("meta"):
        vae = AutoencoderKLTemporalDecoder(**SVD_VAE).to("meta")  # its mixing factors defy the context
        clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP_VIT_H))
        dinov2 = Dinov2Model(Dinov2Config(**DINOV2_LARGE))
    system, h, w = anchor(), HEIGHT // 8, WIDTH // 8
    return {
        "encode": flops(lambda: vae.encode(torch.empty(1, 3, HEIGHT, WIDTH))),
        "decode": flops(lambda: vae.decode(torch.empty(8, 4, h, w), num_frames=8)) // 8,
        "clip": flops(lambda: clip(torch.empty(1, 3, 224, 224))),
        "dinov2": 3 * flops(lambda: dinov2(torch.empty(1, 3, 518, 518))),
        "maps": flops(lambda: system.pose_net(torch.empty(1, 6, HEIGHT, WIDTH)))
        + flops(lambda: system.track_net(torch.empty(1, 3, HEIGHT, WIDTH))),
    }


def anchor_video(frames: int, guided: list[bool], published: bool = False, interval: int = 1) -> float:
    """frames: of the driving clip. guided: by step, whether there is a pass without conditions too. interval: the whole
    network is computed in every so many steps, and in the first guided one after it."""
    once, clip = conditions(), frames + 1
    passes, held = 0.0, set()
    for step, both in enumerate(guided):
        held = held if step % interval else set()
        kinds = {True, False} if both else {True}
        cost = sum(shallow_pass() if kind in held else unet_pass(published) for kind in kinds)
        passes += len(ring_windows(clip, WINDOW, step)) * cost
        held = held | kinds
    return 2 * once["encode"] + once["clip"] + once["dinov2"] + clip * (once["maps"] + once["decode"]) + passes


@cache
def wan(width: int, height: int, frames: int) -> dict[str, int]:
    """Of Wan 14B with AniCrafter's tokens: a pass, the embedders, the VAE each way, CLIP; the LoRA is merged."""
    from diffusers import AutoencoderKLWan, WanTransformer3DModel
    from full_size import CLIP_VIT_H
    from transformers import CLIPVisionConfig, CLIPVisionModel

    layers, latent = 40, (frames + 3) // 4
    with torch.device("meta"):
        few = {
            count: WanTransformer3DModel(num_attention_heads=40, ffn_dim=13824, num_layers=count, in_channels=36,
                                         image_dim=1280, added_kv_proj_dim=5120)
            for count in (1, 2)
        }
        vae, clip = AutoencoderKLWan(), CLIPVisionModel(CLIPVisionConfig(**CLIP_VIT_H))
        stacks = Embedders(5120)
    h, w = height // 8, width // 8
    one, two = (flops(lambda net=net: net(torch.empty(1, 36, latent, h, w), torch.zeros(1), torch.empty(1, 512, 4096),
                                          torch.empty(1, 257, 1280))) for net in few.values())
    clip_of = [flops(lambda n=n: vae.encode(torch.empty(1, 3, n, height, width))) for n in (5, 9)]
    frames_of = [flops(lambda n=n: vae.decode(torch.empty(1, 16, n, h, w))) for n in (2, 3)]
    by_fours = lambda pair: pair[1] + (latent - 3) * (pair[1] - pair[0])  # noqa: E731
    return {
        "pass": one + (layers - 1) * (two - one),
        "embed": sum(flops(lambda stack=stack: stack(torch.empty(1, 4, frames + 3, height, width)))
                     for stack in (stacks.blend_embedding, stacks.smplx_embedding)),
        "encode": by_fours(clip_of),
        "decode": by_fours(frames_of),
        "clip": flops(lambda: clip(torch.empty(1, 3, 224, 224))),
    }


def wan_video(width: int, height: int, frames: int, passes: int) -> float:
    once = wan(width, height, frames)
    return once["embed"] + once["encode"] + once["clip"] + passes * once["pass"] + once["decode"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"add the table to {RESULTS.name}")
    args = parser.parse_args()
    rows, every = [], [True] * 30
    fast = guided_steps(FAST["steps"], FAST["guidance_from"], FAST["guidance_until"])
    for frames in CLIPS:
        published = anchor_video(frames, every, published=True)
        for name, cost in (("published", published), ("30 steps", anchor_video(frames, every)),
                           ("fast", anchor_video(frames, fast, interval=FAST["cache_interval"]))):
            rows.append((f"AnchorCrafter {WIDTH}×{HEIGHT}, {frames} frames", name, cost, published))
    for width, height in ((832, 480), (1280, 720)):
        published = wan_video(width, height, 81, 100)
        for name, passes in (("50 × 2", 100), ("10 × 1", 10), ("4 × 1", 4)):
            cost = wan_video(width, height, 81, passes)
            rows.append((f"AniCrafter {width}×{height}, 81 frames", name, cost, published))
    gpus = " | ".join(f"s, {gpu}" for gpu in GPUS)
    heading = (
        "\n## Cost of a video, counted (`benchmarks/cost.py`)\n\n"
        f"| video | sampling | PFLOP | share | {gpus} |\n" + "|---" * (4 + len(GPUS)) + "|\n"
    )
    lines = []
    for what, name, cost, published in rows:
        seconds = " | ".join(f"{cost / (SHARE * rate):.0f}" for rate in GPUS.values())
        lines.append(f"| {what} | {name} | {cost / 1e15:.2f} | {cost / published:.3f} | {seconds} |")
    print(heading + "\n".join(lines))
    print(f"A UNet pass: {unet_pass(False) / 1e12:.1f} TFLOP, published {unet_pass(True) / 1e12:.1f}.")
    if args.write:
        note(heading, *lines)


if __name__ == "__main__":
    main()
