"""From transformers' VisionTextDualEncoderModel to a DualEncoder and back, with equal outputs both ways."""

import json
import math
import re

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

transformers = pytest.importorskip("transformers")

from tokenizers import Tokenizer as Backend  # noqa: E402
from tokenizers import models, normalizers, pre_tokenizers, processors  # noqa: E402

from clip_italian.errors import BadModel  # noqa: E402
from clip_italian.models.dual import DualEncoder  # noqa: E402
from clip_italian.models.tokenizer import Tokenizer  # noqa: E402
from clip_italian.models.towers.huggingface import image_tower, text_tower  # noqa: E402
from clip_italian.models.towers.scratch import BagOfWordsTower  # noqa: E402
from clip_italian.models.transformers_encoder import open_transformers  # noqa: E402
from clip_italian.models.vision_text import from_vision_text, text_length, to_vision_text  # noqa: E402
from clip_italian.preprocess import OPENAI_CLIP, Preprocess  # noqa: E402

TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
EYES = {
    "vit": {"model_type": "vit", **TINY, "image_size": 32, "patch_size": 8},
    "clip": {"model_type": "clip_vision_model", **TINY, "image_size": 32, "patch_size": 8},
}
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "due", "gatto", "gatti", "cane", "sul", "divano", "nero"]
BERT = {"model_type": "bert", **TINY, "vocab_size": len(PIECES), "max_position_embeddings": 40}
TEXTS = ["due gatti sul divano", "Un cane NERO", "un gatto " * 60]


def tokenizer():
    backend = Backend(models.WordPiece({piece: i for i, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return Tokenizer(backend, 24)


def dual(eye="clip", scale=20.0):
    torch.manual_seed(0)
    model = DualEncoder(image_tower({"config": EYES[eye]}), text_tower({"config": BERT}), dim=16, scale=scale).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def preprocess(resize="crop"):
    return Preprocess(32, resize, mean=OPENAI_CLIP.mean, std=OPENAI_CLIP.std)


def inputs():
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return pixels, *tokenizer().encode(TEXTS)


@torch.no_grad()
def embed(model):
    pixels, ids, mask = inputs()
    return model.encode_images(pixels), model.encode_texts(ids, mask)


@pytest.mark.parametrize(("eye", "resize"), [("vit", "squash"), ("clip", "crop")])
def test_written_model_opens_in_transformers_with_the_same_outputs(tmp_path, eye, resize):
    ours = dual(eye, scale=17.0)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    to_vision_text(ours, tokenizer(), preprocess(resize), tmp_path / "out")

    theirs, info = transformers.VisionTextDualEncoderModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    pixels, ids, mask = inputs()
    with torch.no_grad():
        output = theirs.eval()(input_ids=ids, attention_mask=mask.long(), pixel_values=pixels)
    images, texts = embed(ours)
    torch.testing.assert_close(output.image_embeds, images, atol=1e-5, rtol=0)
    torch.testing.assert_close(output.text_embeds, texts, atol=1e-5, rtol=0)
    torch.testing.assert_close(output.logits_per_text, 17 * texts @ images.T, atol=1e-3, rtol=0)
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]  # nothing temporary is left


def test_written_processor_prepares_pictures_and_texts_as_ours_do(tmp_path):
    for resize in ("crop", "squash"):
        to_vision_text(dual(), tokenizer(), preprocess(resize), tmp_path)
        both = transformers.AutoProcessor.from_pretrained(tmp_path)
        assert type(both).__name__ == "VisionTextDualEncoderProcessor"
        gradient = np.linspace(0, 255, 64 * 96 * 3).reshape(64, 96, 3).astype(np.uint8)
        picture = Image.fromarray(gradient)
        got = both(text=TEXTS, images=picture, return_tensors="np", padding=True, truncation=True)
        ids, mask = tokenizer().encode(TEXTS)
        np.testing.assert_array_equal(got["input_ids"], ids)
        np.testing.assert_array_equal(got["attention_mask"], mask)
        np.testing.assert_allclose(got["pixel_values"][0], preprocess(resize)(picture), atol=0.02)


@pytest.mark.parametrize(("eye", "resize"), [("vit", "squash"), ("clip", "crop")])
def test_round_trip_keeps_everything(tmp_path, eye, resize):
    ours = dual(eye, scale=17.0)
    to_vision_text(ours, tokenizer(), preprocess(resize), tmp_path / "a")
    again, pieces, prepare = from_vision_text(tmp_path / "a")
    for one, two in zip(embed(again), embed(ours), strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=0)
    assert again.scale.item() == pytest.approx(17, rel=1e-5) and not again.training
    assert prepare == preprocess(resize) and pieces.max_length == 24
    for one, two in zip(pieces.encode(TEXTS), tokenizer().encode(TEXTS), strict=True):
        assert torch.equal(one, two)

    to_vision_text(again, pieces, prepare, tmp_path / "b")
    first, second = load_file(tmp_path / "a" / "model.safetensors"), load_file(tmp_path / "b" / "model.safetensors")
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-6, rtol=1e-6)


def test_vits_are_written_with_the_names_that_every_transformers_knows(tmp_path):
    to_vision_text(dual("vit"), tokenizer(), preprocess(), tmp_path)
    names = load_file(tmp_path / "model.safetensors")
    assert "vision_model.encoder.layer.0.attention.attention.query.weight" in names
    assert {"logit_scale", "visual_projection.weight", "text_projection.weight"} <= names.keys()


def test_model_of_transformers_is_read_with_the_same_outputs(tmp_path):
    torch.manual_seed(1)
    values = [dict(EYES["vit"]), dict(BERT)]
    eye, text = (transformers.AutoConfig.for_model(value.pop("model_type"), **value) for value in values)
    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(eye, text, projection_dim=24)
    theirs = transformers.VisionTextDualEncoderModel(config).eval()
    theirs.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}, resample=3).save_pretrained(tmp_path)
    ours, pieces, prepare = from_vision_text(tmp_path)
    assert pieces.max_length == text_length(theirs) == 40 and prepare.resize == "squash"
    pixels, ids, mask = inputs()
    with torch.no_grad():
        output = theirs(input_ids=ids, attention_mask=mask.long(), pixel_values=pixels)
        torch.testing.assert_close(ours.encode_images(pixels), output.image_embeds, atol=1e-5, rtol=0)
        torch.testing.assert_close(ours.encode_texts(ids, mask), output.text_embeds, atol=1e-5, rtol=0)
    assert ours.scale.item() == pytest.approx(math.exp(2.6592))


