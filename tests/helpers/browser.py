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

# No template chooser on the first visit; text at every zoom, and nothing before the graph, for the pictures.
SETTINGS = {"Comfy.TutorialCompleted": True, "LiteGraph.Canvas.MinFontSizeForLOD": 0, "Comfy.Minimap.Visible": False}
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking".split()
READY = "() => window.app?.graph && window.app.extensionManager && 'KSampler' in LiteGraph.registered_node_types"
MISSING = "() => app.graph.nodes.filter(n => !n.constructor.nodeData && !n.isVirtualNode).map(n => n.type)"
# A node's title stands 30 above its place.
BOXES = """() => app.graph.nodes.map(({ title, pos, size }) => (
    { title, from: [pos[0], pos[1] - 30], to: [pos[0] + size[0], pos[1] + size[1]] }
))"""
# A file dragged in from the desktop reaches a page as a drop event that carries it.
FILE_DROP = """([text, name]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([text], name, { type: "application/json" }));
    return transfer;
}"""
SET_WIDGET = """([title, name, value]) => {
    const widget = app.graph.nodes.find(n => n.title === title).widgets.find(w => w.name === name);
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

    def overlaps(self) -> list[tuple[str, str]]:
        """Pairs of nodes of the open graph that lie on each other, in the sizes they have now."""
        boxes = self.page.evaluate(BOXES)
        return [
            (one["title"], other["title"])
            for one, other in combinations(boxes, 2)
            if all(one["from"][i] < other["to"][i] and other["from"][i] < one["to"][i] for i in (0, 1))
        ]

    def prompt(self) -> dict:
        """The open graph in the API's format, by the page's own conversion."""
        prompt = self.page.evaluate("async () => (await app.graphToPrompt()).output")
        for node in prompt.values():
            node["inputs"].pop("video-preview", None)  # the page's player, there once the video is
        return prompt

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
        self.page.evaluate("() => app.extensionManager.command.execute('Comfy.Canvas.FitView')")
        self.page.wait_for_timeout(1500)
        path.parent.mkdir(exist_ok=True)
        self.page.screenshot(path=path)


def find_chromium() -> str | None:
    """A Chromium or Chrome to drive: CHROMIUM, or one that is installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@contextmanager
def open_page(url: str, chromium: str) -> Iterator[Page]:
    """The page of the ComfyUI at `url` in a fresh profile, ready for use; nothing but this machine is reached."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        context = browser.new_context(viewport={"width": 1920, "height": 1080})
        context.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.abort())
        context.request.post(f"{url}/api/settings", data=SETTINGS)
        page = Page(context.new_page())
        page.page.goto(url, wait_until="domcontentloaded")
        page.page.wait_for_function(READY, timeout=60_000)
        page.page.wait_for_timeout(1500)
        yield page
        browser.close()
