"""The result of an evaluation as a table, as numbers for other programs, and in words."""

import csv
import io
import json
from dataclasses import dataclass, field

import numpy as np

from .catalogue import Score


@dataclass(frozen=True)
class Row:
    """A metric and its score, None if no clip could be measured. faults: by clip, why it could not."""

    name: str
    title: str
    better: str
    about: str
    score: Score | None
    faults: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """rows: a metric each. unreadable: by clip, why it was not compared at all."""

    rows: list[Row]
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def measured(self) -> list[Row]:
        return [row for row in self.rows if row.score is not None]

    @property
    def clips(self) -> list[str]:
        """The clips that at least one metric has a value of."""
        return list(dict.fromkeys(clip for row in self.measured for clip in row.score.clips))

    def markdown(self) -> str:
        """A table of the metrics, one of the clips if there are several, and what was not measured."""
        blocks = [_table(["metric", "value", "better", "how"], [self._line(row) for row in self.measured])]
        rows = [row for row in self.measured if row.score.clips]
        if len(self.clips) > 1:
            lines = [[clip, *(_number(row.score.clips.get(clip)) for row in rows)] for clip in self.clips]
            blocks.append(_table(["clip", *(row.title for row in rows)], lines))
        blocks.append("\n".join(self.faults()))
        return "\n\n".join(block for block in blocks if block) + "\n"

    def faults(self) -> list[str]:
        """A sentence for whatever was not measured, alike ones together."""
        reasons: dict[str, list[str]] = {}
        for row in self.rows:
            for reason in dict.fromkeys(row.faults.values()):
                clips = [clip for clip, why in row.faults.items() if why == reason]
                which = row.title if row.score is None else f"{row.title} ({', '.join(clips)})"
                reasons.setdefault(reason, []).append(which)
        told = [f"- {clip} was not compared. {why}" for clip, why in self.unreadable.items()]
        return told + [f"- Not measured: {'; '.join(which)}. {reason}" for reason, which in reasons.items()]

    def csv(self) -> str:
        """A line per clip and one of `all`; a column per metric."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["clip", *(row.name for row in self.measured)])
        for clip in self.clips:
            table.writerow([clip, *(row.score.clips.get(clip, "") for row in self.measured)])
        table.writerow(["all", *(row.score.value for row in self.measured)])
        return text.getvalue()

    def json(self) -> str:
        """Everything, the frames too; null for a frame that does not count."""
        metrics = {
            row.name: {
                "title": row.title,
                "better": row.better,
                "about": row.about,
                "value": row.score and row.score.value,
                "clips": row.score.clips if row.score else {},
                "frames": {clip: _plain(values) for clip, values in row.score.frames.items()} if row.score else {},
                "not_measured": row.faults,
            }
            for row in self.rows
        }
        return json.dumps({"metrics": metrics, "not_compared": self.unreadable}, indent=1, allow_nan=False) + "\n"

    def _line(self, row: Row) -> list[str]:
        return [row.title, _number(row.score.value), row.better, row.about]


def _plain(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def _table(head: list[str], lines: list[list[str]]) -> str:
    if not lines:
        return ""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *lines])
