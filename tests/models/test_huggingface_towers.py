import json

import pytest
import torch
from safetensors.torch import load_file, save_file

transformers = pytest.importorskip("transformers")

from clip_italian.errors import BadModel  # noqa: E402
from clip_italian.models.towers import build_image_tower, build_text_tower  # noqa: E402
from clip_italian.models.towers.huggingface import (  # noqa: E402
    HFImageTower,
    HFTextTower,
    image_tower,
    text_tower,
    visual_projection,
)

TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = {
    "vit": {"model_type": "vit", **TINY, "image_size": 32, "patch_size": 8},
    "clip": {"model_type": "clip_vision_model", **TINY, "image_size": 32, "patch_size": 8},
    "siglip": {"model_type": "siglip_vision_model", **TINY, "image_size": 32, "patch_size": 8},
    "dinov2 with registers": {
        "model_type": "dinov2_with_registers", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4,
        "image_size": 32, "patch_size": 8, "num_register_tokens": 4,
    },
    "swin": {
        "model_type": "swin", "image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1, 1],
        "num_heads": [1, 2, 4], "window_size": 4,
    },
    "mobilenet_v2": {"model_type": "mobilenet_v2", "image_size": 64, "depth_multiplier": 0.35},
    "resnet": {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16, 24, 40], "depths": [1, 1, 1, 1]},
    "convnext": {"model_type": "convnext", "hidden_sizes": [8, 16, 24, 40], "depths": [1, 1, 1, 1], "image_size": 64},
    "efficientnet": {
        "model_type": "efficientnet", "image_size": 64, "width_coefficient": 0.25, "depth_coefficient": 0.1,
        "hidden_dim": 320,
    },
}  # fmt: skip
GRID = {"vit": 4, "clip": 4, "siglip": 4, "dinov2 with registers": 4, "swin": 4}
TEXT = {
    "bert": ({"model_type": "bert", **TINY, "vocab_size": 60}, "pooler"),
    "roberta": ({"model_type": "roberta", **TINY, "vocab_size": 60}, "pooler"),
    "distilbert": (
        {"model_type": "distilbert", "dim": 32, "n_heads": 4, "n_layers": 1, "hidden_dim": 64, "vocab_size": 60}, "mean"
    ),
    "clip": ({"model_type": "clip_text_model", **TINY, "vocab_size": 60, "eos_token_id": 3}, "pooler"),
}  # fmt: skip


def model_of(config):
    config = dict(config)
    torch.manual_seed(0)
    return transformers.AutoModel.from_config(
        transformers.AutoConfig.for_model(config.pop("model_type"), **config)
    ).eval()


def pixels_for(tower):
    size = getattr(tower.model.config, "image_size", None) or 64
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", VISION)
def test_image_tower_gives_the_models_own_pooled_output_and_its_map_in_row_order(kind):
    model = model_of(VISION[kind])
    tower = HFImageTower(model)
    pixels = pixels_for(tower)
    with torch.no_grad():
        output, direct = tower(pixels), model(pixel_values=pixels)
    torch.testing.assert_close(output.pooled, direct.pooler_output.reshape(3, -1))
    side = GRID.get(kind, 2)
    assert output.pooled.shape == (3, tower.dim) and output.grid == (side, side)
    assert output.tokens.shape == (3, side * side, tower.dim)
    states = direct.last_hidden_state
    row, column = side - 1, side - 2
    place = (
        states[:, :, row, column]
        if states.ndim == 4
        else states[:, states.shape[1] - side * side + row * side + column]
    )
    torch.testing.assert_close(output.tokens[:, row * side + column], place)


