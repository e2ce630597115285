"""RESULTS.md, where measurements are noted."""

from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"


def note(heading: str, *rows: str) -> None:
    """Rows of a table, the newest on top; heading: all that stands above them, made at the end if it is not there."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.is_file() else "# Benchmarks\n"
    before, _, after = text.partition(heading)
    RESULTS.write_text(before + heading + "".join(f"{row}\n" for row in rows) + after, encoding="utf-8")
