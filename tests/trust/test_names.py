"""Names that strangers give, over everything that writes: nothing leaves its folder."""

import asyncio
import sys
from types import SimpleNamespace

import pytest
from aiohttp import web
from crafters.cli.client import ComfyClient, ComfyError
from crafters.files.names import inside, plain
from crafters.host import folders
from trust.evil import EVIL


@pytest.fixture
def home(tmp_path, monkeypatch):
    """ComfyUI's folders, each with a link that leads out; beside them what nobody may touch."""
    for name in ("output", "input", "models/crafters", "private"):
        (tmp_path / name).mkdir(parents=True)
        if name != "private":
            (tmp_path / name / "link").symlink_to(tmp_path / "private", target_is_directory=True)
    (tmp_path / "x").write_text("kept")
    (tmp_path / "private" / "x").write_text("kept")
    host = SimpleNamespace(
        folder_names_and_paths={"crafters": ([str(tmp_path / "models" / "crafters")], set())},
        get_output_directory=lambda: str(tmp_path / "output"),
        get_input_directory=lambda: str(tmp_path / "input"),
        get_save_image_path=lambda prefix, folder: (folder, prefix, 1, "", prefix),
    )
    monkeypatch.setitem(sys.modules, "folder_paths", host)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(home):
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


WRITERS = {
    "model": lambda name: folders.new_model(name, folders.OWN),
    "model with its ending": lambda name: folders.new_model(f"{name}.safetensors", folders.OWN),
    "prefix": lambda name: folders.output_path(name, ".pth"),
    "folder": folders.output_folder,
    "clip": plain,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_evil_names_are_refused(home, writer):
    before = contents(home)
    for name in EVIL:
        try:
            found = WRITERS[writer](name)
        except ValueError as error:
            assert "\n" not in str(error) and len(str(error)) <= 300
            continue
        if writer == "model with its ending":  # which makes some harmless
            assert found.is_relative_to(home / "models" / "crafters") and found.name.endswith(".safetensors"), name
        else:
            assert (writer, name) == ("clip", "link"), name  # a plain name
    assert contents(home) == before


def test_good_names_stay(home):
    for name in ("anna_mug", "crafters/mine", "a\\b", "mine/", "Übung 1", "v1.2", "%date%/x", "console", "a.b.c"):
        wanted = home.joinpath("output", *name.replace("\\", "/").strip("/").split("/"))
        assert folders.output_folder(name) == wanted
    own = home / "models" / "crafters"
    assert folders.new_model("mine/p.safetensors", folders.OWN) == own / "mine" / "p.safetensors"
    with pytest.raises(ValueError, match="does not end in .safetensors"):
        folders.new_model("p", folders.OWN)


def test_the_folder_itself_may_be_a_link_and_links_within_it(home):
    (home / "moved").mkdir()
    (home / "far").symlink_to(home / "moved")
    assert inside(home / "far", "a/b") == home / "moved" / "a" / "b"
    (home / "moved" / "old").mkdir()
    (home / "moved" / "new").symlink_to(home / "moved" / "old")
    assert inside(home / "far", "new/b") == home / "moved" / "old" / "b"
    (home / "moved" / "lost").symlink_to(home / "nowhere")
    with pytest.raises(ValueError, match="is a link that leads out"):
        inside(home / "far", "lost")


def test_reading_refuses_them_too(home):
    for name in EVIL:
        if not name.startswith("link"):  # models may lie behind a link of their owner
            assert not folders.exists(name, folders.OWN)
            with pytest.raises(FileNotFoundError):
                folders.input_path(name)


def test_a_server_cannot_write_beside_the_folder(home):
    """`crafters run`: the file names of a server's answer."""

    async def view(request):
        return web.Response(body=b"evil")

    async def session():
        app = web.Application()
        app.add_routes([web.get("/view", view)])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        out = home / "output"
        try:
            async with ComfyClient(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
                for name in EVIL:
                    if name != "link":
                        with pytest.raises(ComfyError, match="calls a file what is not written here"):
                            await client.download({"filename": name}, out)
                (out / "a.png").symlink_to(home / "lost")
                with pytest.raises(ComfyError):
                    await client.download({"filename": "a.png"}, out)
                assert (await client.download({"filename": "b.png"}, out)).read_bytes() == b"evil"
        finally:
            await runner.cleanup()

    before = contents(home)
    asyncio.run(session())
    assert contents(home) == sorted([*before, "output/a.png", "output/b.png"])


def test_two_links_to_their_own_folder_do_not_hang_the_lists(home):
    for name in ("one", "two"):
        (home / "input" / name).symlink_to(home / "input", target_is_directory=True)
        (home / "output" / name).symlink_to(home / "output", target_is_directory=True)
        (home / "models" / "crafters" / name).symlink_to(home / "models", target_is_directory=True)
    (home / "input" / "deep").mkdir()
    (home / "input" / "deep" / "a.pth").touch()
    (home / "input" / "same").symlink_to(home / "input" / "deep")
    (home / "private" / "b.pth").touch()
    assert folders.input_names({".pth"}) == ["deep/a.pth", "link/b.pth"]
    assert folders.output_folders("x") == ["link"]
    assert folders.folder_names("crafters") == []
