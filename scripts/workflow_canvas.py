"""A graph in the JSON of ComfyUI's page: laid out, framed, with its subgraphs."""

import re
import uuid
from collections.abc import Iterator

from crafters.host.weights import providing
from graph_layout import ALLEY, GAPS, SLOT, WIDGET, Box, Point, Wire, arrange, route
from workflow_parts import Group, Node, Output, Subgraph
from workflow_schema import GROWING, SEEDS, default, input_options, input_specs, input_type, is_widget

WIDTH = 236
WIDE_SUBGRAPH = 260
WIDE = {"LoadImage": 224, "LoadVideo": 224, "PreviewImage": 280, "SaveVideo": 300,
        "WanAnimateToVideo": 280, "WanSCAILToVideo": 280}
# What these nodes show below their widgets needs room: a photo, a portrait clip, an avatar, a preview while sampling.
PREVIEW, PORTRAIT, AVATAR = 214, 391, 300
ROOM = {"LoadVideo": PORTRAIT, "CraftersLoadAvatar": AVATAR} | dict.fromkeys(
    ("LoadImage", "PreviewImage", "KSampler", "CraftersAnchorSampler", "CraftersAniCrafterSampler",
     "CraftersPreviewAvatar", "CraftersPresentProduct", "CraftersHoldProduct", "CraftersStagePerson"), PREVIEW)
# Upload buttons, and nodes that say in a line or two what they hold.
ROOM |= {"CraftersLoadMotion": 150} | dict.fromkeys(
    ("CraftersLoadDWPose", "CraftersLoadDINOv2", "CraftersLoadAnchorCrafter", "CraftersLoadSVDFolder",
     "CraftersAnchorCondition", "CraftersLoadAniCrafter", "CraftersAniCrafterApply", "CraftersAniCrafterConditioning",
     "CraftersAniCrafterPrompt", "CraftersLoadWan", "CraftersLoadWanEncoders", "CraftersLoadLHM",
     "CraftersLoadSegmenter", "CraftersLoadDepth", "CraftersLoadProPainter", "CraftersLoadHaMeR",
     "CraftersLoadMultiHMR"), 60)
NEWER = 30  # by which the page's newer look (Nodes 2.0) makes a node taller, and 5 for each widget
COLOR = "#3f789e"
SCREEN, BARS, LEGIBLE = (1600, 1000), (70, 100), 0.58  # the page writes no text at a zoom below 0.572
PAD, HEADING = 12, 42  # of a column's frame
NOTE = 1000, 128  # a note's width, and the letters of a line
INSIDE, OUTSIDE = -10, -20  # the numbers of a subgraph's own ends


