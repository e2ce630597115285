"""What a run tells: lines, `log.csv`, TensorBoard event files and preview pictures."""

import csv
import logging
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..files.whole import whole


class Log:
    """Goes on after `step`: what an interrupted run wrote beyond it is taken back."""

    def __init__(self, out: Path, step: int, report: Callable[[str], None]):
        self.out, self.report = out, report
        self.step, self.time = step, time.monotonic()
        out.mkdir(parents=True, exist_ok=True)
        self.path = out / "log.csv"
        self.rows = []
        if self.path.is_file():
            with self.path.open(newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if _whole(row) and int(row["step"]) <= step]
            self._rewrite()
        self.board = _tensorboard(out / "tensorboard", step + 1)

    def write(self, step: int, steps: int, rate: float, values: dict[str, float]) -> None:
        """Means since the last call."""
        now = time.monotonic()
        seconds = (now - self.time) / (step - self.step)
        self.step, self.time = step, now
        row = {"step": step, "loss": values["loss"], "learning_rate": rate, "seconds": seconds, **values}
        known = list(self.rows[0]) if self.rows else None
        self.rows.append({name: f"{value:.6g}" if name != "step" else str(value) for name, value in row.items()})
        if known == list(row):
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, known).writerow(self.rows[-1])
        else:
            self._rewrite()
        if self.board:
            for name, value in row.items():
                if name != "step":
                    self.board.add_scalar(name, value, step)
            self.board.flush()
        more = "".join(f", {name} {value:.4g}" for name, value in values.items() if name != "loss")
        self.report(f"step {step}/{steps}: loss {values['loss']:.4f}{more}, {seconds:.2f} s/step")

    def pictures(self, step: int, pictures: dict[str, np.ndarray]) -> None:
        """PNG files, uint8 [H, W, 3]. The time they took is not counted as training."""
        from PIL import Image

        folder = self.out / "previews"
        for name, picture in pictures.items():
            with whole(folder / f"step-{step:08d}-{name}.png") as part:
                Image.fromarray(picture).save(part, "PNG")
            if self.board:
                self.board.add_image(name, picture, step, dataformats="HWC")
        self.time = time.monotonic()

    def close(self) -> None:
        if self.board:
            self.board.close()

    def _rewrite(self) -> None:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with whole(self.path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(self.rows)


def _whole(row: dict) -> bool:
    return None not in row.values() and (row.get("step") or "").isdecimal()


def _tensorboard(folder: Path, step: int):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logging.info("Without the package tensorboard, losses are written to log.csv only.")
        return None
    return SummaryWriter(str(folder), purge_step=step)
