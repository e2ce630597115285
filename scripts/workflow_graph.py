"""One description of a graph, written in both of ComfyUI's formats: the UI's JSON and the API's."""

import uuid
from dataclasses import dataclass, field

WIDGETS = {"BOOLEAN", "COMBO", "COMFY_DYNAMICCOMBO_V3", "FLOAT", "INT", "STRING"}
SEEDS = ("seed", "noise_seed")
GROWING = "COMFY_AUTOGROW_V3"
# Room for what these nodes show below their widgets (width, height of the whole node).
SIZES = {
    "LoadImage": (300, 330),
    "LoadVideo": (300, 640),
    "PreviewImage": (420, 320),
    "SaveVideo": (420, 860),
    "CraftersAnchorSampler": (320, 700),
    "KSampler": (320, 600),
    "CraftersAniCrafterSampler": (320, 860),
    "CraftersLoadAvatar": (320, 510),
    "CraftersLoadBodyModel": (320, 420),
    "CraftersPrepareCharacter": (320, 560),
    "CraftersAvatarFromPhoto": (320, 600),
    "CraftersPreviewAvatar": (320, 560),
    "CraftersLoadMotion": (320, 660),
    "CraftersRenderAvatar": (320, 560),
    "CraftersRenderBodyMesh": (320, 520),
    "CraftersComposeScene": (320, 640),
    "CraftersAniCrafterTrim": (320, 480),
    "CraftersSegmentVideo": (320, 560),
    "CraftersKeepConditions": (320, 560),
    "CraftersObjectDepth": (320, 480),
    "CraftersHandMesh": (320, 520),
    "CraftersBodyMotionFromVideo": (320, 520),
    "CraftersRemovePerson": (320, 580),
    "CraftersProductViews": (320, 480),
}
# Nodes that say in a line or two what they hold.
NOTED = {
    "CraftersLoadDWPose", "CraftersLoadDINOv2", "CraftersLoadAnchorCrafter", "CraftersLoadSVDFolder",
    "CraftersAnchorCondition", "CraftersLoadAniCrafter", "CraftersAniCrafterApply", "CraftersAniCrafterConditioning",
    "CraftersAniCrafterPrompt", "CraftersLoadWan", "CraftersLoadWanEncoders", "CraftersLoadLHM",
    "CraftersLoadSegmenter", "CraftersLoadDepth", "CraftersLoadProPainter", "CraftersLoadHaMeR",
    "CraftersLoadMultiHMR",
}
COLOR = "#3f789e"
WIDTH, GAP, TITLE, SLOT, WIDGET, NOTE = 320, 30, 34, 20, 26, 60


@dataclass(frozen=True)
class Output:
    node: "Node"
    slot: int
    type: str


@dataclass
class Node:
    """A placed node. `node["NAME"]` is the output of that name, to be given as another node's input."""

    id: int
    kind: str
    title: str
    size: tuple[int, int]
    info: dict = field(repr=False)
    inputs: dict = field(default_factory=dict)
    pos: tuple[int, int] = (0, 0)

    def __getitem__(self, name: str) -> Output:
        names = self.info["output_name"]
        if names.count(name) != 1:
            raise KeyError(f"{self.title} has no one output {name!r}; it has {', '.join(names)}.")
        slot = names.index(name)
        return Output(self, slot, self.info["output"][slot])


@dataclass
class Group:
    title: str
    column: int
    stacks: list[list[Node]]


