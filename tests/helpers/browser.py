"""ComfyUI's own page, driven in a headless Chromium as a user would."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

from playwright.sync_api import Page as BrowserPage
from playwright.sync_api import sync_playwright

SCREEN = {"width": 1600, "height": 1000}
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking".split()
READY = "() => window.app?.graph && window.app.extensionManager && 'KSampler' in LiteGraph.registered_node_types"
MISSING = "() => app.graph.nodes.filter(n => !n.constructor.nodeData && !n.isVirtualNode).map(n => n.type)"
# A node's title stands 30 above its place. Nodes 2.0 are elements of the page, with footers below them.
BOXES = """() => {
    const drawn = [...document.querySelectorAll("[data-node-id]")];
    if (!drawn.length) return app.canvas.graph.nodes.map(({ title, pos, size }) => (
        { title, from: [pos[0], pos[1] - 30], to: [pos[0] + size[0], pos[1] + size[1]] }
    ));
    return drawn.map(element => {
        const { left, right, top } = element.getBoundingClientRect();
        const bottom = Math.max(...[element, ...element.querySelectorAll("*")]
            .filter(part => part.checkVisibility()).map(part => part.getBoundingClientRect().bottom));
        return { title: element.innerText.split("\\n")[0], from: [left, top], to: [right, bottom] };
    });
}"""
# Where a wire ends, it reaches 10 into a node.
CROSSED = """() => {
    const pen = document.createElement("canvas").getContext("2d"), { graph } = app.canvas, found = new Set();
    pen.lineWidth = 8;
    const wires = [...graph.links.values(), ...graph.reroutes.values()].filter(wire => wire.path);
    for (const { title, pos, size } of graph.nodes)
        for (let x = pos[0] + 16; x <= pos[0] + size[0] - 16; x += 8)
            for (let y = pos[1] - 30; y <= pos[1] + size[1]; y += 8)
                if (wires.some(wire => pen.isPointInStroke(wire.path, x, y))) found.add(title);
    return [wires.length, [...found]];
}"""
SIZES = """() => app.canvas.graph.nodes.filter(n => n.type !== "MarkdownNote").map(node => (
    { title: node.title, is: [...node.size], needs: [...node.computeSize()],
      shows: (node.widgets ?? []).some(widget => widget.name.endsWith("-preview")) }
))"""
ZOOM = "() => app.canvas.ds.scale"
WRITTEN = "() => !app.canvas.low_quality"
# Right of the page's side bar, and in the window.
OUTSIDE = """() => app.rootGraph.nodes.filter(({ pos, size }) => {
    const { scale, offset } = app.canvas.ds;
    const [left, top] = [pos[0] + offset[0], pos[1] - 30 + offset[1]].map(at => at * scale);
    return left < 56 || top < 36 || left + 0.5 * size[0] * scale > innerWidth || top + 30 * scale > innerHeight;
}).map(node => node.title)"""
STORE = "document.querySelector('#vue-app').__vue_app__.config.globalProperties.$pinia._s.get"
OFFERED = f"() => {STORE}('subgraph').subgraphBlueprints.map(node => node.display_name)"
APP = f"""() => {{
    const {{ selectedInputs, selectedOutputs }} = {STORE}('appMode');
    return [selectedInputs.map(input => input[1]), selectedOutputs.map(String)];
}}"""
SUBGRAPHS = "() => app.rootGraph.nodes.filter(node => node.isSubgraphNode?.()).map(node => node.title)"
OPEN = """title => {
    const node = app.rootGraph.nodes.find(node => node.title === title);
    title ? app.canvas.openSubgraph(node.subgraph, node) : app.canvas.setGraph(app.rootGraph);
}"""
# A file dragged in from the desktop reaches a page as a drop event that carries it.
FILE_DROP = """([text, name]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([text], name, { type: "application/json" }));
    return transfer;
}"""
# A widget that is shown on its subgraph's node is set there.
SET_WIDGET = """([title, name, value]) => {
    const graphs = [app.rootGraph, ...app.rootGraph.subgraphs.values()];
    const graph = graphs.find(graph => graph.nodes.some(node => node.title === title));
    let node = graph.nodes.find(node => node.title === title);
    const link = graph.links.get(node.inputs.find(input => input.widget?.name === name)?.link);
    if (link?.origin_id == -10) {
        name = graph.inputs[link.origin_slot].name;
        node = app.rootGraph.nodes.find(node => node.subgraph === graph);
    }
    const widget = node.widgets.find(widget => widget.name === name);
    widget.value = value;
    widget.callback?.(value);
}"""
WATCH_RUN = """() => { window.ended = new Promise(resolve => {
    for (const name of ["execution_success", "execution_error", "execution_interrupted"])
        app.api.addEventListener(name, event => resolve([name, event.detail]));
}); }"""


class Page:
    """The page of a ComfyUI. `errors` are the uncaught errors of its scripts."""

    def __init__(self, page: BrowserPage):
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def drop(self, workflow: Path) -> None:
        """Drop a workflow file on the canvas and wait until its graph is open."""
        self.page.evaluate("() => app.graph.clear()")
        transfer = self.page.evaluate_handle(FILE_DROP, [workflow.read_text("utf-8"), workflow.name])
        for event in ("dragover", "drop"):
            self.page.dispatch_event("#graph-canvas", event, {"dataTransfer": transfer})
        self.page.wait_for_function("() => app.graph.nodes.length > 0", timeout=20_000)
        self.page.wait_for_timeout(500)  # links and dialogs follow in the same turn of its event loop or the next

    def missing_nodes(self) -> list[str]:
        """The node classes of the open graph that the page has no definition of."""
        return self.page.evaluate(MISSING)

    def graph(self) -> dict:
        """The open graph in the UI's format, as the page would save it."""
        return self.page.evaluate("async () => (await app.graphToPrompt()).workflow")

    def subgraphs(self) -> list[str]:
        """The titles of the graph's subgraphs."""
        return self.page.evaluate(SUBGRAPHS)

    def enter(self, subgraph: str = "") -> None:
        """Show the inside of a subgraph, or the graph itself again."""
        self.page.evaluate(OPEN, subgraph)
        self.fit()

    def fit(self) -> float:
        """Bring all that is shown into view; the zoom at which it is."""
        self.page.evaluate("() => app.extensionManager.command.execute('Comfy.Canvas.FitView')")
        self.page.wait_for_timeout(500)
        before, scale = 0, self.page.evaluate(ZOOM)
        while scale != before:
            self.page.wait_for_timeout(200)
            before, scale = scale, self.page.evaluate(ZOOM)
        return scale

    def writes_text(self) -> bool:
        """Whether titles and widgets have letters at this zoom."""
        return self.page.evaluate(WRITTEN)

    def titles_outside(self) -> list[str]:
        """The nodes whose titles are not on the screen."""
        return self.page.evaluate(OUTSIDE)

    def overlaps(self) -> list[tuple[str, str]]:
        """Pairs of the nodes shown that lie on each other, in the sizes they have now."""
        boxes = self.page.evaluate(BOXES)
        return [
            (one["title"], other["title"])
            for one, other in combinations(boxes, 2)
            if all(one["from"][i] < other["to"][i] and other["from"][i] < one["to"][i] for i in (0, 1))
        ]

    def crossed(self) -> list[str]:
        """The nodes shown that a wire passes through."""
        wires, titles = self.page.evaluate(CROSSED)
        assert wires, "the page has drawn no wires"
        return titles

    def ill_sized(self) -> list[dict]:
        """The nodes shown, notes apart, that are higher than the page asks, or less, and no picture explains it."""
        return [
            node
            for node in self.page.evaluate(SIZES)
            if node["is"][1] > node["needs"][1] + 1
            or not node["shows"] and any(node["is"][i] < node["needs"][i] - 1 for i in (0, 1))
        ]

    def prompt(self) -> dict:
        """The open graph in the API's format, by the page's own conversion; of "4:3", a node in a subgraph, "3"."""
        prompt = self.page.evaluate("async () => (await app.graphToPrompt()).output")
        for node in prompt.values():
            node["inputs"].pop("video-preview", None)  # the page's player, there once the video is
            for name, value in node["inputs"].items():
                if isinstance(value, list):
                    node["inputs"][name] = [value[0].rpartition(":")[2], *value[1:]]
        return {number.rpartition(":")[2]: node for number, node in prompt.items()}

    def set_widget(self, node: str, widget: str, value: object) -> None:
        """Give a widget of the node titled `node` another value."""
        self.page.evaluate(SET_WIDGET, [node, widget, value])

    def run(self, timeout: float = 300) -> tuple[str, dict]:
        """Press Run and wait for the end: the name of the event that ended it, and what it says."""
        self.page.evaluate(WATCH_RUN)
        self.page.locator('button[data-testid="queue-button"], [data-testid="queue-button"] button').first.click()
        return tuple(self.page.wait_for_function("() => window.ended", timeout=1000 * timeout).json_value())

    def screenshot(self, path: Path) -> None:
        """A picture of the window, with the whole graph in view."""
        self.fit()
        path.parent.mkdir(exist_ok=True)
        self.page.screenshot(path=path)


def find_chromium() -> str | None:
    """A Chromium or Chrome to drive: CHROMIUM, or one that is installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@contextmanager
def open_page(url: str, chromium: str, nodes2: bool = False) -> Iterator[Page]:
    """The page of the ComfyUI at `url` in a fresh profile, ready for use; nothing but this machine is reached.

    All settings are the page's defaults, but that it offers no templates on this first visit. nodes2: Nodes 2.0.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        context = browser.new_context(viewport=SCREEN)
        context.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.abort())
        context.request.post(
            f"{url}/api/settings", data={"Comfy.TutorialCompleted": True, "Comfy.VueNodes.Enabled": nodes2}
        )
        page = Page(context.new_page())
        page.page.goto(url, wait_until="domcontentloaded")
        page.page.wait_for_function(READY, timeout=60_000)
        page.page.wait_for_timeout(1500)
        yield page
        browser.close()
