import pytest
import torch
from crafters.models.avatar.files import save_avatar
from crafters.models.avatar.lhm.convert import convert_sapiens
from crafters.models.avatar.lhm.network import LARGEST_UPPER
from crafters.models.avatar.lhm.points import spread_points
from crafters.models.avatar.lhm.system import build_networks, load_lhm, load_networks, load_sapiens
from crafters.models.avatar.rig import UPPER_BODY, neutral_pose, rig_from_lhm
from crafters.models.body.skinning import blend, move
from crafters.models.checkpoint import CheckpointError, read
from helpers.lhm_files import GRID, lhm_state, write_lhm, write_torchscript
from helpers.made_up import performers_avatar
from safetensors.torch import save_file

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore::torch.jit.TracerWarning")


def linear(name, out, into):
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def norm(name, dim):
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}


def released_encoder():
    model = "encoder.model."
    table = {
        model + "cls_token": (1, 1, 1024), model + "pos_embed": (1, 1370, 1024),
        model + "register_tokens": (1, 4, 1024), model + "patch_embed.proj.weight": (1024, 3, 14, 14),
        model + "patch_embed.proj.bias": (1024,), **norm(model + "norm", 1024),
    }
    for i in range(24):
        block = f"{model}blocks.{i}."
        table |= norm(block + "norm1", 1024) | norm(block + "norm2", 1024)
        table |= linear(block + "attn.qkv", 3072, 1024) | linear(block + "attn.proj", 1024, 1024)
        table |= linear(block + "mlp.fc1", 4096, 1024) | linear(block + "mlp.fc2", 1024, 4096)
        table |= {block + "ls1.gamma": (1024,), block + "ls2.gamma": (1024,)}
    fusion = {f"encoder.fusion_head.projects.{i}": (1024, 1024) for i in range(4)}
    for name, (out, into) in {**fusion, "encoder.fusion_head.output_conv": (1024, 4096)}.items():
        table |= {f"{name}.weight": (out, into, 1, 1), f"{name}.bias": (out,)}
    return table


def released_network(layers):
    """LHM's release, as its layout is documented; 15 layers are the 1B, 5 the 500M."""
    table = linear("pcl_embed.mlp", 1024, 51) | norm("pcl_embed.norm", 1024)
    table |= linear("transformer.linear_cond_proj", 1024, 1536) | norm("transformer.norm", 1024)
    for i in range(layers):
        last = i == layers - 1
        for part in ("head_dit.", "body_dit."):
            block = f"transformer.layers.{i}.{part}"
            table |= linear(block + "norm1.linear", 6144, 1024)
            table |= linear(block + "norm1_context.linear", 2048 if last else 6144, 1024)
            projections = ["to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0"]
            for name in projections + ["to_add_out"] * (not last):
                table |= linear(f"{block}attn.{name}", 1024, 1024)
            for name in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
                table[f"{block}attn.{name}.weight"] = (64,)
            for name in ["ff"] + ["ff_context"] * (not last):
                table |= linear(f"{block}{name}.net.0.proj", 4096, 1024) | linear(f"{block}{name}.net.2", 1024, 4096)
    table |= linear("motion_embed_mlp.0", 768, 1536) | linear("motion_embed_mlp.2", 2048, 768)
    table |= linear("renderer.mlp_net.layers.0", 512, 1024) | linear("renderer.mlp_net.layers.2", 512, 512)
    table |= linear("renderer.mlp_net.layers.4", 1024, 512)
    for name, out in (("shs", 3), ("scaling", 3), ("xyz", 3), ("opacity", 1), ("rotation", 4)):
        table |= linear(f"renderer.gs_net.out_layers.{name}", out, 1024)
    return table


@pytest.mark.parametrize(
    "layers, in_transformer, learned", [(15, 952, 1_424_587_022), (5, 312, 668_992_782)], ids=["1B", "500M"]
)
def test_every_learned_tensor_of_the_release_has_its_place(layers, in_transformer, learned):
    table = released_encoder() | released_network(layers)
    state = {name: torch.empty(shape, device="meta") for name, shape in table.items()}
    head, network = build_networks(state)
    own = {f"encoder.{name}": tensor for name, tensor in head.state_dict().items()} | network.state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in own.items()} == table
    assert sum(tensor.numel() for tensor in own.values()) == learned
    assert sum(name.startswith("encoder.model.") for name in own) == 343
    assert sum(name.startswith("transformer.") for name in own) == in_transformer
    assert network.transformer.layers[0].body_dit.attn.heads == head.model.size.heads == 16