class Graph:
    """A graph under construction, against the node definitions of a server's /object_info.

    Nodes are stacked in the open group, in the order they are added; groups of one column stand below each other.
    """

    def __init__(self, object_info: dict, name: str):
        self.name = name
        self._info = object_info
        self._nodes: list[Node] = []
        self._groups: list[Group] = []

    def group(self, title: str, column: int) -> None:
        """Open a titled box in a column of the canvas; what is added next stands in it."""
        self._groups.append(Group(title, column, [[]]))

    def next_stack(self) -> None:
        """Go on at the top of the open group, to the right."""
        self._groups[-1].stacks.append([])

    def note(self, text: str, size: tuple[int, int]) -> None:
        """A Markdown note; it is part of the UI graph only."""
        self._place(Node(len(self._nodes) + 1, "MarkdownNote", "Note", size, {}, {"text": text}))

    def add(self, kind: str, title: str = "", /, **inputs: object) -> Node:
        """A node of class `kind`; each input is a value or another node's output, or else has its default.

        Raises ValueError for an unknown class or input, a missing input, or a link of another type.
        """
        if kind not in self._info:
            raise ValueError(f"{self.name}: this ComfyUI has no node {kind}.")
        info = self._info[kind]
        title = title or info["display_name"] or kind
        specs = {name: spec for _, name, spec in input_specs(info)}
        if unknown := inputs.keys() - specs.keys():
            raise ValueError(f"{self.name}: {title} has no input {sorted(unknown)}; it has {list(specs)}.")
        values = {}
        for category, name, spec in input_specs(info):
            value = inputs.get(name, _default(spec) if _is_widget(spec) else None)
            if value is None and category == "required":
                raise ValueError(f"{self.name}: {title} needs the input {name}.")
            if isinstance(value, Output) and value.type not in input_type(spec).split(","):
                raise ValueError(f"{self.name}: {title} takes {input_type(spec)} as {name}, not {value.type}.")
            if value is not None:
                values[name] = value
        sockets = sum(not _is_widget(spec) for spec in specs.values())
        rows = SLOT * max(sockets, len(info["output"])) + WIDGET * len(_widget_values(info, values)) + 16
        rows += NOTE * (kind in NOTED)
        node = Node(len(self._nodes) + 1, kind, title, SIZES.get(kind, (WIDTH, rows)), info, values)
        self._place(node)
        return node

    def _place(self, node: Node) -> None:
        self._nodes.append(node)
        self._groups[-1].stacks[-1].append(node)

    def api(self) -> dict:
        """The API format: what POST /prompt takes."""
        return {
            str(node.id): {
                "inputs": {name: [str(value.node.id), value.slot] if isinstance(value, Output) else value
                           for name, value in node.inputs.items()},
                "class_type": node.kind,
                "_meta": {"title": node.title},
            }
            for node in self._nodes
            if node.info
        }

    def ui(self) -> dict:
        """The UI format, laid out."""
        groups = self._lay_out()
        nodes, links = [], []
        for order, node in enumerate(self._nodes):
            nodes.append({
                "id": node.id,
                "type": node.kind,
                "pos": list(node.pos),
                "size": list(node.size),
                "flags": {},
                "order": order,
                "mode": 0,
                "inputs": self._ui_inputs(node, links),
                "outputs": [
                    {"name": name, "type": kind, "links": []}
                    for name, kind in zip(node.info.get("output_name", []), node.info.get("output", []), strict=True)
                ],
                **({} if node.title == node.info.get("display_name") else {"title": node.title}),
                "properties": {"Node name for S&R": node.kind, **_pack(node.info)} if node.info else {},
                "widgets_values": _widget_values(node.info, node.inputs) if node.info else [node.inputs["text"]],
                **({} if node.info else {"color": "#432", "bgcolor": "#653"}),
            })
        for link, origin, slot, *_ in links:
            nodes[origin - 1]["outputs"][slot]["links"].append(link)
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"crafters/{self.name}")),
            "revision": 0,
            "last_node_id": len(nodes),
            "last_link_id": len(links),
            "nodes": nodes,
            "links": links,
            "groups": groups,
            "config": {},
            "extra": {"ds": {"scale": 0.5, "offset": [60, 120]}},
            "version": 0.4,
        }

    def _ui_inputs(self, node: Node, links: list) -> list[dict]:
        """The node's sockets, then those of linked widgets, as the frontend saves them; appends the links into them."""
        entries = []
        for category, name, spec in sorted(input_specs(node.info), key=lambda item: _is_widget(item[2])):
            value = node.inputs.get(name)
            linked = isinstance(value, Output)
            if _is_widget(spec) and not linked or input_type(spec) == GROWING:
                continue  # the page draws a growing input's free socket itself
            entry = {"name": name, "type": input_type(spec), "link": None}
            if category == "optional":
                entry["shape"] = 7
            if _is_widget(spec):
                entry["widget"] = {"name": name}
            if linked:
                entry["link"] = len(links) + 1
                links.append([entry["link"], value.node.id, value.slot, node.id, len(entries), value.type])
            entries.append(entry)
        return entries

    def _lay_out(self) -> list[dict]:
        """Give every node its place; returns the groups' boxes."""
        boxes, left = [], 0
        for column in sorted({group.column for group in self._groups}):
            top = right = 0
            for group in (group for group in self._groups if group.column == column):
                x = left + GAP
                bottom = top
                for stack in filter(None, group.stacks):
                    y = top + 2 * TITLE + GAP
                    for node in stack:
                        node.pos = (x, y)
                        y += node.size[1] + TITLE + GAP
                    x += max(node.size[0] for node in stack) + GAP
                    bottom = max(bottom, y - TITLE)
                bounding = [left, top, x - left, bottom - top]
                boxes.append({"title": group.title, "bounding": bounding, "color": COLOR, "font_size": 24, "flags": {}})
                top = bottom + 2 * GAP
                right = max(right, x)
            left = right + 2 * GAP
        return [{"id": number, **box} for number, box in enumerate(boxes, 1)]


def input_specs(info: dict) -> list[tuple[str, str, list]]:
    """(required or optional, name, [type, options]) of each input, in the schema's order."""
    return [(category, name, info["input"][category][name])
            for category in ("required", "optional")
            for name in info.get("input_order", {}).get(category, [])]


def input_type(spec: list) -> str:
    """The type of an input; a list of choices, as old-style nodes state it, is a COMBO."""
    return "COMBO" if isinstance(spec[0], list) else spec[0]


def input_options(spec: list) -> dict:
    """Its default, limits, tooltip and so on."""
    return spec[1] if len(spec) > 1 else {}


def _is_widget(spec: list) -> bool:
    return input_type(spec) in WIDGETS and not input_options(spec).get("forceInput")


def choices(spec: list) -> list:
    """What a combo offers; empty for other inputs, and for a list of files when there are none."""
    offered = spec[0] if isinstance(spec[0], list) else input_options(spec).get("options", [])
    return [choice["key"] if isinstance(choice, dict) else choice for choice in offered]


def _default(spec: list) -> object:
    first = choices(spec)[:1] or [{"STRING": "", "BOOLEAN": False}.get(input_type(spec))]
    return input_options(spec).get("default", first[0])


def _widget_values(info: dict, inputs: dict) -> list:
    """`widgets_values`: every widget in the schema's order, with what the frontend puts behind some of them."""
    values = []
    for _, name, spec in input_specs(info):
        if not _is_widget(spec):
            continue
        value = inputs.get(name)
        values.append(_default(spec) if isinstance(value, Output) else value)
        # The frontend puts this control behind any whole number of these names, too.
        if input_options(spec).get("control_after_generate", input_type(spec) == "INT" and name in SEEDS):
            values.append("fixed")
        if input_options(spec).get("image_upload") or input_options(spec).get("video_upload"):
            values.append("image")
    return values


def _pack(info: dict) -> dict:
    """Which pack to install, for a UI that lacks the node."""
    return {"cnr_id": "crafters" if info["python_module"].startswith("custom_nodes.") else "comfy-core"}
