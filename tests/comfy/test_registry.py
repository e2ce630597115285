"""What the tools of ComfyUI's pack authors say of the pack in a running ComfyUI."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from build_workflows import Weights
from helpers.comfy_harness import ROOT
from workflow_schema import input_options, input_specs

pytestmark = [pytest.mark.comfy, pytest.mark.slow]
SHIPPED = sorted((ROOT / "workflows" / "api").glob("*.json"))
FILES = {"avatar", "motion"}  # inputs that choose among files, beside those that upload one


def tool(name: str, *args: str | Path, **env: str) -> subprocess.CompletedProcess:
    command = [Path(sys.executable).with_name(name), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **env}, cwd=ROOT)


def test_lint_of_every_api_graph(comfy, tmp_path):
    """comfy-lint asks a server what a combo offers; here, one on which the files that the graphs name are.

    It does not know that a combo's choices may have inputs of their own: they are told to it as any others.
    """
    info, weights = comfy.get("/object_info"), set(asdict(Weights()).values())
    prompts = [json.loads(file.read_text("utf-8")) for file in SHIPPED]
    for node in (node for prompt in prompts for node in prompt.values()):
        for _, name, spec in input_specs(info[node["class_type"]]):
            value, options = node["inputs"].get(name), input_options(spec)
            if "." in name:
                info[node["class_type"]]["input"].setdefault("optional", {})[name] = spec
            offered = spec[0] if isinstance(spec[0], list) else options.get("options")
            if offered is None or not isinstance(value, str) or value in offered:
                continue
            if value in weights or name in FILES or any(key.endswith("_upload") for key in options):
                offered.append(value)
    schema = tmp_path / "object_info.json"
    schema.write_text(json.dumps(info), "utf-8")
    done = tool("comfy-lint", "--strict", "--json", "--schema-cache", schema, *SHIPPED)
    assert done.returncode == 0, done.stdout + done.stderr


def test_levels_that_need_no_other_network(comfy, tmp_path):
    """comfy-test: the pack registers without an error in the server's log, and its scripts keep the page's rules."""
    config = tmp_path / "comfy-test.toml"
    config.write_text('[test]\nname = "crafters"\nlevels = ["registration", "javascript"]\n')
    shutil.copyfile(comfy.log, tmp_path / "server.log")
    place = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "COMFY_TEST_LOGS_DIR")}
    done = tool("comfy-test", "run", "--config", config, "--server-url", comfy.url, ".", **place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"[{level}] PASSED" in done.stdout for level in ("REGISTRATION", "JAVASCRIPT")), done.stdout
    assert "0 error(s), 0 warning(s)" in done.stdout and "log: unavailable" not in done.stdout
