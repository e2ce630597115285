"""Judge AnchorCrafter weights on held-out synthetic scenes, whose truth is rendered.

    python -m crafters.proof.judge_anchorcrafter [--weights FILE] [--first SEED] [--count N] [--shipped] [--sheet PNG]

One line per scene and their mean. "no product" is the same network with the product's tokens and latent zeroed.
The conditions are the scene's own, exactly; --shipped makes them as the shipped graph does, with the demo's networks
(pose found, placed and drawn, pictures through video files).
Encoders and DWPose are the demo's unless named. --ablate hides from the network what it was trained without.
"""

import argparse
import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..host.prompt import read_prompt
from ..metrics.pixels import psnr
from ..models.anchorcrafter import encoders, sampling
from ..models.anchorcrafter.conditions import ProductTokens, anchor_condition
from ..models.anchorcrafter.system import AnchorCrafter
from ..models.clip_vision import ClipVision
from ..models.loaded import Loaded
from ..preprocessors.pose.draw_pose import draw_pose
from ..scenes.scene import Scene, make_scene
from .demo import FRAMES, PORTRAIT, SMALL, WEIGHTS, presenting, small_dwpose
from .embedded import run_embedded
from .judge import judge_presenting, sheet_presenting

OWN = WEIGHTS / "crafters"
ABLATIONS = "view_fusion", "hand_mesh"


@torch.inference_mode()
def generate(
    model: Loaded,
    nets: tuple,
    scene: Scene,
    steps: int,
    guidance: float,
    window: int,
    product: bool = True,
    ablate: Collection[str] = (),
) -> np.ndarray:
    """The clip, uint8 [F, H, W, 3], from the scene's exact conditions. nets: FrameVAE, ClipVision, DINOv2.

    ablate: of ABLATIONS, as in `AnchorSettings`.
    """
    vae, clip_vision, dinov2 = nets

    def images(pictures: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(pictures).float() / 255

    views = images(scene.product_views[[1, 1, 1]] if "view_fusion" in ablate else scene.product_views)
    hands = np.zeros_like(scene.hand_mesh) if "hand_mesh" in ablate else scene.hand_mesh
    person_pose = draw_pose(scene.person_pose, *scene.size, antialias=True)
    condition = anchor_condition(
        model,
        vae,
        clip_vision,
        images(scene.person_photo[None]),
        images(person_pose[None]),
        images(scene.pose_frames),
        ProductTokens(views, dinov2.tokens(views)),
        images(scene.object_depth),
        images(hands),
    )
    if not product:
        context = torch.cat([condition.context[:, :1], torch.zeros_like(condition.context[:, 1:])], 1)
        condition = replace(condition, context=context, object_latent=torch.zeros_like(condition.object_latent))
    noise = sampling.initial_noise(condition, window, 0)
    latents = sampling.sample(model, condition, noise, steps, (guidance, guidance), window)
    frames = sampling.decode(sampling.unscale(latents).cpu(), vae, 8)
    return (frames * 255).round().byte().numpy()


def judge_shipped(seed: int) -> tuple[dict[str, float], np.ndarray]:
    """What the shipped graph makes of a scene, and the picture of it."""
    with tempfile.TemporaryDirectory() as folder:
        demo = presenting(Path(folder), read_prompt(Path("workflows/api/AnchorCrafter.json")), seed)
        return demo.judge((run_embedded(demo.prompt, WEIGHTS) * 255).round().byte().numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=Path, default=OWN / SMALL["CraftersLoadAnchorCrafter"]["checkpoint"])
    parser.add_argument("--svd", type=Path, default=WEIGHTS / "diffusers" / "svd-small")
    parser.add_argument("--dinov2", type=Path, default=OWN / "dinov2-small")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first held-out scene; default: 0")
    parser.add_argument("--count", type=int, default=8, help="held-out scenes; default: %(default)s")
    parser.add_argument("--frames", type=int, default=FRAMES)
    sampler = SMALL["CraftersAnchorSampler"]
    parser.add_argument("--steps", type=int, default=sampler["steps"])
    parser.add_argument("--guidance", type=float, default=sampler["guidance_min"])
    parser.add_argument("--window", type=int, default=sampler["window"])
    parser.add_argument("--ablate", nargs="+", choices=ABLATIONS, default=())
    parser.add_argument("--shipped", action="store_true", help="by the shipped graph, with the demo's networks")
    parser.add_argument("--sheet", type=Path, help="write a picture of the scenes there")
    args = parser.parse_args()

    model = Loaded(AnchorCrafter.from_file(args.weights, torch.float32))
    nets = (
        encoders.FrameVAE(Loaded(encoders.load_vae(args.svd))),
        ClipVision(Loaded(encoders.load_image_encoder(args.svd))),
        encoders.DINOv2(Loaded(encoders.load_dinov2(args.dinov2, torch.float32))),
    )
    dwpose = small_dwpose()
    rows, sheets = [], []
    for seed in range(args.first, args.first + args.count):
        if args.shipped:
            row, sheet = judge_shipped(seed)
            rows.append(row)
            sheets.append(sheet)
            print(seed, *(f"{name} {value:.3g};" for name, value in row.items()), flush=True)
            continue
        scene = make_scene(seed, "test", PORTRAIT, args.frames)
        settings = args.steps, args.guidance, args.window
        result = generate(model, nets, scene, *settings, ablate=args.ablate)
        without = generate(model, nets, scene, *settings, product=False, ablate=args.ablate)
        row = judge_presenting(scene, result, dwpose)
        pairs = zip(scene.frames, without, scene.product_mask, strict=True)
        row["product PSNR, no product"] = float(np.nanmean([psnr(*pair) for pair in pairs]))
        rows.append(row)
        print(seed, scene.kind, *(f"{name} {value:.3g};" for name, value in row.items()), flush=True)
        sheets.append(sheet_presenting(scene, result))
    print("mean", *(f"{name} {np.nanmean([row[name] for row in rows]):.3g};" for name in rows[0]))
    if args.sheet:
        from PIL import Image

        Image.fromarray(np.concatenate(sheets)).save(args.sheet)


if __name__ == "__main__":
    main()
