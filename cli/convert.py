"""`crafters convert` and `crafters cache-prompt`: one plain file of published ones."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..host.folders import OWN, new_model
from ..host.prompt import UsageError


def register(commands) -> None:
    """Add `convert` and `cache-prompt` to the sub-commands of `crafters`."""
    convert = commands.add_parser("convert", help="write one plain file from published ones")
    convert.add_argument("what", choices=["anchorcrafter", "anicrafter", "sapiens"])
    convert.add_argument("files", nargs="+", type=Path, help="AnchorCrafter's or MimicMotion's file; AniCrafter's last "
                         "two shards; Sapiens' TorchScript file")
    convert.add_argument("--out", type=Path, help="default: WHAT.safetensors in models/crafters; of AnchorCrafter the "
                         "file's name with its number type")
    convert.add_argument("--dtype", choices=["fp32", "fp16", "bf16"],
                         help="default: AnchorCrafter fp16, LoRA as published, Sapiens bf16")
    convert.set_defaults(command=_convert)

    prompt = commands.add_parser("cache-prompt", help="encode AniCrafter's prompt once; UMT5 is not needed again")
    prompt.add_argument("encoder", type=Path, help="UMT5: ComfyUI's single file, or a diffusers pipeline's folder")
    prompt.add_argument("--out", type=Path, help="default: anicrafter_prompt.safetensors in models/crafters")
    prompt.set_defaults(command=_cache_prompt)


def _convert(args: argparse.Namespace) -> int:
    from ..models.checkpoint import DTYPES

    name = args.what
    if args.what == "anchorcrafter":  # there are several
        args.dtype = args.dtype or "fp16"
        name = f"{args.files[0].stem}_{args.dtype}"
    out = args.out or new_model(f"{name}.safetensors", OWN)
    if args.what == "anchorcrafter":
        from ..models.anchorcrafter.system import convert as convert_anchorcrafter

        if len(args.files) != 1:
            raise UsageError("AnchorCrafter is one file: name AnchorCrafter-notune.pth, or another of its kind, alone.")
        convert_anchorcrafter(args.files[0], out, DTYPES[args.dtype])
    elif args.what == "anicrafter":
        from ..models.anicrafter.checkpoint import convert

        convert(args.files, out, DTYPES.get(args.dtype))
    else:
        from ..models.avatar.lhm.convert import convert_sapiens

        if len(args.files) != 1:
            raise UsageError("Sapiens is one file: name sapiens_1b_epoch_173_torchscript.pt2 alone.")
        convert_sapiens(args.files[0], out, DTYPES[args.dtype or "bf16"])
    print(out)
    return 0


def _cache_prompt(args: argparse.Namespace) -> int:
    from ..host.memory import Managed
    from ..models.anicrafter.prompt import NEGATIVE_PROMPT, PROMPT, TextEncoder, load_text_encoder, save_prompts

    out = args.out or new_model("anicrafter_prompt.safetensors", OWN)
    module, tokenize = load_text_encoder(args.encoder)
    encoder = TextEncoder(Managed(module), tokenize)
    save_prompts(out, encoder.encode(PROMPT), encoder.encode(NEGATIVE_PROMPT))
    print(out)
    return 0
