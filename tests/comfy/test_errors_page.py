"""What a user reads on ComfyUI's own page when something is wrong, and on nodes that hold something."""

import json
import re
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from crafters.proof.demo import SMALL
from helpers.comfy_harness import ROOT
from helpers.made_up import write_moving
from workflow_graph import Graph

pytestmark = pytest.mark.comfy
PICTURES = ROOT / "test-artifacts"
MESSAGE, PANEL = '[data-testid="error-overlay-messages"]', '[data-testid="error-group-display-message"]'
ROOM = 2 << 30  # bytes that a server at its limit still finds: enough for libraries that it loads
NOTES = """title => app.graph.nodes.find(n => n.title === title).widgets
    .filter(w => w.name === "$$node-text-preview").map(w => w.value).join("\\n")"""


@pytest.fixture
def graph(comfy, request):
    graph = Graph(comfy.get("/object_info"), request.node.name)
    graph.group("Inputs", 0)
    return graph


@pytest.fixture
def performer(comfy):
    """A performer's files among the inputs, by the titles of the nodes that load them."""
    files = write_moving(comfy.base / "input" / "performer", 4)
    return {title: str(path.relative_to(comfy.base / "input")) for title, path in files.items()}


def plain(graph, frames=1):
    return graph.add("EmptyImage", width=64, height=64, batch_size=frames, color=255)["IMAGE"]


def scene(graph, frames, background):
    alpha = graph.add("ImageToMask", image=plain(graph, frames), channel="blue")["MASK"]
    moving, still = plain(graph, frames), plain(graph)
    return graph.add("CraftersComposeScene", avatar=moving, alpha=alpha, mesh=moving, character=still,
                     background=plain(graph, background))


def show(graph, images):
    graph.group("Result", 1)
    graph.add("PreviewImage", images=images)


def open_graph(page, graph, folder):
    file = folder / f"{graph.name}.json"
    file.write_text(json.dumps(graph.ui()), "utf-8")
    page.drop(file)
    assert page.missing_nodes() == []


def press_run(page):
    page.page.locator('button[data-testid="queue-button"], [data-testid="queue-button"] button').first.click()


def picture(page, name):
    PICTURES.mkdir(exist_ok=True)
    page.page.screenshot(path=PICTURES / f"{name}.png")


def told(page, name):
    """What the error panel says first of what is wrong, and, where a message came up, what it says: the same."""
    message = page.page.locator(MESSAGE)
    message.first.wait_for(timeout=120_000)
    picture(page, f"{name} message")
    said = message.first.inner_text().strip()
    page.page.get_by_role("button", name=re.compile("^(View details|Show errors|See errors)$")).first.click()
    page.page.locator(PANEL).first.wait_for(timeout=20_000)
    picture(page, f"{name} panel")
    return said, [line.strip() for line in page.page.locator(PANEL).all_inner_texts()]


def test_a_missing_model(page, graph, tmp_path):
    small = SMALL["CraftersLoadDWPose"]["pose"]
    networks = graph.add("CraftersLoadDWPose", detector="yolox_l.onnx", pose=small)
    keypoints = graph.add("CraftersExtractPose", detector=networks["detector"], images=plain(graph))["keypoints"]
    show(graph, graph.add("CraftersDrawPose", keypoints=keypoints)["image"])
    open_graph(page, graph, tmp_path)
    press_run(page)
    _, panel = told(page, "missing model")
    told_of = "Load DWPose: 'yolox_l.onnx' is not in "
    fetch = ": fetch it with `crafters download dwpose`, or choose another."
    assert panel[-1].startswith(told_of) and panel[-1].endswith(fetch)  # below the page's own list of missing models


def test_a_missing_input(page, graph, tmp_path):
    show(graph, graph.add("CraftersFitPerson", image=plain(graph))["image"])
    open_graph(page, graph, tmp_path)
    page.page.evaluate("() => app.graph.nodes.find(n => n.type === 'CraftersFitPerson').disconnectInput(0)")
    press_run(page)
    said, panel = told(page, "missing input")
    assert panel == ["Fit Person Photo: image is missing: connect or choose it."] and said


def test_a_clip_shorter_than_the_motion(page, graph, tmp_path):
    show(graph, scene(graph, 9, background=5)["blend"])
    open_graph(page, graph, tmp_path)
    press_run(page)
    said, panel = told(page, "shorter clip")
    assert said.startswith("Compose Scene: The avatar has 9 frames, but the background 5: cut the motion")
    assert panel == [said]


