// A node's notes (host/notes.py) belong to its last run: they go when it runs again, and stay while its result is
// taken from the cache. The page drops those of a node in a closed subgraph: they are kept until it is opened. Those
// that warn come up in a message as well, and a badge of the subgraph names the nodes inside that they are of.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { find } from "./graph.js";

const NOTES = "$$node-text-preview"; // the page's own widget for texts that a node sends
const WARNS = "⚠";
const told = new WeakMap(); // node in a subgraph → its notes
const badges = new WeakMap(); // subgraph → its badge

const isOurs = (node) => node?.comfyClass?.startsWith("Crafters");
const warning = (node) => told.get(node)?.text.split("\n").filter((note) => note.startsWith(WARNS)).join("\n");

function clear(node) {
  const at = (node.widgets ?? []).findIndex((widget) => widget.name === NOTES);
  if (at < 0) return;
  node.widgets[at].onRemove?.();
  node.widgets.splice(at, 1);
}

function warners(graph) {
  return graph.nodes.flatMap((node) => (node.subgraph ? warners(node.subgraph) : warning(node) ? [node.title] : []));
}

// The badges of the subgraphs around the node at that place.
function mark(path) {
  for (let depth = 1; depth < path.length; depth++) {
    const node = find(app.graph, path.slice(0, depth));
    const titles = warners(node.subgraph), old = badges.get(node);
    node.badges = node.badges.filter((badge) => badge !== old);
    if (!titles.length) continue;
    badges.set(node, new LGraphBadge({ text: `${WARNS} ${titles.join(", ")}`, fgColor: "#000", bgColor: "#fa0" }));
    node.badges.push(badges.get(node));
  }
  app.canvas.setDirty(true, true);
}

app.registerExtension({
  name: "crafters.notes",
  setup() {
    api.addEventListener("progress_text", ({ detail: { nodeId, text } }) => {
      const path = String(nodeId).split(":"), node = find(app.graph, path);
      if (path.length < 2 || !isOurs(node) || told.get(node)?.text === text) return;
      told.set(node, { nodeId, text });
      mark(path);
      const at = path.map((_, depth) => find(app.graph, path.slice(0, depth + 1)).title).join(" › ");
      if (warning(node) && app.canvas.graph !== node.graph)
        app.extensionManager.toast.add({ severity: "warn", summary: at, detail: warning(node), life: 20000 });
    });
    api.addEventListener("executing", ({ detail }) => {
      const path = detail ? String(detail.node ?? detail).split(":") : [], node = find(app.graph, path);
      if (!isOurs(node)) return;
      clear(node);
      if (told.delete(node)) mark(path);
    });
    app.canvas.canvas.addEventListener("litegraph:set-graph", ({ detail: { newGraph } }) => setTimeout(() => {
      const notes = newGraph.nodes.map((node) => told.get(node)).filter(Boolean); // the page knows its graph by now
      for (const detail of notes) api.dispatchEvent(new CustomEvent("progress_text", { detail }));
    }));
  },
});
