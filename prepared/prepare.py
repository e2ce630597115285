"""Every condition of one or both systems, made of one plain clip, stage by stage, into a folder that remembers."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from . import anchorcrafter, anicrafter, common
from .conditions import CONDITIONS
from .folder import Prepared
from .stages import Clip, Options, Stage

STAGES = {"anchorcrafter": anchorcrafter.STAGES, "anicrafter": anicrafter.STAGES}


def prepare(source: Path, name: str, prepared: Prepared, options: Options) -> Iterator[tuple[str, str]]:
    """Make of a clip what is not there yet. Yields each condition and whether it was "made", "kept", is the user's
    "own", or, in place of what cannot be made, a sentence that says why.
    """
    if not source.is_file():
        raise FileNotFoundError(f"There is no video {source}.")
    clip = Clip(source, name, prepared, options)
    stages = [*common.STAGES, *(stage for system in options.systems for stage in STAGES[system])]
    stages = [stage for stage in stages if stage.wanted(options)]
    files = {what: clip.file(what) for stage in stages if not stage.shared for what in stage.makes}
    prepared.claim(dict.fromkeys(files.values(), clip.sources))
    questions = [(what, told) for what, file in files.items() if (told := prepared.question(file, clip.sources))]
    if questions:
        yield from questions
        return
    failed: set[str] = set()
    for stage in stages:
        if failed & set(stage.of):
            failed |= set(stage.makes)
            continue
        try:
            yield from _run(stage, clip)
        except (ValueError, OSError) as error:
            failed |= set(stage.makes)
            yield stage.makes[0], str(error)


def _run(stage: Stage, clip: Clip) -> Iterator[tuple[str, str]]:
    prepared, made_of = clip.prepared, clip.made_of(stage)
    values = cache(lambda: clip.make(stage))
    for what in stage.makes:
        file = clip.file(what)
        noted = prepared.noted(file)
        others = stage.shared and noted is not None and noted["clip"] != clip.name
        if prepared.is_own(file):
            yield what, "own"
        elif others or prepared.holds(file, made_of):
            yield what, "kept"
        else:
            fps = values().get("fps") or clip.fps
            sources = () if stage.shared else clip.sources
            CONDITIONS[what].put(prepared, clip.name, made_of, values()[what], fps, sources)
            yield what, "made"