def test_a_wrong_vae(page, graph, tmp_path):
    text = graph.add("CraftersAniCrafterPrompt", **SMALL["CraftersAniCrafterPrompt"])
    vae = graph.add("CraftersLoadSVDFolder", folder="svd-small")["vae"]
    condition = graph.add("CraftersAniCrafterConditioning", positive=text["positive"], negative=text["negative"],
                          vae=vae, scene=scene(graph, 8, 8)["scene"])
    show(graph, graph.add("CraftersAnchorDecode", samples=condition["latent"], vae=vae)["images"])
    open_graph(page, graph, tmp_path)
    press_run(page)
    said, panel = told(page, "wrong VAE")
    assert re.fullmatch(r"AniCrafter Conditioning: This VAE makes latents of shape .*: connect Wan 2.1's VAE\.", said)
    assert panel == [said]


def test_no_person_in_the_photo(page, graph, tmp_path):
    networks = graph.add("CraftersLoadDWPose", **SMALL["CraftersLoadDWPose"])
    keypoints = graph.add("CraftersExtractPose", detector=networks["detector"], images=plain(graph))["keypoints"]
    show(graph, graph.add("CraftersDrawPose", keypoints=keypoints)["image"])
    open_graph(page, graph, tmp_path)
    press_run(page)
    said, panel = told(page, "no person")
    assert said == "Extract Pose: No person was found in frame 0: use a picture that shows head and torso clearly."
    assert panel == [said]


@contextmanager
def memory_limit(room: int) -> Iterator[None]:
    """The server of these tests can take `room` bytes more than it has."""
    (server,) = [child for child in psutil.Process().children(recursive=True) if "main.py" in " ".join(child.cmdline())]
    before, taken = resource.prlimit(server.pid, resource.RLIMIT_AS), 0
    while taken != (taken := server.memory_info().vms):  # until it has given back what other tests left
        time.sleep(2)
    resource.prlimit(server.pid, resource.RLIMIT_AS, (taken + room, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_AS, before)


def test_out_of_memory(comfy, performer, page, graph, tmp_path):
    avatar = graph.add("CraftersLoadAvatar", avatar=performer["Load Avatar"])["avatar"]
    graph.group("Result", 1)
    graph.add("CraftersPreviewAvatar", avatar=avatar, frames=360, width=1024, height=1024)  # 4.5 GB
    open_graph(page, graph, tmp_path)
    freed = page.page.context.request.post(f"{comfy.url}/free", data={"unload_models": True, "free_memory": True})
    assert freed.ok
    with memory_limit(ROOM):
        press_run(page)
        said, panel = told(page, "out of memory")
    assert said.startswith("Preview Avatar: Out of memory, ") and "choose a smaller size" in said
    assert panel == [said]


def test_a_cancelled_run(comfy, performer, page, graph, tmp_path):
    avatar = graph.add("CraftersLoadAvatar", avatar=performer["Load Avatar"])["avatar"]
    graph.group("Result", 1)
    graph.add("CraftersPreviewAvatar", avatar=avatar, frames=360, width=1024, height=1024)
    open_graph(page, graph, tmp_path)
    page.page.evaluate("""() => { window.begun = new Promise(resolve => app.api.addEventListener("progress_state",
        event => Object.values(event.detail.nodes).some(node => node.value >= 2) && resolve(true))); }""")
    press_run(page)
    page.page.wait_for_function("() => window.begun", timeout=120_000)
    comfy.interrupt()
    page.page.wait_for_function(f"() => ({NOTES})('Preview Avatar')", timeout=60_000)
    picture(page, "cancelled")
    said = page.page.evaluate(NOTES, "Preview Avatar")
    assert said == "Cancelled here: what the nodes before have made is kept, and Run goes on from there."
    assert not page.page.locator(MESSAGE).count()  # a wish, and no error


def test_loader_and_conditioning_say_what_they_hold(page, graph, tmp_path):
    text = graph.add("CraftersAniCrafterPrompt", **SMALL["CraftersAniCrafterPrompt"])
    wan = {"vae": SMALL["VAELoader"]["vae_name"], "clip_vision": "wan_small_clip.pth"}
    encoders = graph.add("CraftersLoadWanEncoders", **wan)
    condition = graph.add("CraftersAniCrafterConditioning", positive=text["positive"], negative=text["negative"],
                          vae=encoders["vae"], scene=scene(graph, 8, 8)["scene"])
    show(graph, graph.add("VAEDecode", samples=condition["latent"], vae=encoders["vae"])["IMAGE"])
    open_graph(page, graph, tmp_path)
    page.run()
    picture(page, "what they hold")
    held = {node: page.page.evaluate(NOTES, node) for node in (
        "AniCrafter Prompt", "Load Wan Encoders (self-contained)", "AniCrafter Conditioning")}
    assert held["AniCrafter Prompt"] == "The published prompt, kept in anicrafter_prompt_small.safetensors."
    assert re.fullmatch(r"VAE: \d+ \w+ parameters in fp32\.\nCLIP: \d+ \w+ parameters in fp32\.",
                        held["Load Wan Encoders (self-contained)"])
    assert held["AniCrafter Conditioning"] == "9 frames of 64×64, the still among them; without what CLIP sees."