class Canvas:
    """The UI's JSON of a graph under way: every level's nodes and links, with numbers that are unique in all."""

    def __init__(self, name: str, groups: list[Group], note: str, app: tuple[list[tuple[Node, str]], Node] | None):
        self._name, self._note, self._app = name, note, app
        self._open = [group for group in groups if not group.fold]
        self._groups = [group for group in groups if group.nodes]
        nodes = [node for group in self._groups for node in group.nodes]
        self._last_node = max(node.id for node in nodes)
        self._last_link = self._last_reroute = 0
        self._subgraphs = []
        for group in filter(lambda group: group.fold, self._groups):
            users = [(node, name, value) for node in sorted(nodes, key=lambda node: node.id) if node not in group.nodes
                     for name, value in node.inputs.items() if isinstance(value, Output)]
            self._last_node += 1
            self._subgraphs.append(Subgraph(self._last_node, self._name, group, users))

    def graph(self) -> dict:
        columns = {}
        for group in self._groups:
            if group.fold:
                columns |= {subgraph: group.column for subgraph in self._subgraphs if subgraph.group is group}
            else:
                columns |= dict.fromkeys(group.nodes, group.column)
        level = self._level(columns)
        nodes = level["nodes"]
        frames = self._frames(level["extent"])
        if self._note:
            nodes.append(self._note_node(level["note"], len(nodes)))
        right = max(box.right for box in level["boxes"].values())
        bottom = max(box.bottom for box in level["boxes"].values())
        links, reroutes = level["links"], level["reroutes"]
        scale = min((SCREEN[0] - BARS[0] - 20) / (right + PAD), (SCREEN[1] - BARS[1] - 20) / (bottom + HEADING), 1)
        scale = max(LEGIBLE, round(scale, 3))
        extra = {"ds": {"scale": scale, "offset": [BARS[0] / scale + PAD, BARS[1] / scale + HEADING]}}
        if reroutes:
            extra["reroutes"] = reroutes
            extra["linkExtensions"] = [{"id": link["id"], "parentId": link["parentId"]}
                                       for link in links if "parentId" in link]
        if self._app:
            extra |= {"linearData": self._linear(), "linearMode": False}
        definitions = [self._definition(subgraph) for subgraph in self._subgraphs]
        return {
            "id": _identity(self._name),
            "revision": 0,
            "last_node_id": self._last_node,
            "last_link_id": self._last_link,
            "nodes": nodes,
            "links": [[link[key] for key in ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")]
                      for link in links],
            "groups": frames,
            **({"definitions": {"subgraphs": definitions}} if definitions else {}),
            "config": {},
            "extra": extra,
            "version": 0.4,
        }

    def blueprint(self, title: str, description: str) -> dict:
        (subgraph,) = (subgraph for subgraph in self._subgraphs if subgraph.title == title)
        (host,) = self._level({subgraph: 0}, alone=True)["nodes"]
        definition = self._definition(subgraph)
        return {
            "revision": 0,
            "last_node_id": self._last_node,
            "last_link_id": 0,
            "nodes": [host],
            "links": [],
            "version": 0.4,
            "definitions": {"subgraphs": [definition | {"category": "Crafters", "description": description}]},
            "extra": {},
        }

    def _level(self, columns: dict, inside: Subgraph | None = None, alone: bool = False) -> dict:
        """Nodes, links and reroutes of the graph or of one subgraph, given what stands in which column there."""
        parts = list(columns)
        boxes = {part: _box(part, column) for part, column in columns.items()}
        entries, links, ends = [], [], []
        for part in parts:
            for index, (entry, origin) in enumerate(self._entries(part, inside)):
                entries.append((part, entry))
                if origin is None or alone:
                    continue
                at, slot = origin
                self._last_link += 1
                entry["link"] = self._last_link
                source = INSIDE if at is inside else at.id
                links.append({"id": self._last_link, "origin_id": source, "origin_slot": slot, "target_id": part.id,
                              "target_slot": index, "type": entry["type"]})
                ends.append((at, slot, part, index))
        if inside:
            boxes = {inside: _end_box([slot.name for slot in inside.slots]), **boxes}
            for slot, output in enumerate(inside.outputs):
                self._last_link += 1
                links.append({"id": self._last_link, "origin_id": output.node.id, "origin_slot": output.slot,
                              "target_id": OUTSIDE, "target_slot": slot, "type": output.type})
                ends.append((output.node, output.slot, None, slot))
            boxes[None] = _end_box(inside.output_names)
            boxes[inside].column, boxes[None].column = -1, 1
        order = list(boxes)
        sockets = {}
        for part, entry in entries:
            sockets.setdefault(part, []).append(entry)
        edges = {(order.index(a), order.index(b)) for a, _, b, _ in ends}
        for gap in GAPS:
            extent = arrange([boxes[part] for part in order], edges, gap)
            if self._note and not inside:
                boxes["note"] = self._note_box(extent)
            wires = [Wire(boxes[a], boxes[b], _leaving(boxes[a], a, slot, inside),
                          _reaching(boxes[b], b, index, sockets[b][index] if b else None))
                     for a, slot, b, index in ends]
            if not route(wires, list(boxes.values())):
                break
        reroutes = self._reroutes(links, wires)
        outgoing: dict[tuple[int, int], list[int]] = {}
        for link in links:
            outgoing.setdefault((link["origin_id"], link["origin_slot"]), []).append(link["id"])
        nodes = [_node(part, boxes[part], place, sockets.get(part, []), outgoing)
                 for place, part in enumerate(parts)]
        return {"nodes": nodes, "links": links, "reroutes": reroutes, "extent": extent, "boxes": boxes,
                "note": boxes.get("note")}

    def _entries(self, part: Node | Subgraph, inside: Subgraph | None) -> Iterator[tuple[dict, tuple | None]]:
        """The sockets of a node, then those of its linked widgets, as the page saves them; each with its origin."""
        if isinstance(part, Subgraph):
            for slot in part.slots:
                entry = {"name": slot.name, "type": slot.type, "link": None}
                if slot.is_widget:
                    entry["widget"] = {"name": slot.name}
                yield entry, self._origin(slot.origin, inside) if slot.origin else None
            return
        for category, name, spec in sorted(input_specs(part.info, part.inputs), key=lambda item: is_widget(item[2])):
            value = part.inputs.get(name)
            slots = inside.slots if inside else []
            through = next((number for number, slot in enumerate(slots) if (part, name) in slot.targets), None)
            linked = isinstance(value, Output) or through is not None
            label = self._label(part, name)
            if is_widget(spec) and not linked and not label or input_type(spec) == GROWING:
                continue  # the page draws a growing input's free socket itself
            entry = {"name": name, "type": input_type(spec), "link": None}
            if category == "optional":
                entry["shape"] = 7
            if is_widget(spec):
                entry["widget"] = {"name": name}
            if label:
                entry["label"] = label
            if through is not None:
                yield entry, (inside, through)
            else:
                yield entry, self._origin(value, inside) if linked else None

    def _origin(self, output: Output, inside: Subgraph | None) -> tuple[Node | Subgraph, int]:
        """Where a level sees an output: at the node itself, or at the subgraph that it is in."""
        for subgraph in self._subgraphs:
            if subgraph is not inside and output.node in subgraph.nodes:
                return subgraph, subgraph.outputs.index(output)
        return output.node, output.slot

    def _reroutes(self, links: list[dict], wires: list[Wire]) -> list[dict]:
        """The points that lead wires around nodes; a link names its last, and each the one before."""
        made: dict[tuple, dict] = {}
        for link, wire in zip(links, wires, strict=True):
            before = None
            for point in wire.bends:
                # Wires of one output share where they enter a lane; a point that is left in two directions bends wrong.
                shared = before is None and len(wire.bends) > 1
                key = (link["origin_id"], link["origin_slot"], point) if shared else (link["id"], point)
                if key not in made:
                    self._last_reroute += 1
                    made[key] = {"id": self._last_reroute, **({"parentId": before} if before else {}),
                                 "pos": [round(at) for at in point], "linkIds": []}
                made[key]["linkIds"].append(link["id"])
                before = made[key]["id"]
            if before:
                link["parentId"] = before
        return list(made.values())

    def _definition(self, subgraph: Subgraph) -> dict:
        level = self._level(dict.fromkeys(subgraph.nodes, 0), subgraph)
        boxes = level["boxes"]
        leaving, reaching = {}, {}
        for link in level["links"]:
            leaving.setdefault(link["origin_slot"] if link["origin_id"] == INSIDE else None, []).append(link["id"])
            reaching.setdefault(link["target_slot"] if link["target_id"] == OUTSIDE else None, []).append(link["id"])
        ends = {}
        for key, number, part in (("inputNode", INSIDE, subgraph), ("outputNode", OUTSIDE, None)):
            box = boxes[part]
            ends[key] = {"id": number, "bounding": [box.x, box.y, box.width, box.height]}
        return {
            "id": _identity(subgraph.identity),
            "version": 1,
            "state": {"lastGroupId": 0, "lastNodeId": self._last_node, "lastLinkId": self._last_link,
                      "lastRerouteId": self._last_reroute},
            "revision": 0,
            "config": {},
            "name": subgraph.title,
            **ends,
            "inputs": [{"id": _identity(f"{subgraph.identity}/in/{slot.name}"), "name": slot.name, "type": slot.type,
                        "linkIds": leaving.get(number, [])} for number, slot in enumerate(subgraph.slots)],
            "outputs": [{"id": _identity(f"{subgraph.identity}/out/{name}"), "name": name, "type": output.type,
                         "linkIds": reaching.get(number, [])}
                        for number, (name, output) in enumerate(zip(subgraph.output_names, subgraph.outputs,
                                                                    strict=True))],
            "widgets": [],
            "nodes": level["nodes"],
            "groups": [],
            "links": level["links"],
            "reroutes": level["reroutes"],
            "extra": {},
        }

    def _frames(self, extent: dict[int, list[int]]) -> list[dict]:
        """A frame around each column that has nodes of open groups."""
        frames = []
        for column, (left, top, right, bottom) in extent.items():
            titles = [group.title for group in self._open if group.column == column]
            if titles:
                box = [left - PAD, top - HEADING, right - left + 2 * PAD, bottom - top + HEADING + PAD]
                frames.append({"id": len(frames) + 1, "title": ", ".join(titles), "bounding": box, "color": COLOR,
                               "font_size": 24, "flags": {}})
        return frames

    def _note_box(self, extent: dict[int, list[int]]) -> Box:
        """The note's place, below the lowest of the columns right of the inputs."""
        width, letters = NOTE
        texts = [re.sub(r"\(http[^)]*\)", "", text) for text in self._note.splitlines()]
        height = 24 + 31 * len(texts) + 20 * sum(len(text) // letters for text in texts)
        columns = sorted(extent)[1:] or sorted(extent)
        left, bottom = extent[columns[0]][0] + ALLEY, max(extent[column][3] for column in columns)
        return Box(width, height, x=left, y=bottom + HEADING + PAD + GAPS[0])

    def _note_node(self, box: Box, order: int) -> dict:
        self._last_node += 1
        return {
            "id": self._last_node,
            "type": "MarkdownNote",
            "pos": [box.x, box.y],
            "size": [box.width, box.height],
            "flags": {},
            "order": order,
            "mode": 0,
            "inputs": [],
            "outputs": [],
            "title": "Note",
            "properties": {},
            "widgets_values": [self._note],
            "color": "#432",
            "bgcolor": "#653",
        }

    def _label(self, part: Node, widget: str) -> str | None:
        shown = self._app[0] if self._app else []
        alone = [name for node, name in shown if node is part] == [widget]
        return part.title if alone and not any(part in subgraph.nodes for subgraph in self._subgraphs) else None

    def _linear(self) -> dict:
        shown, result = self._app
        inputs = []
        for node, widget in shown:
            inside = next((subgraph for subgraph in self._subgraphs if node in subgraph.nodes), None)
            label = next(slot.name for slot in inside.slots if (node, widget) in slot.targets) if inside else widget
            inputs.append([str((inside or node).id), label])
        return {"inputs": inputs, "outputs": [str(result.id)]}


def _identity(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"crafters/{name}"))


def _node(part: Node | Subgraph, box: Box, order: int, entries: list[dict], outgoing: dict) -> dict:
    if isinstance(part, Subgraph):
        named = zip(part.output_names, (output.type for output in part.outputs), strict=True)
        kind, title = _identity(part.identity), {}
        properties: dict = {"previewExposures": []}
        values = [slot.value for slot in part.slots if slot.is_widget]
    else:
        named = zip(part.info["output_name"], part.info["output"], strict=True)
        kind, title = part.kind, {} if part.title == part.info["display_name"] else {"title": part.title}
        properties = {"Node name for S&R": part.kind, **_pack(part.info), **_models(part)}
        values = _widget_values(part.info, part.inputs)
    return {
        "id": part.id,
        "type": kind,
        "pos": [box.x, box.y],
        "size": [box.width, box.height],
        "flags": {},
        "order": order,
        "mode": 0,
        "inputs": entries,
        "outputs": [{"name": name, "type": type_, "links": outgoing.get((part.id, slot), [])}
                    for slot, (name, type_) in enumerate(named)],
        **title,
        "properties": properties,
        "widgets_values": values,
    }


def _box(part: Node | Subgraph, column: int) -> Box:
    """Of the height that the page gives the node, and with the room that it may need."""
    rows, widgets = _rows(part), len(_widget_names(part))
    own = ROOM.get(part.kind, 0) if isinstance(part, Node) else 0
    width = WIDE.get(part.kind, WIDTH) if isinstance(part, Node) else WIDE_SUBGRAPH
    height = SLOT * rows + (WIDGET * widgets + 8 if widgets else 0) + 6
    return Box(width, height, max(own, NEWER + 5 * widgets), column)


def _rows(part: Node | Subgraph) -> int:
    """Of sockets, inputs left and outputs right."""
    if isinstance(part, Subgraph):
        return max(sum(not slot.is_widget for slot in part.slots), len(part.outputs), 1)
    sockets = sum(not is_widget(spec) for _, _, spec in input_specs(part.info, part.inputs))
    return max(sockets, len(part.info["output"]), 1)


def _widget_names(part: Node | Subgraph) -> list[str]:
    if isinstance(part, Subgraph):
        return [slot.name for slot in part.slots if slot.is_widget]
    return [name for name, _ in _widgets(part.info, part.inputs)]


def _end_box(names: list[str]) -> Box:
    """A subgraph's own end inside it: its inputs, or its outputs."""
    return Box(max(128, 7 * max(map(len, names), default=0) + 48), SLOT * len(names) + 48, rim=26)


def _leaving(box: Box, part: Node | Subgraph, slot: int, inside: Subgraph | None) -> Point:
    if part is inside:
        return box.right - 24, box.y + SLOT * slot + 24
    return box.right - 9, box.y + SLOT * slot + 14


def _reaching(box: Box, part: Node | Subgraph | None, slot: int, entry: dict | None) -> Point:
    """A socket's place; a linked widget's is at the widget, below all others."""
    if part is None:
        return box.x + 24, box.y + SLOT * slot + 24
    if "widget" in entry:
        return box.x + 10, box.y + SLOT * _rows(part) + 16 + WIDGET * _widget_names(part).index(entry["name"])
    return box.x + 10, box.y + SLOT * slot + 14


def _models(node: Node) -> dict:
    """The published files that the node is set to load, for a page that lacks them."""
    models = []
    for value in node.inputs.values():
        weights = providing(value) if isinstance(value, str) else None
        for file in weights.files if weights else ():
            if value in (file.name, file.name.rpartition("/")[0]):
                models.append({"name": file.name, "url": file.url, "directory": file.kind})
    return {"models": models} if models else {}


def _widgets(info: dict, inputs: dict) -> Iterator[tuple[str, object]]:
    """Every widget with its value in the schema's order, and what the frontend puts behind some of them."""
    for _, name, spec in input_specs(info, inputs):
        if not is_widget(spec):
            continue
        value = inputs.get(name)
        yield name, default(spec) if isinstance(value, Output) else value
        # The frontend puts this control behind any whole number of these names, too.
        if input_options(spec).get("control_after_generate", input_type(spec) == "INT" and name in SEEDS):
            yield "control_after_generate", "fixed"
        if input_options(spec).get("image_upload") or input_options(spec).get("video_upload"):
            yield "upload", "image"


def _widget_values(info: dict, inputs: dict) -> list:
    """`widgets_values`, as the page saves them."""
    return [value for _, value in _widgets(info, inputs)]


def _pack(info: dict) -> dict:
    """Which pack to install, for a UI that lacks the node."""
    return {"cnr_id": "crafters" if info["python_module"].startswith("custom_nodes.") else "comfy-core"}
