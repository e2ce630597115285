"""`evaluate`: all metrics over all clips, and the report of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..models.checkpoint import CheckpointError
from . import CLEAN
from .catalogue import Metric, catalogue
from .measures import UnmeasurableError
from .networks import Networks
from .pair import PARTS, Pair
from .report import Report, Row


def evaluate(
    pairs: Mapping[str, Callable[[], Pair]],
    networks: Networks,
    metrics: Sequence[str] | None = None,
    threshold: int = CLEAN,
    on_step: Callable[[int, int], None] | None = None,
    reasons: Mapping[str, str] | None = None,
) -> Report:
    """Measure generated clips against the true ones.

    pairs: by the clips' names; each is called when its turn comes, as the clips together may be too many to hold.
    metrics: some of METRICS, default all. threshold: the grey level above which a mask counts as clean.
    on_step(done, total): called often, and may raise to cancel. reasons: for a field that pairs lack, a better
    sentence than that it is needed. What cannot be measured (no masks, no weights, a clip that cannot be read) is
    named in the report and the rest goes on. Raises ValueError for an unknown metric.
    """
    known = catalogue(threshold, networks.clip_name)
    unknown = [name for name in metrics or () if name not in known]
    if unknown:
        raise ValueError(f"There is no metric {unknown[0]!r}; there are {', '.join(known)}.")
    chosen = {name: metric for name, metric in known.items() if name in (metrics or known)}
    measured: dict[str, dict[str, Any]] = {name: {} for name in chosen}
    faults: dict[str, dict[str, str]] = {name: {} for name in chosen}
    unreadable: dict[str, str] = {}
    done, total = 0, len(pairs) * len(chosen)

    def tick() -> None:
        if on_step is not None:
            on_step(done, total)

    for clip, load in pairs.items():
        try:
            pair = load()
        except (ValueError, OSError) as error:
            unreadable[clip] = str(error)
            done += len(chosen)
            tick()
            continue
        for name, metric in chosen.items():
            try:
                _check_needs(metric, pair, reasons or {})
                measured[name][clip] = metric.measure(pair, networks, tick)
            except (UnmeasurableError, CheckpointError, FileNotFoundError) as error:
                faults[name][clip] = str(error)
            done += 1
            tick()
    return Report([_row(name, metric, measured[name], faults[name]) for name, metric in chosen.items()], unreadable)


def _check_needs(metric: Metric, pair: Pair, reasons: Mapping[str, str]) -> None:
    lacking = [field for field in metric.needs if getattr(pair, field) is None]
    if lacking:
        raise UnmeasurableError(reasons.get(lacking[0], f"That needs {PARTS[lacking[0]]}."))


def _row(name: str, metric: Metric, measured: dict[str, Any], faults: dict[str, str]) -> Row:
    score = None
    try:
        score = metric.combine(measured) if measured else None
    except UnmeasurableError as error:
        faults = dict.fromkeys(measured, str(error)) | faults
    return Row(name, metric.title, metric.better, metric.about, score, faults)
