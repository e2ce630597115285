"""Judge AniCrafter weights on held-out synthetic scenes: PSNR where the person is, against the rendered truth.

    python -m crafters.proof.judge_anicrafter --wan WAN --vae VAE --clip CLIP --prompt PROMPT [--anicrafter FILE]
        [--sheet PNG]

One line per scene and their mean: of the avatar's composite that is fed in, of an avatar without fault in the same,
slightly wrong motion, of the result, and of composite and truth after the VAE alone: what a network that changes
nothing would answer, and what none can exceed by much. Without --anicrafter the transformer is judged alone.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..models.anicrafter import conditions
from ..models.anicrafter.checkpoint import AniCrafter
from ..models.anicrafter.embedders import embed
from ..models.anicrafter.encoders import WanVAE, denormalise, load_clip_vision, load_vae
from ..models.anicrafter.prompt import load_prompts
from ..models.anicrafter.transformer import load_transformer, merge_lora
from ..models.anicrafter.wan import denoise, initial_noise, wan_condition
from ..models.clip_vision import ClipVision
from ..models.loaded import Loaded
from ..scenes.anicrafter_data import AvatarScene, composite, make_avatar_scene
from ..scenes.avatar import scene_avatar
from .demo import SMALL
from .judge import Judgement, clip_psnr, judge_parser, report, sheet_moving

GAUSSIANS = 20_000  # of the best avatar


@dataclass(frozen=True)
class Networks:
    """As the self-contained nodes load them; `embedders` is None where the transformer stands alone."""

    transformer: Loaded
    embedders: Loaded | None
    vae: WanVAE
    clip: ClipVision
    texts: tuple[torch.Tensor, torch.Tensor]


def load(wan: Path, anicrafter: Path | None, vae: Path, clip: Path, prompt: Path) -> Networks:
    """In float32. Raises CheckpointError."""
    transformer, embedders = load_transformer(wan, torch.float32), None
    if anicrafter:
        weights = AniCrafter.from_files([anicrafter])
        merge_lora(transformer, weights)
        embedders = Loaded(weights.embedders)
    encoders = WanVAE(Loaded(load_vae(vae, torch.float32))), ClipVision(Loaded(load_clip_vision(clip)))
    return Networks(Loaded(transformer), embedders, *encoders, load_prompts(prompt))


@torch.no_grad()
def generate(networks: Networks, shown: AvatarScene, steps: int, guidance: float) -> tuple[np.ndarray, ...]:
    """The result, and composite and truth after the VAE, each uint8 [F, H, W, 3] without the still."""
    blend, mesh, photo, truth = (
        torch.from_numpy(images).float() / 255
        for images in (shown.blend, shown.mesh, shown.photo[None], shown.scene.frames)
    )
    reference = conditions.fit_reference(photo, *blend.shape[1:3])
    scene = conditions.assemble(reference, blend, mesh, 1 - torch.from_numpy(shown.mask).float())
    frames, height, width = scene.latent_size
    dim = networks.transformer.module.patch_embedding.out_channels
    tokens = torch.zeros(1, dim, frames, height // 2, width // 2)
    if networks.embedders:
        tokens = embed(networks.embedders, scene)
    clip = networks.clip.encode_image(conditions.clip_image(reference))
    condition = wan_condition(scene, tokens, networks.vae, clip, *networks.texts)
    latents = denoise(networks.transformer, condition, initial_noise(condition, 0), steps, guidance)
    answers = (denormalise(latents), *(networks.vae.encode(torch.cat([reference, film])) for film in (blend, truth)))
    return tuple((networks.vae.decode(answer)[0, 1:] * 255).round().byte().numpy() for answer in answers)


def judge(networks: Networks, seed: int, frames: int, steps: int, guidance: float) -> tuple[str, Judgement]:
    """A held-out scene's name, PSNR in dB of the clips where the person is and in the room, and a sheet of it."""
    shown = make_avatar_scene(seed, "test", frames=frames, strength=1.0)
    scene = shown.scene
    result, composite_by_vae, truth_by_vae = generate(networks, shown, steps, guidance)
    clips = {
        "composite": shown.blend,
        "best avatar": composite(scene_avatar(scene.person, GAUSSIANS, seed), shown.motion, scene.background),
        "result": result,
        "composite by VAE": composite_by_vae,
        "truth by VAE": truth_by_vae,
    }
    values = {name: clip_psnr(scene.frames, clip, scene.person_mask) for name, clip in clips.items()}
    values |= {f"{name}, room": clip_psnr(scene.frames, clip, ~scene.person_mask) for name, clip in clips.items()}
    return f"{seed} {scene.kind}", (values, sheet_moving(shown, result))


def main() -> None:
    sampler = SMALL["KSampler"]
    parser = judge_parser(__doc__.split("\n")[0], 8, sampler["steps"], sampler["cfg"])
    for name in ("wan", "vae", "clip", "prompt"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--anicrafter", type=Path)
    args = parser.parse_args()
    networks = load(args.wan, args.anicrafter, args.vae, args.clip, args.prompt)
    seeds = range(args.first, args.first + args.count)
    report((judge(networks, seed, args.frames, args.steps, args.guidance) for seed in seeds), args.sheet)


if __name__ == "__main__":
    main()
