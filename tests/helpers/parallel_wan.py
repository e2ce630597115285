"""Run by torchrun: does a group of processes denoise as one process does? Writes each one's difference to FOLDER."""

import sys
from pathlib import Path

import torch
from crafters.models.anicrafter.transformer import load_transformer, share_among_processes
from crafters.models.anicrafter.wan import WanCondition, denoise, initial_noise
from crafters.models.loaded import Loaded


def main(folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    transformer = load_transformer(folder / "wan.safetensors", torch.float32)
    alone = load_transformer(folder / "wan.safetensors", torch.float32)
    count = torch.accelerator.device_count()
    # diffusers numbers the accelerators without asking whether there are any: on CPUs there are none.
    torch.accelerator.device_count = lambda: max(1, count)
    share_among_processes(transformer)
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for frames, height, width in ((3, 4, 6), (2, 4, 6)):  # gloo, unlike NCCL, needs equal parts
        tokens, concat, clip, *texts = (
            torch.randn(1, *shape, generator=generator)
            for shape in (
                (256, frames, height // 2, width // 2), (20, frames, height, width), (257, 16), (512, 32), (512, 32)
            )
        )
        condition = WanCondition(tokens, concat, clip, *texts)
        together, single = (
            denoise(Loaded(model), condition, initial_noise(condition, 0), 2, published_rounding=False)
            for model in (transformer, alone)
        )
        worst = max(worst, (together - single).abs().max().item() / single.abs().max().item())
    rank = torch.distributed.get_rank()
    (folder / f"{rank}.txt").write_text(str(worst))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
