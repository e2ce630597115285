// A button for inputs whose files the page has no button for: they go into ComfyUI's input folder, and are chosen.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

async function send(file, subfolder) {
  const body = new FormData();
  body.append("image", file, file.name); // "image" is the server's word for any file; of a folder, the bare name
  if (subfolder) body.append("subfolder", subfolder);
  const answer = await api.fetchApi("/upload/image", { method: "POST", body });
  if (answer.status !== 200) throw new Error(`${file.name} was not taken (${answer.status} ${answer.statusText})`);
  return (await answer.json()).name;
}

// The name of what was brought: one file, or a folder of files with `suffix`, which gets a name that is free.
async function bring(files, suffix, taken) {
  if (!suffix) return send(files[0]);
  const folder = files[0].webkitRelativePath.split("/")[0];
  const wanted = files.filter((file) => file.name.toLowerCase().endsWith(suffix));
  if (!wanted.length) throw new Error(`${folder} holds no ${suffix} file: choose the folder they lie in`);
  let name = folder;
  for (let n = 2; taken.includes(name); n++) name = `${folder} ${n}`;
  for (const file of wanted) await send(file, name);
  return name;
}

function button(node, widget, label, picker, suffix) {
  picker.type = "file";
  picker.onchange = async () => {
    try {
      const values = widget.options.values;
      const name = await bring([...picker.files], suffix, values);
      if (!values.includes(name)) values.push(name);
      widget.value = name;
      widget.callback?.(name);
      node.setDirtyCanvas(true, true);
    } catch (error) {
      app.extensionManager.toast.add({ severity: "error", summary: node.title, detail: `${error.message}.` });
    }
    picker.value = ""; // the same file may be chosen again
  };
  const own = node.addWidget("button", label, null, () => picker.click(), { serialize: false }); // not in what is run
  own.serialize = false; // nor in what is saved
}

app.registerExtension({
  name: "crafters.uploads",
  nodeCreated(node) {
    for (const [name, [, options]] of Object.entries(node.constructor.nodeData?.input?.required ?? {})) {
      if (!node.comfyClass.startsWith("Crafters") || !options?.file_upload) continue;
      const widget = node.widgets.find((widget) => widget.name === name);
      const picker = () => document.createElement("input");
      button(node, widget, `choose ${name} to upload`, Object.assign(picker(), { accept: options.accept }));
      if (options.folder) {
        const folder = Object.assign(picker(), { webkitdirectory: true });
        button(node, widget, `choose folder of ${options.folder} to upload`, folder, options.folder);
      }
    }
  },
});
