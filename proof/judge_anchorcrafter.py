"""Judge AnchorCrafter weights on held-out synthetic scenes, whose truth is rendered.

    python -m crafters.proof.judge_anchorcrafter [--weights FILE] [--first SEED] [--count N] [--shipped [GRAPH]]
        [--sheet PNG]

One line per scene and their mean. "no product" is the same network with the product's tokens and latent zeroed.
The conditions are the scene's own, exactly; --shipped makes them as the shipped graph does, with the demo's networks
(pose found, placed and drawn, pictures through video files), or as `AnchorCrafter directed` does, without any clip.
Encoders and DWPose are the demo's unless named. --ablate hides from the network what it was trained without.
"""

import argparse
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..host.prompt import read_prompt
from ..models.anchorcrafter import encoders
from ..models.anchorcrafter.conditions import ProductTokens, anchor_condition
from ..models.anchorcrafter.generate import decode, generate_latents
from ..models.anchorcrafter.schedule import FAST
from ..models.anchorcrafter.system import AnchorCrafter
from ..models.clip_vision import ClipVision
from ..models.loaded import Loaded
from ..preprocessors.pose.draw_pose import draw_pose
from ..scenes import PORTRAIT
from ..scenes.scene import Scene, make_scene
from .demo import FRAMES, SMALL, WEIGHTS, directed, presenting, small_dwpose
from .embedded import run_embedded
from .judge import Judgement, clip_psnr, judge_parser, judge_presenting, report, sheet_presenting

OWN = WEIGHTS / "crafters"
ABLATIONS = "view_fusion", "hand_mesh"
SHIPPED = {"AnchorCrafter": presenting, "AnchorCrafter directed": directed}


@dataclass(frozen=True)
class Networks:
    model: Loaded
    vae: encoders.FrameVAE
    clip_vision: ClipVision
    dinov2: encoders.DINOv2


def load(weights: Path, svd: Path, dinov2: Path) -> Networks:
    """In float32. Raises CheckpointError."""
    return Networks(
        Loaded(AnchorCrafter.from_file(weights, torch.float32)),
        encoders.FrameVAE(Loaded(encoders.load_vae(svd))),
        ClipVision(Loaded(encoders.load_image_encoder(svd))),
        encoders.DINOv2(Loaded(encoders.load_dinov2(dinov2, torch.float32))),
    )


@torch.inference_mode()
def generate(
    networks: Networks, scene: Scene, product: bool = True, ablate: Collection[str] = (), **sampling
) -> np.ndarray:
    """The clip, uint8 [F, H, W, 3], from the scene's exact conditions.

    ablate: of ABLATIONS, as in `AnchorSettings`; sampling: as for `generate_latents`.
    """

    def images(pictures: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(pictures).float() / 255

    views = images(scene.product_views[[1, 1, 1]] if "view_fusion" in ablate else scene.product_views)
    hands = np.zeros_like(scene.hand_mesh) if "hand_mesh" in ablate else scene.hand_mesh
    person_pose = draw_pose(scene.person_pose, *scene.size, antialias=True)
    condition = anchor_condition(
        networks.model,
        networks.vae,
        networks.clip_vision,
        images(scene.person_photo[None]),
        images(person_pose[None]),
        images(scene.pose_frames),
        ProductTokens(views, networks.dinov2.tokens(views)),
        images(scene.object_depth),
        images(hands),
    )
    if not product:
        context = torch.cat([condition.context[:, :1], torch.zeros_like(condition.context[:, 1:])], 1)
        condition = replace(condition, context=context, object_latent=torch.zeros_like(condition.object_latent))
    frames = decode(generate_latents(networks.model, condition, **sampling), networks.vae)
    return (frames * 255).round().byte().numpy()


def judge_shipped(graph: str, seeds: range) -> Iterator[tuple[str, Judgement]]:
    """What one of SHIPPED makes of the scenes."""
    prompt = read_prompt(Path(f"workflows/api/{graph}.json"))
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            demo = SHIPPED[graph](Path(folder), prompt, seed)
            yield f"{seed}", demo.judge(run_embedded(demo.prompt, WEIGHTS)[0])


def judge_exact(seeds: range, args: argparse.Namespace) -> Iterator[tuple[str, Judgement]]:
    """What the networks make of the scenes' exact conditions, with and without product."""
    networks, dwpose = load(args.weights, args.svd, args.dinov2), small_dwpose()
    guidance = args.guidance, args.guidance
    sampling = {"steps": args.steps, "guidance": guidance, "window": args.window, "seed": args.noise,
                "shared_noise": args.shared_noise}
    sampling |= FAST if args.fast else {}
    for seed in seeds:
        scene = make_scene(seed, "test", PORTRAIT, args.frames)
        result = generate(networks, scene, ablate=args.ablate, **sampling)
        values = judge_presenting(scene, result, dwpose)
        if not args.alone:
            without = generate(networks, scene, product=False, ablate=args.ablate, **sampling)
            values["product PSNR, no product"] = clip_psnr(scene.frames, without, scene.product_mask)
        yield f"{seed} {scene.kind}", (values, sheet_presenting(scene, result))


def main() -> None:
    sampler = SMALL["CraftersAnchorSampler"]
    parser = judge_parser(__doc__.split("\n")[0], FRAMES, sampler["steps"], sampler["guidance_min"])
    parser.add_argument("--weights", type=Path, default=OWN / SMALL["CraftersLoadAnchorCrafter"]["checkpoint"])
    parser.add_argument("--svd", type=Path, default=WEIGHTS / "diffusers" / "svd-small")
    parser.add_argument("--dinov2", type=Path, default=OWN / "dinov2-small")
    parser.add_argument("--window", type=int, default=sampler["window"])
    parser.add_argument("--ablate", nargs="+", choices=ABLATIONS, default=())
    parser.add_argument("--noise", type=int, default=0, metavar="SEED", help="of the sampler; default: %(default)s")
    parser.add_argument("--shared-noise", type=float, default=0.0, help="of all frames, 0 to 1; default: %(default)s")
    parser.add_argument("--fast", action="store_true", help="the fast setting of the sampler")
    parser.add_argument("--alone", action="store_true", help="without the network's video of no product: half the time")
    parser.add_argument("--shipped", nargs="?", const="AnchorCrafter", choices=SHIPPED, metavar="GRAPH",
                        help="by the shipped graph %(const)s or another, with the demo's networks")
    args = parser.parse_args()
    seeds = range(args.first, args.first + args.count)
    report(judge_shipped(args.shipped, seeds) if args.shipped else judge_exact(seeds, args), args.sheet)


if __name__ == "__main__":
    main()