def test_map_of_a_picture_that_is_not_square():
    model = model_of({"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]})
    output = HFImageTower(model)(torch.randn(1, 3, 64, 96))
    assert output.grid == (8, 12) and output.tokens.shape == (1, 96, 16)


@pytest.mark.parametrize("kind", TEXT)
def test_text_tower_pools_with_what_the_model_has_and_padding_changes_nothing(kind):
    config, pooling = TEXT[kind]
    model = model_of(config)
    tower = HFTextTower(model)
    assert tower.pooling == pooling and tower.vocabulary == 60
    ids = torch.tensor([[2, 7, 8, 9, 3], [2, 11, 3, 1, 1]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()
    with torch.no_grad():
        output = tower(ids, mask)
        alone = model(input_ids=ids[1:, :3])
    expected = alone.pooler_output if pooling == "pooler" else alone.last_hidden_state.mean(1)
    assert output.pooled.shape == (2, tower.dim) and output.mask is mask
    torch.testing.assert_close(output.pooled[1:], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(output.tokens[1:, :3], alone.last_hidden_state, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [*VISION, *TEXT])
def test_spec_is_json_and_makes_the_same_architecture_again(kind):
    is_image = kind in VISION and kind != "clip"
    make, config = (image_tower, VISION[kind]) if is_image else (text_tower, TEXT[kind][0])
    tower = make({"config": config})
    build = build_image_tower if is_image else build_text_tower
    again = build(json.loads(json.dumps(tower.spec)))
    again.load_state_dict(tower.state_dict())
    assert again.spec == tower.spec and again.dim == tower.dim
    with torch.no_grad():
        if is_image:
            pixels = pixels_for(tower)
            assert torch.equal(tower(pixels).pooled, again(pixels).pooled)
        else:
            ids, mask = torch.tensor([[2, 7, 3]]), torch.ones(1, 3, dtype=torch.bool)
            assert torch.equal(tower(ids, mask).pooled, again(ids, mask).pooled)


def whole_clip(directory):
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config={**TINY, "vocab_size": 60, "eos_token_id": 3},
        vision_config={**TINY, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(directory)
    return model


@pytest.mark.parametrize("layout", ["today's names", "the hub's names of 2021", "pytorch_model.bin"])
def test_source_a_whole_clip_gives_its_parts_and_its_own_projection(tmp_path, layout):
    clip = whole_clip(tmp_path)
    names = load_file(tmp_path / "model.safetensors")
    assert "vision_model.embeddings.class_embedding" in names
    if layout != "today's names":
        names["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
        names["text_model.embeddings.position_ids"] = torch.arange(77)[None]
        save_file(names, tmp_path / "model.safetensors", metadata={"format": "pt"})
    if layout == "pytorch_model.bin":  # all that openai/clip-vit-base-patch32 had
        torch.save(names, tmp_path / "pytorch_model.bin")
        (tmp_path / "model.safetensors").unlink()
    image, text = image_tower({"source": str(tmp_path)}), text_tower({"source": str(tmp_path)})
    projection = visual_projection(str(tmp_path))
    pixels, ids = torch.randn(2, 3, 32, 32), torch.tensor([[2, 9, 3]])
    with torch.no_grad():
        expected = clip.get_image_features(pixel_values=pixels).pooler_output
        torch.testing.assert_close(image(pixels).pooled @ projection.T, expected)
        pooled = text(ids, torch.ones_like(ids).bool()).pooled
        torch.testing.assert_close(clip.text_projection(pooled), clip.get_text_features(input_ids=ids).pooler_output)
    assert image.spec["architecture"] == "CLIPVisionModel" and text.spec["architecture"] == "CLIPTextModel"


def test_source_of_a_single_model_keeps_its_weights(tmp_path):
    model = model_of(TEXT["bert"][0])
    model.save_pretrained(tmp_path)
    tower = text_tower({"source": str(tmp_path)})
    assert tower.pooling == "pooler"
    for name, value in model.state_dict().items():
        assert torch.equal(tower.model.state_dict()[name], value)
    assert visual_projection(str(tmp_path)) is None


@pytest.mark.parametrize(("make", "config"), [(text_tower, TEXT["roberta"][0]), (image_tower, VISION["vit"])])
def test_pooler_that_the_checkpoint_never_trained_is_left_out(tmp_path, make, config):
    model = model_of(config)
    model.save_pretrained(tmp_path)
    weights = {k: v for k, v in load_file(tmp_path / "model.safetensors").items() if not k.startswith("pooler.")}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    tower = make({"source": str(tmp_path)})
    assert tower.pooling == "mean" and not [name for name, _ in tower.named_parameters() if "pooler" in name]
    again = make(tower.spec)
    again.load_state_dict(tower.state_dict())
    assert again.pooling == "mean"


def test_weights_that_lack_a_layer_are_refused_not_invented(tmp_path):
    model_of(TEXT["bert"][0]).save_pretrained(tmp_path)
    weights = {k: v for k, v in load_file(tmp_path / "model.safetensors").items() if "layer.1" not in k}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadModel, match=r"lack 16 tensors that config\.json asks for, first encoder\.layer\.1"):
        text_tower({"source": str(tmp_path)})


@pytest.mark.parametrize("harm", ["cut", "shapes", "no weights", "no config", "not JSON", "unknown type"])
def test_broken_directories_say_which_file(tmp_path, harm):
    model_of(TEXT["bert"][0]).save_pretrained(tmp_path)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    expected = "weights cannot be read"
    if harm == "cut":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif harm == "shapes":
        config.write_text(json.dumps({**json.loads(config.read_text()), "vocab_size": 61}))
    elif harm == "no weights":
        weights.unlink()
        expected = r"model\.safetensors .* is missing"
    elif harm == "no config":
        config.unlink()
        expected = r"config\.json is missing, so this is not a model directory"
    elif harm == "not JSON":
        config.write_text("{")
        expected = r"config\.json: cannot be read as JSON"
    else:
        config.write_text(json.dumps({"model_type": "hal9000"}))
        expected = r"has no model for it"
    with pytest.raises(BadModel, match=expected) as caught:
        text_tower({"source": str(tmp_path)})
    assert str(tmp_path) in str(caught.value)


def test_wrong_specs_say_what_to_write():
    with pytest.raises(BadModel, match='needs "source"'):
        image_tower({})
    with pytest.raises(BadModel, match="has no 'pool'; it takes architecture, config, pooling, source, type"):
        image_tower({"config": VISION["vit"], "pool": "mean"})
    with pytest.raises(BadModel, match="reads pixels"):
        image_tower({"config": TEXT["bert"][0]})
    with pytest.raises(BadModel, match="reads text"):
        text_tower({"config": VISION["resnet"]})
    with pytest.raises(BadModel, match='pooling is "pooler", "cls" or "mean"'):
        text_tower({"config": TEXT["bert"][0], "pooling": "max"})
    with pytest.raises(BadModel, match='use pooling "mean" or "cls"'):
        text_tower({"config": TEXT["distilbert"][0], "pooling": "pooler"})
    with pytest.raises(BadModel, match='no class token; use pooling "mean"'):
        image_tower({"config": VISION["resnet"], "pooling": "cls"})
    with pytest.raises(BadModel, match="no model class 'os'"):
        image_tower({"config": VISION["vit"], "architecture": "os"})
    with pytest.raises(BadModel, match="cannot be built from its configuration"):
        text_tower({"config": {**TEXT["bert"][0], "num_attention_heads": 5}})
    with pytest.raises(BadModel, match="is the contents of a"):
        text_tower({"config": "bert"})
    with pytest.raises(BadModel, match="no such directory, and not a hub id"):
        image_tower({"source": "nowhere"})


def test_hub_out_of_reach_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BadModel, match="unset HF_HUB_OFFLINE, or copy the model's files to a directory") as caught:
        image_tower({"source": "nessuno/una-vit"})
    assert str(caught.value).startswith("nessuno/una-vit: no such directory, and the hub could not give it")


def test_pretrained_mobilenet_gives_what_transformers_gives(shared):
    source = shared / "models" / "mobilenet-v2-imagenet"
    if not source.is_dir():
        pytest.skip(f"needs {source}")
    tower = image_tower({"source": str(source)})
    model = transformers.AutoModel.from_pretrained(source, dtype=torch.float32).eval()
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(tower(pixels).pooled, model(pixels).pooler_output)
