// A node's notes (host/notes.py) belong to its last run: they go when it runs again, and stay while its result is
// taken from the cache.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { find } from "./graph.js";

const NOTES = "$$node-text-preview"; // the page's own widget for texts that a node sends

app.registerExtension({
  name: "crafters.notes",
  setup() {
    api.addEventListener("executing", ({ detail }) => {
      const node = detail && find(app.graph, String(detail.node ?? detail).split(":"));
      const at = node?.comfyClass?.startsWith("Crafters") ? (node.widgets ?? []).findIndex((w) => w.name === NOTES) : -1;
      if (at >= 0) {
        node.widgets[at].onRemove?.();
        node.widgets.splice(at, 1);
      }
    });
  },
});
