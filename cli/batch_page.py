"""The contact sheet of a batch: a page with every job's poster and player, which opens from the disk."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable
from html import escape
from pathlib import Path
from urllib.parse import quote

from ..files.whole import whole
from .batch_results import State

PAGE, POSTER = "index.html", "poster.jpg"
POSTER_SIDE = 480  # px, at most
_TOP = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 14px sans-serif; margin: 1em; background: #222; color: #ddd; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 1em; }}
figure {{ margin: 0; overflow-wrap: anywhere; content-visibility: auto; contain-intrinsic-size: 220px 260px; }}
video, img {{ width: 100%; height: 220px; object-fit: contain; background: #000; }}
.aside {{ color: #f99; }}
a {{ color: inherit; }}
</style>
<h1>{title}</h1>
<main>
"""


def write_page(out: Path, states: Iterable[State]) -> None:
    states = list(states)
    made = sum(state.state == "made" for state in states)
    with whole(out / PAGE) as part, part.open("w", encoding="utf-8") as page:
        page.write(_TOP.format(title=escape(f"{out.resolve().name}: {made} of {len(states)} made")))
        page.writelines(_figure(out, state) for state in states)
        page.write("</main>\n</html>\n")


def write_poster(folder: Path, files: Iterable[str]) -> None:
    """A picture of the first video, small, into its folder; none of what is no video, or a broken one."""
    import av

    videos = [file for file in files if _kind(file) == "video"]
    if not videos or (folder / POSTER).exists():
        return
    try:
        with av.open(str(folder / videos[0])) as container:
            picture = next(container.decode(video=0)).to_image()
    except (av.FFmpegError, IndexError, StopIteration, ValueError):
        return
    picture.thumbnail((POSTER_SIDE, POSTER_SIDE))
    picture.save(folder / POSTER, quality=85)


def _figure(out: Path, state: State) -> str:
    shown = "".join(_shown(out, state.name, file) for file in state.files)
    told = f'<div class="aside">{escape(state.error)}</div>' if state.error else ""
    facts = [state.state, state.seconds and f"{state.seconds:.0f} s", state.server,
             None if state.seed is None else f"seed {state.seed}"]
    caption = escape(", ".join(fact for fact in facts if fact))
    return f"<figure>{shown}<figcaption><b>{escape(state.name)}</b>: {caption}{told}</figcaption></figure>\n"


def _shown(out: Path, name: str, file: str) -> str:
    link = quote(f"{name}/{file}")
    if _kind(file) == "video":
        poster = f' poster="{quote(f"{name}/{POSTER}")}"' if (out / name / POSTER).is_file() else ""
        return f'<video controls preload="none"{poster} src="{link}"></video>'
    if _kind(file) == "image":
        return f'<img loading="lazy" alt="" src="{link}">'
    return f'<a href="{link}">{escape(file)}</a>'


def _kind(file: str) -> str:
    return (mimetypes.guess_type(file)[0] or "").partition("/")[0]
