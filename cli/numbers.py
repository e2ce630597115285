"""Numbers of the command line."""

from __future__ import annotations

import argparse
import math


def number(text: str) -> float:
    """A finite number: what argparse's `type` takes in place of `float`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    return value
