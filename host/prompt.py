"""Workflows in the format of ComfyUI's API, and what is asked of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..files.bounded import parse_json
from .comfyui import PACK

Prompt = dict[str, dict[str, Any]]  # node id -> {class_type, inputs, _meta}


class UsageError(ValueError):
    """A mistake in what was asked for."""


def is_link(value: object) -> bool:
    """Whether an input's value is another node's output."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def read_prompt(path: Path) -> Prompt:
    """An API-format workflow: node id -> {class_type, inputs, _meta}. Raises UsageError."""
    # A shipped workflow is found from anywhere by its path inside the pack.
    found = next((file for file in (path, PACK / path) if file.is_file()), None)
    if found is None:
        shipped = ", ".join(str(file.relative_to(PACK)) for file in sorted(PACK.glob("workflows/api/*.json")))
        raise UsageError(f"there is no workflow {path}; the pack has {shipped or 'none'}.")
    try:
        prompt = parse_json(found.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}.") from error
    if isinstance(prompt, dict) and isinstance(prompt.get("nodes"), list):
        raise UsageError(f"{path} is in the editor's format: save it in ComfyUI with Export (API), and run that file.")
    nodes = list(prompt.values()) if isinstance(prompt, dict) else []
    if not nodes or not all(isinstance(node, dict) and "class_type" in node and "inputs" in node for node in nodes):
        raise UsageError(f"{path} is not an API-format workflow (node id -> class_type and inputs).")
    for node_id, node in prompt.items():
        for key, value in node["inputs"].items() if isinstance(node["inputs"], dict) else ():
            check_finite(value, f"{path}, node {node_id}.{key}")
    return prompt


def check_finite(value: Any, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{where} is {value}: give a finite number.")
