"""Judge AniCrafter weights on held-out synthetic scenes: PSNR where the person is, against the rendered truth.

    python -m crafters.proof.judge_anicrafter --wan WAN --vae VAE --clip CLIP --prompt PROMPT [--anicrafter FILE]
        [--sheet PNG]

One line per scene and their mean: of the avatar's composite that is fed in, of an avatar without fault in the same,
slightly wrong motion, of the result, and of composite and truth after the VAE alone: what a network that changes
nothing would answer, and what none can exceed by much. Without --anicrafter the transformer is judged alone.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..metrics.pixels import psnr
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

GAUSSIANS = 20_000  # of the best avatar
CLIPS = ("composite", "best avatar", "result", "composite by VAE", "truth by VAE")
COLUMNS = (*CLIPS, *(f"{name}, room" for name in CLIPS))


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


def scores(shown: AvatarScene, clips: Sequence[np.ndarray]) -> list[float]:
    """dB of the clips where the person is, then in the room: means over the frames."""
    truth, person = shown.scene.frames, shown.scene.person_mask
    return [
        float(np.mean([psnr(*frame) for frame in zip(truth, images, region, strict=True)]))
        for region in (person, ~person)
        for images in clips
    ]


def sheet(shown: AvatarScene, result: np.ndarray) -> np.ndarray:
    """uint8 [4·H, 5·W, 3]: the photo and four frames of mesh, composite, result and truth."""
    reference = conditions.fit_reference(torch.from_numpy(shown.photo[None]).float() / 255, *result.shape[1:3])
    first = (reference[0] * 255).byte().numpy()
    picked = np.linspace(0, len(result) - 1, 4).round().astype(int)
    rows = (shown.mesh, shown.blend, result, shown.scene.frames)
    return np.concatenate([np.concatenate([first, *row[picked]], 1) for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("wan", "vae", "clip", "prompt"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--anicrafter", type=Path)
    parser.add_argument("--count", type=int, default=8, help="held-out scenes; default: %(default)s")
    parser.add_argument("--frames", type=int, default=8, help="driving frames, a multiple of 4; default: %(default)s")
    sampler = SMALL["KSampler"]
    parser.add_argument("--steps", type=int, default=sampler["steps"])
    parser.add_argument("--guidance", type=float, default=sampler["cfg"])
    parser.add_argument("--sheet", type=Path, help="write a picture of the scenes there")
    args = parser.parse_args()
    networks = load(args.wan, args.anicrafter, args.vae, args.clip, args.prompt)
    table, sheets = [], []
    print(f"{'scene':>16}", *(f"{name:>22}" for name in COLUMNS))
    for seed in range(args.count):
        shown = make_avatar_scene(seed, "test", frames=args.frames, strength=1.0)
        result, *by_vae = generate(networks, shown, args.steps, args.guidance)
        best = composite(scene_avatar(shown.scene.person, GAUSSIANS, seed), shown.motion, shown.scene.background)
        table.append(scores(shown, (shown.blend, best, result, *by_vae)))
        sheets.append(sheet(shown, result))
        print(f"{f'{seed} {shown.scene.kind}':>16}", *(f"{value:22.2f}" for value in table[-1]), flush=True)
    print(f"{'mean':>16}", *(f"{value:22.2f}" for value in np.mean(table, 0)))
    if args.sheet:
        from PIL import Image

        Image.fromarray(np.concatenate(sheets)).save(args.sheet)


if __name__ == "__main__":
    main()