@pytest.mark.parametrize(("stored", "scale"), [(0.0, 20), (1.5, math.exp(1.5))])
def test_scale_and_length_of_the_published_checkpoint(tmp_path, stored, scale):
    """CLIP-Italian's file says logit_scale 1 and freeze_backbones; its trainer multiplied by 20 and cut at 96."""
    to_vision_text(dual(scale=math.exp(1.0 if scale == 20 else stored)), tokenizer(), preprocess(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config.update(logit_scale_init_value=1, freeze_backbones=True, seed=42)
    config["text_config"]["max_position_embeddings"] = 40
    (tmp_path / "config.json").write_text(json.dumps(config))
    again, _, _ = from_vision_text(tmp_path)
    assert again.scale.item() == pytest.approx(scale, rel=1e-4)
    torch.testing.assert_close(embed(again)[0], embed(dual())[0], atol=1e-5, rtol=0)
    model = transformers.VisionTextDualEncoderModel.from_pretrained(tmp_path, logit_scale_init_value=1.0)
    model.config.text_config.max_position_embeddings = 512
    assert text_length(model) == 96


def test_written_directory_is_an_encoder(tmp_path):
    ours = dual()
    to_vision_text(ours, tokenizer(), preprocess("squash"), tmp_path)
    encoder = open_transformers(str(tmp_path), "cpu")
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), embed(ours)[1].numpy(), atol=1e-5)
    assert encoder.scale == pytest.approx(20, rel=1e-5)


def test_tokenizer_of_another_model_is_refused(tmp_path):
    to_vision_text(dual(), tokenizer(), preprocess(), tmp_path)
    content = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(re.sub(r'"nero": ?11', '"nero": 4711', content))
    with pytest.raises(BadModel, match="gives ids up to 4711, but the text tower knows only 12 "):
        from_vision_text(tmp_path)


def test_what_the_model_cannot_hold_is_refused(tmp_path):
    text = text_tower({"config": BERT})
    cnn = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    cases = {
        "no hidden_size": DualEncoder(image_tower({"config": cnn}), text, dim=16),
        "cannot pool by mean": DualEncoder(image_tower({"config": EYES["vit"], "pooling": "mean"}), text, dim=16),
        "linear heads only": DualEncoder(image_tower({"config": EYES["vit"]}), text, dim=16, text_head={"type": "mlp"}),
        "only towers from transformers": DualEncoder(
            image_tower({"config": EYES["vit"]}), BagOfWordsTower(vocabulary=12), dim=16
        ),
    }
    for message, model in cases.items():
        with pytest.raises(BadModel, match=message):
            to_vision_text(model, tokenizer(), preprocess(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_failed_write_leaves_the_old_model_whole(tmp_path, monkeypatch):
    to_vision_text(dual(), tokenizer(), preprocess(), tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("clip_italian.models.vision_text.write_json", full)
    with pytest.raises(OSError, match="No space left"):
        to_vision_text(dual(scale=3.0), tokenizer(), preprocess("squash"), tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "change",
    [{"do_center_crop": False}, {"crop_size": {"height": 30, "width": 30}}, {"crop_size": {"height": 32, "width": 30}}],
)
def test_pictures_that_do_not_become_one_square_are_refused(tmp_path, change):
    to_vision_text(dual(), tokenizer(), preprocess(), tmp_path)
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BadModel, match="not to one square"):
        from_vision_text(tmp_path)


def test_model_of_another_kind_is_refused(tmp_path):
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(BadModel, match="a bert model, not one of vision-text-dual-encoder, hybrid-clip"):
        from_vision_text(tmp_path)
