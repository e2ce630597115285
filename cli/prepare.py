"""`crafters prepare`: every condition of both systems from plain clips, without ComfyUI; goes on where it stopped."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from ..host import folders
from .numbers import number

NONE = "none"
# Weights: what their file's name holds, its suffixes; without suffixes, a folder.
WEIGHTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "detector": ("yolo", (".onnx",)),
    "pose": ("dw", (".onnx",)),
    "sam": ("sam", ()),
    "depth": ("dep", ()),
    "hamer": ("hamer", (".ckpt", ".safetensors")),
    "mano": ("mano_right", (".pkl",)),
    "body": ("smplx", (".npz",)),
    "multihmr": ("multihmr", (".pt", ".safetensors")),
    "raft": ("raft", (".pth", ".safetensors")),
    "flow": ("flow_completion", (".pth", ".safetensors")),
    "propainter": ("propainter", (".pth", ".safetensors")),
}


def register(commands) -> None:
    """Add `prepare` to the sub-commands of `crafters`."""
    prepare = commands.add_parser(
        "prepare",
        help="make every condition of clips, as nodes or training take them",
        description="Makes poses, masks, object depth, hand meshes, body motion and background of clips, and writes "
        "them into a folder: DIR/anchorcrafter and DIR/anicrafter are training sets, and Keep Conditions reads them in "
        "ComfyUI. What is there and still fits is not made again, so it may be stopped, even killed, at any time. "
        "A file that you changed or put there yourself is used and never overwritten. Clips are best called "
        "<person>_<product>.mp4.",
    )
    prepare.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    prepare.add_argument("--out", type=Path, required=True, metavar="DIR")
    prepare.add_argument("--system", choices=["both", "anchorcrafter", "anicrafter"], default="both", help="whose")
    cut = prepare.add_argument_group("frames")
    cut.add_argument("--first", type=int, default=0, metavar="N", help="frame to begin with; default: %(default)s")
    cut.add_argument("--every", type=int, default=1, metavar="N", help="take every n-th; default: %(default)s")
    cut.add_argument("--frames", type=int, default=0, metavar="N", help="take so many; default: all")
    cut.add_argument("--long-side", type=int, default=1024, metavar="PX", help="at most; default: %(default)s, 0: any")
    product = prepare.add_argument_group("product", "by default, what the hands hold; --click and --box for one clip")
    product.add_argument("--click", type=_numbers(2), metavar="X,Y", help="a point on it, in pixels of the clip")
    product.add_argument("--box", type=_numbers(4), metavar="L,T,R,B", help="a box around it")
    product.add_argument("--at", type=int, default=0, metavar="N", help="the frame they are seen in; default: first")
    product.add_argument(
        "--product", type=Path, nargs="+", default=(), metavar="PHOTO",
        help="its photos: front, left, right; default: from the clip",
    )
    others = prepare.add_argument_group("others")
    others.add_argument("--person", type=Path, metavar="PHOTO", help="also place pose, hands and depth on this person")
    others.add_argument("--short-side", type=int, default=576, metavar="PX", help="of that; default: %(default)s")
    others.add_argument("--avatar", type=Path, metavar="FILE", help="also draw this avatar over the background")
    others.add_argument("--character", type=Path, metavar="PHOTO", help="of it; default: the person of the clip")
    others.add_argument(
        "--field-of-view", type=number, default=60.0, metavar="DEGREES", help="over the longer side; 0 tries several"
    )
    others.add_argument(
        "--weights", type=_choice, action="append", default=[], metavar="WHAT=NAME",
        help=f"use that file or folder of models/crafters, or none; WHAT is {', '.join(WEIGHTS)}. By default what is "
        "there is used, and where there is nothing, the stage does without",
    )
    prepare.set_defaults(command=_prepare)


def _numbers(count: int) -> Callable[[str], tuple[float, ...]]:
    def read(text: str) -> tuple[float, ...]:
        try:
            values = tuple(number(part) for part in text.split(","))
        except argparse.ArgumentTypeError:
            values = ()
        if len(values) != count:
            raise argparse.ArgumentTypeError(f"{text!r} is not {count} numbers with commas between")
        return values

    return read


def _choice(text: str) -> tuple[str, str]:
    what, _, name = text.partition("=")
    if what not in WEIGHTS or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not WHAT=NAME with {', '.join(WEIGHTS)}")
    return what, name


def _prepare(args: argparse.Namespace) -> int:
    from ..prepared.conditions import clip_name
    from ..prepared.folder import Prepared
    from ..prepared.prepare import prepare
    from ..prepared.stages import SYSTEMS, Options
    from ..prepared.tools import find_tools

    named = {clip_name(clip.stem): clip for clip in args.clips}
    if len(named) < len(args.clips):
        raise ValueError("Two of the clips have one name: rename one, as their results would lie in one place.")
    if len(args.clips) > 1 and (args.click or args.box):
        raise ValueError("--click and --box belong to one clip: prepare it by itself.")
    if len(args.product) > 3:
        raise ValueError("--product takes up to three photos: front, left, right.")
    chosen = dict(args.weights)
    weights = {what: chosen.get(what) or _likely(what) or NONE for what in WEIGHTS}
    options = Options(
        systems=SYSTEMS if args.system == "both" else (args.system,),
        first=args.first, every=args.every, frames=args.frames, long_side=args.long_side,
        point=args.click, box=args.box, frame=args.at, product=tuple(args.product),
        person=args.person, short_side=args.short_side, avatar=args.avatar, character=args.character,
        field_of_view=args.field_of_view,
        tools=find_tools({what: name for what, name in weights.items() if name != NONE}),
    )
    prepared, sound = Prepared(args.out), True
    for name, clip in named.items():
        try:
            for what, state in prepare(clip, name, prepared, options):
                if state in ("made", "kept", "own"):
                    print(f"{name}: {what.replace('_', ' ')}: {state}", flush=True)
                else:
                    sound = _fail(f"{name}: {what.replace('_', ' ')}: {state}")
        except OSError as error:  # of this clip; others may be sound
            sound = _fail(f"{name}: {error}")
    print(args.out)
    return 0 if sound else 1


def _fail(told: str) -> bool:
    print(f"error: {told}", file=sys.stderr, flush=True)
    return False


def _likely(what: str) -> str | None:
    """The weights in models/crafters that are called so."""
    mark, suffixes = WEIGHTS[what]
    names = folders.names(folders.OWN, suffixes=suffixes) if suffixes else folders.folder_names(folders.OWN)
    return next((name for name in names if mark in name.lower()), None)
