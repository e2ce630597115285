// The page tells every failed node by the same words. Of this pack's nodes it tells what they say themselves: one
// sentence with the cause and the way out.
import { app } from "../../scripts/app.js";
import { find } from "./graph.js";

const WORDS = /^errorCatalog\.(runtime|validation)Errors\.\w+\.(message|toastMessage)/;
const sentence = (text) => text.trim().split("\n")[0];
const titled = (id, told) => `${find(app.graph, String(id).split(":"))?.title ?? "Crafters"}: ${told}`;

function failed() {
  const error = app.extensionManager.lastExecutionError;
  return error?.node_type.startsWith("Crafters") ? titled(error.node_id, sentence(error.exception_message)) : null;
}

function refused() {
  const nodes = Object.entries(app.extensionManager.lastNodeErrors ?? {});
  if (!nodes.length || !nodes.every(([, node]) => node.class_type.startsWith("Crafters"))) return null;
  const told = nodes.flatMap(([id, node]) => node.errors.map((error) => {
    if (error.type === "custom_validation_failed") return titled(id, error.details.replace(/^\w+ - /, "")); // INPUT - …
    if (error.type === "required_input_missing") return titled(id, `${error.details} is missing: connect or choose it.`);
    return titled(id, `${error.message}: ${error.details}`);
  }));
  return [...new Set(told)].join(" ");
}

app.registerExtension({
  name: "crafters.errors",
  setup() {
    const page = document.getElementById("vue-app")?.__vue_app__;
    const words = page?._context.provides[page.__VUE_I18N_SYMBOL__]?.global;
    if (!words) return; // another page than ComfyUI's: its own words stay
    const before = words.getPostTranslationHandler();
    words.setPostTranslationHandler((text, key) => {
      const of = WORDS.exec(key)?.[1];
      const own = of === "runtime" ? failed() : of === "validation" ? refused() : null;
      return own ?? (before ? before(text, key) : text);
    });
  },
});
