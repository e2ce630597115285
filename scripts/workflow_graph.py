"""One description of a graph, written in both of ComfyUI's formats: the UI's JSON and the API's."""

from workflow_canvas import Canvas
from workflow_parts import Group, Node, Output
from workflow_schema import default, input_specs, input_type, is_widget


class Graph:
    """A graph under construction, against the node definitions of a server's /object_info.

    Nodes belong to the open group. Columns go from left to right: what is put in, prepared, and so on to the result;
    where a node stands in its column follows from its links.
    """

    def __init__(self, object_info: dict, name: str):
        self.name = name
        self._info = object_info
        self._nodes: list[Node] = []
        self._groups: list[Group] = []
        self._note = ""
        self._app: tuple[list[tuple[Node, str]], Node] | None = None

    def group(self, title: str, column: int, fold: bool = False) -> None:
        """Open a group in a column of the canvas; what is added next is in it. Groups of one title are one.

        fold: its nodes become a subgraph of that title.
        """
        known = next((group for group in self._groups if group.title == title), Group(title, column, fold))
        self._groups = [*(group for group in self._groups if group is not known), known]

    def next_stack(self) -> None:
        """Nothing: how nodes are stacked follows from their links. It is here for graphs that were written before."""

    def note(self, text: str) -> None:
        """The Markdown note on the canvas; it is part of the UI graph only."""
        self._note = text

    def app(self, inputs: list[tuple[Node, str]], result: Node) -> None:
        """What the page's app mode shows of the graph: these widgets, and what that node saves.

        A node's only widget there, such as a photo's file, is called as the node.
        """
        self._app = inputs, result

    def add(self, kind: str, title: str = "", /, **inputs: object) -> Node:
        """A node of class `kind`; each input is a value or another node's output, or else has its default.

        Raises ValueError for an unknown class or input, a missing input, or a link of another type.
        """
        if kind not in self._info:
            raise ValueError(f"{self.name}: this ComfyUI has no node {kind}.")
        info = self._info[kind]
        title = title or info["display_name"] or kind
        specs = {name: spec for _, name, spec in input_specs(info, inputs)}
        if unknown := inputs.keys() - specs.keys():
            raise ValueError(f"{self.name}: {title} has no input {sorted(unknown)}; it has {list(specs)}.")
        values = {}
        for category, name, spec in input_specs(info, inputs):
            value = inputs.get(name, default(spec) if is_widget(spec) else None)
            if value is None and category == "required":
                raise ValueError(f"{self.name}: {title} needs the input {name}.")
            if isinstance(value, Output) and value.type not in input_type(spec).split(","):
                raise ValueError(f"{self.name}: {title} takes {input_type(spec)} as {name}, not {value.type}.")
            if value is not None:
                values[name] = value
        node = Node(len(self._nodes) + 1, kind, title, info, values)
        self._nodes.append(node)
        self._groups[-1].nodes.append(node)
        return node

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
        }

    def ui(self) -> dict:
        """The UI format, laid out."""
        return Canvas(self.name, self._groups, self._note, self._app).graph()

    def blueprint(self, title: str, description: str) -> dict:
        """The subgraph of that title alone, as the page offers it among the nodes."""
        return Canvas(self.name, self._groups, "", None).blueprint(title, description)
