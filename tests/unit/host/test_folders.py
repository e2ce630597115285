"""Model folders, with ComfyUI's own bookkeeping and without."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from crafters.host import folders


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A ComfyUI-like folder without ComfyUI."""
    monkeypatch.delitem(sys.modules, "folder_paths", raising=False)
    monkeypatch.setenv("CRAFTERS_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def host(tmp_path, monkeypatch):
    """What matters here of ComfyUI's `folder_paths`."""

    def add(kind, folder, is_default=False):
        folders, _ = host.folder_names_and_paths.setdefault(kind, ([], set()))
        if folder not in folders:
            folders.append(folder)

    def listing(kind):
        folders, extensions = host.folder_names_and_paths[kind]
        found = [path for folder in folders for path in Path(folder).rglob("*") if path.is_file()]
        return [path.name for path in found if not extensions or path.suffix in extensions]

    host = SimpleNamespace(
        models_dir=str(tmp_path / "models"),
        folder_names_and_paths={"checkpoints": ([str(tmp_path / "models" / "checkpoints")], {".safetensors"})},
        add_model_folder_path=add,
        get_filename_list=listing,
    )
    monkeypatch.setitem(sys.modules, "folder_paths", host)
    return host


def test_names(models):
    for name in ("checkpoints/b.safetensors", "checkpoints/deep/a.PTH", "checkpoints/notes.txt", "unet/c.ckpt"):
        touch(models / name)
    touch(models / "diffusion_models" / "c.ckpt")
    assert folders.names("checkpoints", "diffusion_models", "vae") == ["b.safetensors", "c.ckpt", "deep/a.PTH"]


def test_the_likeliest_file_is_offered_first(models):
    for name in ("a.pth", "b-Anchor.pth", "c.onnx", "anchor.onnx"):
        touch(models / "crafters" / name)
    assert folders.likeliest_first("anchor", "crafters") == ["b-Anchor.pth", "a.pth"]
    assert folders.likeliest_first("anchor", "crafters", suffixes={".onnx"}) == ["anchor.onnx", "c.onnx"]


def test_path_understands_backslashes(models):
    wanted = touch(models / "checkpoints" / "deep" / "a.pth")
    assert folders.path("deep\\a.pth", "vae", "checkpoints") == wanted == folders.path("deep/a.pth", "checkpoints")


@pytest.mark.parametrize("name", ["../secret.pth", "..\\secret.pth", "", "/etc/hostname"])
def test_path_stays_inside(models, name):
    touch(models / "secret.pth")
    (models / "checkpoints").mkdir()
    with pytest.raises(FileNotFoundError):
        folders.path(name, "checkpoints")


def test_a_missing_file_is_explained(models):
    with pytest.raises(FileNotFoundError) as error:
        folders.path("yolox_l.onnx", "crafters", "vae")
    assert "'yolox_l.onnx'" in str(error.value)
    assert str(models / "crafters") in str(error.value) and str(models / "vae") in str(error.value)
    assert "crafters download dwpose" in str(error.value)
    with pytest.raises(FileNotFoundError, match="crafters doctor"):
        folders.path("mine.onnx", "crafters")


def test_folder_names(models):
    touch(models / "diffusers" / "svd" / "model_index.json")
    touch(models / "diffusers" / "svd" / "vae" / "config.json")
    touch(models / "clip_vision" / "facebook" / "dinov2-large" / "config.json")
    touch(models / "clip_vision" / "a" / "b" / "c" / "config.json")
    touch(models / "clip_vision" / "config.json")
    assert folders.folder_names("diffusers", "crafters", "clip_vision") == ["facebook/dinov2-large", "svd"]
    assert folders.path("svd", "crafters", "diffusers") == models / "diffusers" / "svd"


def test_extra_model_paths_outside_comfyui(models, tmp_path):
    config = "a:\n  base_path: elsewhere\n  is_default: true\n  vae: |\n    one\n    two\nb:\n  unet: {}\nempty:\n"
    (tmp_path / "extra_model_paths.yaml").write_text(config.format(tmp_path / "net"))
    for path in ("elsewhere/one/x.pt", "elsewhere/two/y.pt", "net/z.pt"):
        touch(tmp_path / path)
    assert folders.names("vae") == ["x.pt", "y.pt"]
    assert folders.path("z.pt", "diffusion_models") == tmp_path / "net" / "z.pt"


def test_registering_in_comfyui_filters_and_keeps_extra_folders(host, tmp_path):
    host.add_model_folder_path("crafters", str(tmp_path / "extra"))  # extra_model_paths.yaml, read before the pack
    folders.register()
    folders.register()
    own = str(tmp_path / "models" / "crafters")
    assert host.folder_names_and_paths["crafters"] == ([str(tmp_path / "extra"), own], set(folders.EXTENSIONS))

    for name in ("extra/a.onnx", "models/crafters/b.pth", "models/crafters/notes.txt"):
        touch(tmp_path / name)
    assert folders.names("crafters", suffixes=folders.EXTENSIONS) == ["a.onnx", "b.pth"]
    assert folders.names("crafters") == ["b.pth"]
    assert folders.path("b.pth", "crafters") == tmp_path / "models" / "crafters" / "b.pth"


def test_models_root(tmp_path, monkeypatch):
    monkeypatch.delenv("CRAFTERS_MODELS", raising=False)
    comfy_dir = tmp_path / "ComfyUI"
    touch(comfy_dir / "main.py")
    touch(comfy_dir / "comfy" / "cli_args.py")
    monkeypatch.setenv("COMFYUI_DIR", str(comfy_dir))
    assert folders.models_root() == comfy_dir / "models"
    monkeypatch.setenv("CRAFTERS_MODELS", str(tmp_path / "mine"))
    assert folders.models_root() == tmp_path / "mine"


@pytest.fixture
def outputs(host, tmp_path):
    """ComfyUI's output folder."""
    host.get_output_directory = lambda: str(tmp_path / "output")
    (tmp_path / "output").mkdir()
    return tmp_path / "output"


def test_output_folders(outputs):
    for name in (
        "mine/manifest.json",
        "a/b/c/manifest.json",
        "a/b/c/d/manifest.json",
        "x/y/z/w/manifest.json",
        "p.png",
    ):
        touch(outputs / name)
    assert folders.output_folders("manifest.json") == ["a/b/c", "mine"]
    assert folders.output_folder("a\\b") == outputs / "a" / "b" and folders.output_folder("new") == outputs / "new"
    for name in ("../elsewhere", "/etc", "mine/../.."):
        with pytest.raises(ValueError, match="leads elsewhere|has an empty part"):
            folders.output_folder(name)


def with_input(host, tmp_path):
    """As `folder_paths` looks for uploads."""

    def annotated(name):
        if ".." in name:
            raise ValueError("Invalid file path")
        return str(tmp_path / "input" / name)

    host.get_annotated_filepath = annotated
    host.get_input_directory = lambda: str(tmp_path / "input")


def test_what_a_widget_names(host, tmp_path):
    with_input(host, tmp_path)
    folders.register()
    photo = touch(tmp_path / "input" / "a.png")
    folder = touch(tmp_path / "input" / "walk" / "1.json").parent
    network = touch(tmp_path / "models" / "crafters" / "net.onnx")
    sam = touch(tmp_path / "models" / "crafters" / "sam" / "config.json").parent
    touch(tmp_path / "models" / "crafters" / "deep" / "x.txt")
    assert [folders.given(name) for name in ("a.png", "walk", "net.onnx", "sam")] == [photo, folder, None, None]
    assert [folders.named(name) for name in ("a.png", "walk", "net.onnx", "sam")] == [photo, folder, network, sam]
    elsewhere = touch(tmp_path / "elsewhere" / "b.mp4")
    assert folders.given(str(elsewhere)) == elsewhere and folders.given(str(elsewhere.parent)) is None
    for name in ("", ".", "..", "../input", "deep", "fp32", "/etc", "a\0b", "x" * 5000):
        assert folders.given(name) is folders.named(name) is None


def test_uploaded(host, tmp_path):
    with_input(host, tmp_path)
    photo = touch(tmp_path / "input" / "a.png")
    assert folders.uploaded("a.png") == photo
    for name in ("", "b.png", "../a.png", "what the hands hold", "x" * 5000):
        assert folders.uploaded(name) is None
