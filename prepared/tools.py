"""The networks that stages work with, and what loads each from its files."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from ..files.digest import content
from ..host import folders
from ..host.memory import Managed, network_dtype
from ..models.body.load import ANNY, load_body_model
from ..models.hmr.hamer import load_hamer
from ..models.hmr.mano import load_mano
from ..models.hmr.multihmr import load_multihmr
from ..models.propainter.system import ProPainter
from ..preprocessors.pose.dwpose import DWPose
from ..preprocessors.product.object_depth import DepthNetwork, load_depth
from ..preprocessors.segment.sam import SAM, load_sam


@dataclass(frozen=True)
class Tool:
    """A network: a name, what loads it when a stage first needs it, and the files that it is loaded from."""

    name: str
    load: Callable[[], Any]
    paths: tuple[Path, ...] = ()

    def told(self) -> str:
        """What the manifest notes: by the content of the files, as another network may come under the same name."""
        return " ".join([self.name, *map(content, self.paths)])


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What there is; stages do without the others, but for the pose, which only DWPose finds."""

    dwpose: Tool | None = None
    sam: Tool | None = None
    depth: Tool | None = None
    hamer: Tool | None = None
    multihmr: Tool | None = None
    propainter: Tool | None = None
    body: Tool | None = None


def find_tools(names: dict[str, str]) -> Tools:
    """Those of which all weights are named: by what they are, files or folders of models/crafters. Without a body
    model's, Anny is the body. Raises FileNotFoundError for a name that is not there.
    """

    def tool(load: Callable, *weights: str) -> Tool | None:
        if not names.keys() >= set(weights):
            return None
        paths = tuple(folders.path(names[what], folders.OWN) for what in weights)
        return Tool(", ".join(names[what] for what in weights), cache(partial(load, *paths)), paths)

    return Tools(
        dwpose=tool(DWPose, "detector", "pose"),
        sam=tool(lambda folder: SAM(Managed(load_sam(folder, network_dtype("fp32")))), "sam"),
        depth=tool(lambda folder: DepthNetwork(Managed(load_depth(folder, network_dtype("fp32")))), "depth"),
        hamer=tool(lambda network, mano: (Managed(load_hamer(network)), load_mano(mano)), "hamer", "mano"),
        multihmr=tool(lambda file: Managed(load_multihmr(file)), "multihmr"),
        propainter=tool(
            lambda *files: Managed(ProPainter.from_files(*files, network_dtype())), "raft", "flow", "propainter"
        ),
        body=tool(load_body_model, "body") or Tool(ANNY, cache(partial(load_body_model, ANNY))),
    )