@pytest.fixture(scope="module")
def vertex(body):
    """The vertices that LHM's points are nearest to: many to some, none to others; the head's last."""
    some = torch.randint(len(body.template), (300,), generator=torch.Generator().manual_seed(0))
    some = some[body.template[some, 1].argsort()]
    return torch.cat([some, some[-20:], some[-20:]])


@pytest.fixture(scope="module")
def files(tmp_path_factory, body, vertex):
    folder = tmp_path_factory.mktemp("lhm")
    write_torchscript(folder / "sapiens.pt2")
    convert_sapiens(folder / "sapiens.pt2", folder / "sapiens.safetensors")
    return write_lhm(folder / "model.safetensors", body, vertex), folder / "sapiens.safetensors"


@pytest.fixture(scope="module")
def lhm(files):
    return load_lhm(*files)


PHOTO = torch.rand(1, 50, 30, 3, generator=torch.Generator().manual_seed(3))


def test_a_photo_becomes_an_avatar(lhm, vertex):
    steps = []
    avatar = lhm.reconstruct(PHOTO, PHOTO[:, :30], torch.ones(10), 0.5, lambda *step: steps.append(step))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(avatar) == len(vertex) and avatar.points.equal(lhm.points)
    assert (avatar.visible_ratio, avatar.has_head, avatar.betas.tolist()) == (0.5, 1, [1.0] * 10)
    upper = lhm.rig.driven_by(UPPER_BODY)
    assert avatar.scale[upper].max() <= LARGEST_UPPER < avatar.scale[~upper].max()
    assert avatar.offset.abs().max() < 0.5 and avatar.rgb.std() > 0.01

    again = lhm.reconstruct(PHOTO, PHOTO[:, :30])
    assert again.rgb.equal(avatar.rgb) and not again.betas.any()
    without = lhm.reconstruct(PHOTO)
    assert without.has_head == 0 and not without.rgb.equal(avatar.rgb)
    other = lhm.reconstruct(1 - PHOTO, PHOTO[:, :30])
    assert (other.rgb - avatar.rgb).abs().max() > 1e-3


def test_its_key_tells_photos_and_weights_apart(files, lhm, body, vertex, tmp_path):
    shown = (PHOTO, PHOTO[:, :30], torch.ones(10), 0.5)
    key = lhm.key(*shown)
    renamed = tmp_path / "renamed.safetensors"
    renamed.write_bytes(files[0].read_bytes())
    assert load_lhm(renamed, files[1]).key(*shown) == key == lhm.key(*(x.clone() for x in shown[:3]), 0.5)
    trained = write_lhm(tmp_path / "trained.safetensors", body, vertex, **{"transformer.norm.bias": torch.ones(64)})
    others = [
        load_lhm(trained, files[1]).key(*shown),
        load_lhm(*files, dtype=torch.bfloat16).key(*shown),
        lhm.key(PHOTO, None, torch.ones(10), 0.5),
        lhm.key(PHOTO, PHOTO[:, :30], None, 0.5),
        lhm.key(1 - PHOTO, *shown[1:]),
        lhm.key(*shown[:3], 0.75),
    ]
    assert len({key, *others}) == 7


