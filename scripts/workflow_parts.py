"""What graphs are made of: nodes with their outputs, groups of them, and groups that are folded into subgraphs."""

from dataclasses import dataclass, field

from workflow_schema import default, input_specs, input_type, is_widget

GENERIC = ("image", "images", "mask")  # outputs that are better called by what they are used for


@dataclass(frozen=True)
class Output:
    node: "Node"
    slot: int
    type: str

    @property
    def name(self) -> str:
        return self.node.info["output_name"][self.slot]


@dataclass(eq=False)
class Node:
    """A node of the graph. `node["NAME"]` is the output of that name, to be given as another node's input."""

    id: int
    kind: str
    title: str
    info: dict = field(repr=False)
    inputs: dict = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    offered: list[Output] = field(default_factory=list)

    def __getitem__(self, name: str) -> Output:
        names = self.info["output_name"]
        if names.count(name) != 1:
            raise KeyError(f"{self.title} has no one output {name!r}; it has {', '.join(names)}.")
        slot = names.index(name)
        return Output(self, slot, self.info["output"][slot])

    def show(self, *widgets: str, **labels: str) -> "Node":
        """Let these widgets be set on the subgraph that the node is in; as `label="widget"`, under another name.

        Widgets of one subgraph shown under one name are one.
        """
        self.shown |= {name: name for name in widgets} | labels
        return self

    def offer(self, name: str) -> "Node":
        """Let the subgraph that the node is in have this output too, although nothing takes it yet."""
        self.offered.append(self[name])
        return self


@dataclass(eq=False)
class Group:
    """Nodes of one purpose: in a framed column of the canvas, or folded into a subgraph there."""

    title: str
    column: int
    fold: bool
    nodes: list[Node] = field(default_factory=list)


@dataclass
class Slot:
    """An input of a subgraph: what feeds it, if it is not a shown widget, and the (node, input) it leads to."""

    name: str
    type: str
    origin: Output | None
    targets: list[tuple[Node, str]]
    is_widget: bool = False
    value: object = None


class Subgraph:
    """A folded group as the canvas has it."""

    def __init__(self, id: int, graph: str, group: Group, users: list[tuple[Node, str, Output]]):
        self.id, self.group, self.title, self.nodes = id, group, group.title, group.nodes
        self.identity = f"{graph}/{group.title}"
        self.slots = self._slots()
        self.outputs: list[Output] = []
        self.output_names: list[str] = []
        offered = [(node, output.name, output) for node in self.nodes for output in node.offered]
        for _, name, output in (*users, *offered):
            if output.node in self.nodes and output not in self.outputs:
                self.outputs.append(output)
                taken = output.name in (*self.output_names, *GENERIC) and name not in self.output_names
                self.output_names.append(name if taken else output.name)

    def _slots(self) -> list[Slot]:
        fed: dict[object, Slot] = {}
        for node in self.nodes:
            specs = {name: spec for _, name, spec in input_specs(node.info, node.inputs)}
            names = {widget: label for label, widget in node.shown.items()}
            for name, spec in specs.items():
                value = node.inputs.get(name)
                if isinstance(value, Output) and value.node not in self.nodes:
                    slot = fed.setdefault(value, Slot(name, value.type, value, []))
                elif name in names:
                    slot = fed.setdefault(names[name], Slot(names[name], input_type(spec), None, [], value=value))
                    if slot.value != value:
                        raise ValueError(f"{self.title}: the widgets shown as {names[name]} differ in their values.")
                else:
                    continue
                slot.targets.append((node, name))
                if is_widget(spec):
                    slot.is_widget, slot.value = True, default(spec) if slot.origin else value
        # As the page has them: sockets, then the widgets that something feeds, then those that are set.
        slots = sorted(fed.values(), key=lambda slot: (slot.is_widget, slot.is_widget and slot.origin is None))
        for number, slot in enumerate(slots):
            if slot.origin and slot.name in (other.name for other in slots[:number]):
                slot.name = slot.origin.node.title.lower().replace(" ", "_")
        return slots
