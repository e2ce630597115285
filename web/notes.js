// A node's notes (host/notes.py) belong to its last run: they go when it runs again, and stay while its result is
// taken from the cache. Those of nodes in a subgraph stand on the subgraph's node as well: the page shows them inside
// it only.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { find } from "./graph.js";

const NOTES = "$$node-text-preview"; // the page's own widget for texts that a node sends
const told = new Map(); // by the id of a subgraph's node: the notes of the nodes in it, by their ids

function clear(node) {
  const at = (node?.widgets ?? []).findIndex((w) => w.name === NOTES);
  if (at >= 0) {
    node.widgets[at].onRemove?.();
    node.widgets.splice(at, 1);
  }
}

function showOn(host, detail) {
  const text = [...told.get(host).values()].join("\n");
  if (text) api.dispatchEvent(new CustomEvent("progress_text", { detail: { ...detail, nodeId: host, text } }));
  else clear(find(app.graph, [host]));
}

app.registerExtension({
  name: "crafters.notes",
  setup() {
    api.addEventListener("executing", ({ detail }) => {
      const path = detail ? String(detail.node ?? detail).split(":") : [];
      const node = path.length ? find(app.graph, path) : null;
      if (!node?.comfyClass?.startsWith("Crafters")) return;
      clear(node);
      if (told.get(path[0])?.delete(path.join(":"))) showOn(path[0], {});
    });
    api.addEventListener("progress_text", ({ detail }) => {
      const path = String(detail.nodeId).split(":");
      const node = path.length > 1 ? find(app.graph, path) : null;
      if (!node?.comfyClass?.startsWith("Crafters")) return;
      if (!told.has(path[0])) told.set(path[0], new Map());
      told.get(path[0]).set(path.join(":"), `${node.title}: ${detail.text}`);
      showOn(path[0], detail);
    });
  },
});
