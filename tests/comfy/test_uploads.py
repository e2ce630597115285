"""Avatars and motions brought to the server from ComfyUI's own page, as of a user whose server is elsewhere."""

import json

import pytest
from helpers.comfy_harness import ROOT
from helpers.made_up import performers_avatar, waving
from workflow_graph import Graph

pytestmark = pytest.mark.comfy
PICTURES = ROOT / "test-artifacts"
CHOSEN = "name => app.graph.nodes[0].widgets.find(w => w.name === name).value"
PRESS = "label => app.graph.nodes[0].widgets.find(w => w.name === label).callback()"


def opened(page, comfy, kind, folder, nodes2=False):
    """A node alone on the page, in its canvas or in Nodes 2.0."""
    graph = Graph(comfy.get("/object_info"), kind)
    graph.group("Inputs", 0)
    graph.add(kind, **{"avatar": "none"} if kind == "CraftersLoadAvatar" else {"motion": "none"})
    page.page.evaluate("on => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", nodes2)
    file = folder / f"{kind}.json"
    file.write_text(json.dumps(graph.ui()), "utf-8")
    page.drop(file)


def choose(page, label, files, nodes2):
    """Presses the node's button of that label, and picks the files."""
    with page.page.expect_file_chooser() as chooser:
        if nodes2:
            page.page.locator("[data-node-id]").get_by_role("button", name=label).click()  # not the side panel's
        else:
            page.page.evaluate(PRESS, label)
    chooser.value.set_files(files)


@pytest.mark.parametrize("nodes2", [False, True], ids=["canvas", "nodes2"])
def test_an_avatar_is_brought_and_chosen(comfy, page, tmp_path, nodes2):
    from crafters.models.avatar.files import save_avatar

    file = tmp_path / f"brought {nodes2}.ply"
    save_avatar(performers_avatar(1000), file)
    opened(page, comfy, "CraftersLoadAvatar", tmp_path, nodes2)
    page.page.wait_for_timeout(1500)
    PICTURES.mkdir(exist_ok=True)
    page.page.screenshot(path=PICTURES / f"upload {'nodes2' if nodes2 else 'canvas'}.png")
    choose(page, "choose avatar to upload", file, nodes2)
    page.page.wait_for_function(f"name => ({CHOSEN})('avatar') === name", arg=file.name, timeout=20_000)
    assert (comfy.base / "input" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("nodes2", [False, True], ids=["canvas", "nodes2"])
def test_a_motion_is_a_file_or_a_folder(comfy, page, tmp_path, nodes2):
    from crafters.models.body.motion_files import save_motion

    folder = tmp_path / f"walk {nodes2}"
    save_motion(waving(3, 160, 96), folder)
    (folder / "notes.txt").write_text("left behind")
    file = tmp_path / f"walk {nodes2}.npz"
    save_motion(waving(3, 160, 96), file)
    opened(page, comfy, "CraftersLoadMotion", tmp_path, nodes2)
    choose(page, "choose motion to upload", file, nodes2)
    page.page.wait_for_function(f"name => ({CHOSEN})('motion') === name", arg=file.name, timeout=20_000)
    choose(page, "choose folder of .json to upload", folder, nodes2)
    page.page.wait_for_function(f"name => ({CHOSEN})('motion') === name", arg=folder.name, timeout=20_000)
    there = comfy.base / "input" / folder.name
    assert sorted(path.name for path in there.iterdir()) == sorted(path.name for path in folder.glob("*.json"))
    choose(page, "choose folder of .json to upload", folder, nodes2)  # the same name again: another folder
    page.page.wait_for_function(f"name => ({CHOSEN})('motion') === name", arg=f"{folder.name} 2", timeout=20_000)