def test_what_a_step_raises_ends_it(lhm):
    def cancel(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lhm.reconstruct(PHOTO, on_step=cancel)


def test_bf16_is_close(files, lhm):
    half = load_lhm(*files, dtype=torch.bfloat16)
    assert half.network.module.transformer.linear_cond_proj.weight.dtype == torch.bfloat16
    assert half.network.module.pcl_embed.mlp.weight.dtype == torch.float32
    a, b = half.reconstruct(PHOTO, PHOTO[:, :30]), lhm.reconstruct(PHOTO, PHOTO[:, :30])
    assert 0 < (a.rgb - b.rgb).abs().max() < 0.02
    assert (a.offset - b.offset).abs().max() < 0.02


def test_attention_in_chunks_is_the_same(lhm, monkeypatch):
    from crafters.models.avatar.lhm import transformer

    whole = lhm.reconstruct(PHOTO)
    monkeypatch.setattr(transformer, "QUERIES", 37)
    torch.testing.assert_close(lhm.reconstruct(PHOTO).rgb, whole.rgb, rtol=0, atol=1e-5)


def test_points_are_spread_around_their_vertices(files, body, vertex):
    state, _ = read(files[0])
    rig = rig_from_lhm(files[0])
    points = spread_points(state, rig)
    assert len(points.unique(dim=0)) > 0.9 * len(points)  # a vertex may be the nearest of several
    there, _ = neutral_pose(rig.skeleton)
    distance = torch.cdist(points, move(blend(body.skinning, there), body.template))
    assert (distance.argmin(dim=1) == vertex).float().mean() > 0.9  # some lie at one place
    assert distance.gather(1, vertex[:, None]).max() < 0.03


def test_points_of_an_avatar(files, tmp_path, lhm):
    avatar = performers_avatar(len(lhm.points))
    save_avatar(avatar, tmp_path / "a.safetensors")
    assert load_lhm(*files, points=tmp_path / "a.safetensors").points.equal(avatar.points)
    save_avatar(performers_avatar(50), tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match=r"b.safetensors has 50 points but model.safetensors was made for 340"):
        load_lhm(*files, points=tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"transformer.layers.1.body_dit.ff.net.2.bias": None}, "1 missing .transformer.layers.1.body_dit.ff.net.2"),
        ({"transformer.extra": torch.ones(1)}, "1 unknown .transformer.extra"),
        ({"renderer.gs_net.out_layers.shs.bias": torch.ones(48)}, r"of another size .*shs.bias \(48,\)"),
        ({"transformer.linear_cond_proj.weight": None}, "is not an LHM model: tensor transformer.linear_cond_proj"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(change, message):
    state = {name: tensor for name, tensor in (lhm_state() | change).items() if tensor is not None}
    with pytest.raises(CheckpointError, match=f"model.safetensors .*{message}"):
        load_networks(state, "model.safetensors")


def test_without_the_vertices_points_must_be_given(files, body, vertex, tmp_path):
    prefix = "renderer.smplx_model."
    write_lhm(tmp_path / "a.safetensors", body, vertex, **{f"{prefix}smplx_layer.faces_tensor": None})
    with pytest.raises(CheckpointError, match="no .*faces_tensor: choose an avatar made by LHM"):
        load_lhm(tmp_path / "a.safetensors", files[1])
    strange = torch.rand(len(vertex), 3, 10)
    write_lhm(tmp_path / "b.safetensors", body, vertex, **{f"{prefix}shape_dirs": strange})
    with pytest.raises(CheckpointError, match="340 of LHM's 340 points belong to no vertex"):
        load_lhm(tmp_path / "b.safetensors", files[1])


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("class_token", [False, True])
def test_sapiens_becomes_a_plain_file(tmp_path, padding, class_token):
    program = write_torchscript(tmp_path / "s.pt2", padding=padding, class_token=class_token)
    convert_sapiens(tmp_path / "s.pt2", tmp_path / "s.safetensors", torch.float32)
    encoder = load_sapiens(tmp_path / "s.safetensors", torch.float32)
    picture = torch.rand(1, 3, 16 * GRID, 16 * GRID)
    with torch.no_grad():
        expected = program((picture - 0.4) / 0.2)[0].flatten(2).mT
        found = encoder.model((picture - 0.4) / 0.2)[:, encoder.model.prefix :]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_file_that_is_not_sapiens_is_refused(tmp_path, files):
    write_torchscript(tmp_path / "other.pt2", padding=1)
    write_torchscript(tmp_path / "norms.pt2", epsilon=1e-5)
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / "linear.pt2"))
    (tmp_path / "cut.pt2").write_bytes((tmp_path / "other.pt2").read_bytes()[:900])
    for name, message in (
        ("other.pt2", "other.pt2 is not Sapiens: its program does not say how the patches are padded"),
        ("norms.pt2", "norms.pt2 is not Sapiens: its layer norms add 1e-05"),
        ("linear.pt2", "linear.pt2 holds no vision transformer"),
        ("cut.pt2", "cut.pt2 is not a whole TorchScript file"),
        ("absent.pt2", "There is no file"),
    ):
        with pytest.raises(CheckpointError, match=message):
            convert_sapiens(tmp_path / name, tmp_path / "out.safetensors")
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="a.safetensors is not Sapiens made plain by `crafters convert sapiens`"):
        load_lhm(files[0], tmp_path / "a.safetensors")
