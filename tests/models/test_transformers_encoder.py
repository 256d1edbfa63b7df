"""Every layout of dual encoder, made here with random weights, against transformers called directly."""

import json
import string

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

transformers = pytest.importorskip("transformers")

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors  # noqa: E402

import clip_italian  # noqa: E402
from clip_italian.errors import BadModel, CorruptImage  # noqa: E402
from clip_italian.models.transformers_encoder import open_transformers  # noqa: E402

TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
EYE = {**TINY, "image_size": 32, "patch_size": 16}
WORDS = ["un", "due", "gatto", "gatti", "cane", "sul", "divano", "una", "foto", "di", "in", "giardino", "nero"]
TEXTS = ["due gatti sul divano", "Un CANE, in giardino!", "una foto di un gatto nero", ""]


def pictures():
    random = np.random.default_rng(0)
    return [
        Image.fromarray(random.integers(0, 255, (h, w, 3), dtype=np.uint8)) for h, w in ((40, 60), (64, 64), (90, 33))
    ]


def wordpiece(directory, size=0):
    """BERT's vocab.txt, of `size` lines: the layout of the published CLIP-Italian and of Chinese-CLIP."""
    lines = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *WORDS,
        *string.ascii_lowercase,
        *(f"##{c}" for c in string.ascii_lowercase),
    ]
    lines += [f"parola{i}" for i in range(size - len(lines))]
    (directory / "vocab.txt").write_text("\n".join(lines) + "\n", "utf-8")
    settings = {"do_lower_case": True, "tokenizer_class": "BertTokenizer", "model_max_length": 512}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(lines)


def byte_pairs(directory):
    """CLIP's vocab.json and merges.txt."""
    letters = [*string.ascii_lowercase, *(c + "</w>" for c in string.ascii_lowercase), ",", ",</w>", "!", "!</w>"]
    vocabulary = {piece: i for i, piece in enumerate([*letters, "ga", "<|startoftext|>", "<|endoftext|>"])}
    (directory / "vocab.json").write_text(json.dumps(vocabulary))
    (directory / "merges.txt").write_text("#version: 0.2\ng a\n")
    (directory / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77})
    )
    return len(vocabulary)


def unigram(directory, kind, pieces, length, lower=False, unknown=3):
    """A tokenizer.json as sentencepiece models are converted; ends each text with </s>."""
    scores = [(piece, 0.0) for piece in pieces] + [(f"▁{word}", -3.0) for word in WORDS]
    scores += [(c, -8.0) for c in "▁" + string.ascii_letters]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=unknown, byte_fallback=False))
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    end = pieces.index("</s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", end)])
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": kind, "model_max_length": length, "pad_token": pieces[0], "unk_token": pieces[unknown],
        "eos_token": "</s>", "bos_token": None, "padding_side": "right", "model_input_names": ["input_ids"],
    }  # fmt: skip
    if kind.startswith("XLMRoberta"):
        settings.update(pad_token="<pad>", bos_token="<s>", cls_token="<s>", sep_token="</s>", mask_token="<mask>")
        del settings["model_input_names"]
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(scores)


def processor(directory, **values):
    common = {
        "do_resize": True,
        "do_normalize": True,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.3, 0.4],
        "resample": 3,
    }
    (directory / "preprocessor_config.json").write_text(json.dumps({**common, **values}))


def crop(directory, kind="CLIPImageProcessor"):
    processor(
        directory,
        image_processor_type=kind,
        size={"shortest_edge": 32},
        crop_size={"height": 32, "width": 32},
        do_center_crop=True,
    )


def squash(directory, kind):
    processor(directory, image_processor_type=kind, size={"height": 32, "width": 32})


def make_clip(directory):
    crop(directory)
    n = byte_pairs(directory)
    text = {**TINY, "vocab_size": n, "eos_token_id": n - 1, "bos_token_id": n - 2, "pad_token_id": n - 1}
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=EYE, projection_dim=24))


def make_chinese_clip(directory):
    processor(
        directory,
        image_processor_type="ChineseCLIPImageProcessor",
        size={"height": 32, "width": 32},
        do_center_crop=False,
    )
    text = {**TINY, "vocab_size": wordpiece(directory)}
    return transformers.ChineseCLIPModel(
        transformers.ChineseCLIPConfig(text_config=text, vision_config=EYE, projection_dim=24)
    )


def make_altclip(directory):
    crop(directory)
    n = unigram(directory, "XLMRobertaTokenizer", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], 512)
    text = {**TINY, "vocab_size": n, "project_dim": 32, "max_position_embeddings": 50}
    return transformers.AltCLIPModel(transformers.AltCLIPConfig(text_config=text, vision_config=EYE, projection_dim=24))


def make_metaclip_2(directory):
    crop(directory)
    n = unigram(directory, "XLMRobertaTokenizer", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], 77)
    text = {**TINY, "vocab_size": n, "eos_token_id": 2}
    return transformers.MetaClip2Model(
        transformers.MetaClip2Config(text_config=text, vision_config=EYE, projection_dim=24)
    )


def make_siglip(directory):
    squash(directory, "SiglipImageProcessor")
    n = unigram(directory, "SiglipTokenizer", ["</s>", "<s>", "<pad>", "<unk>"], 16)
    text = {**TINY, "vocab_size": n, "max_position_embeddings": 16, "projection_size": 32}
    return transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=EYE))


def make_siglip2_fixed(directory):
    squash(directory, "SiglipImageProcessor")
    n = unigram(directory, "PreTrainedTokenizerFast", ["<pad>", "</s>", "<bos>", "<unk>"], 16)
    text = {**TINY, "vocab_size": n, "max_position_embeddings": 16, "projection_size": 32}
    return transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=EYE))


def make_siglip2_any_shape(directory):
    processor(directory, image_processor_type="Siglip2ImageProcessor", patch_size=16, max_num_patches=9)
    n = unigram(directory, "PreTrainedTokenizerFast", ["<pad>", "</s>", "<bos>", "<unk>"], 16)
    text = {**TINY, "vocab_size": n, "max_position_embeddings": 16, "projection_size": 32}
    eye = {**TINY, "patch_size": 16, "num_patches": 9}
    return transformers.Siglip2Model(transformers.Siglip2Config(text_config=text, vision_config=eye))


def make_align(directory):
    processor(directory, image_processor_type="EfficientNetImageProcessor", size={"height": 64, "width": 64})
    text = {**TINY, "vocab_size": wordpiece(directory)}
    eye = {"image_size": 64, "width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 320}
    model = transformers.AlignModel(transformers.AlignConfig(text_config=text, vision_config=eye, projection_dim=80))
    for module in model.vision_model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)  # the default start gives every picture one vector
    model.vision_model.train()(pixel_values=torch.randn(8, 3, 64, 64))  # batch norms as after training
    return model


def make_vision_text(directory):
    squash(directory, "ViTImageProcessor")
    text = transformers.BertConfig(**TINY, vocab_size=wordpiece(directory))
    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
        transformers.ViTConfig(**EYE), text, projection_dim=24, logit_scale_init_value=2.0
    )
    return transformers.VisionTextDualEncoderModel(config)


LAYOUTS = {
    make.__name__.removeprefix("make_"): make
    for make in (make_clip, make_chinese_clip, make_altclip, make_metaclip_2, make_siglip, make_siglip2_fixed,
                 make_siglip2_any_shape, make_align, make_vision_text)
}  # fmt: skip


def make(kind, directory):
    torch.manual_seed(0)
    model = LAYOUTS[kind](directory).eval()
    model.save_pretrained(directory)
    return model


def unit(output):
    rows = output if isinstance(output, torch.Tensor) else output.pooler_output
    return (rows / rows.norm(dim=-1, keepdim=True)).numpy()


def direct_texts(model, tokenizer, texts, **rule):
    with torch.inference_mode():
        inputs = tokenizer(texts, truncation=True, return_tensors="pt", **rule)
        return unit(model.get_text_features(**inputs))


@pytest.mark.parametrize("kind", LAYOUTS)
def test_vectors_are_transformers_own(tmp_path, kind):
    model = make(kind, tmp_path)
    encoder = clip_italian.load(tmp_path)
    with torch.inference_mode():
        inputs = transformers.AutoImageProcessor.from_pretrained(tmp_path)(images=pictures(), return_tensors="pt")
        images = unit(model.get_image_features(**inputs))
    np.testing.assert_allclose(encoder.encode_images(pictures()), images, atol=1e-5)

    if kind.startswith("siglip"):
        # SigLIP's own class needs the sentencepiece library; the converted tokenizer.json beside it does not.
        kind_of_tokenizer = transformers.PreTrainedTokenizerFast if kind == "siglip" else transformers.AutoTokenizer
        tokenizer = kind_of_tokenizer.from_pretrained(tmp_path)
        clean = [text.lower() for text in TEXTS]
        if kind == "siglip":
            clean = ["due gatti sul divano", "un cane in giardino", "una foto di un gatto nero", ""]
        texts = direct_texts(model, tokenizer, clean, padding="max_length", max_length=16)
    else:
        texts = direct_texts(
            model, transformers.AutoTokenizer.from_pretrained(tmp_path), TEXTS, padding=True, max_length=48
        )
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), texts, atol=1e-5)

    scale = 1 / model.temperature if kind == "align" else model.logit_scale.exp()
    assert encoder.scale == pytest.approx(float(scale.detach()))
    assert encoder.dim == images.shape[1] == texts.shape[1] and isinstance(encoder, clip_italian.Encoder)
    assert encoder.encode_texts([]).shape == encoder.encode_images([]).shape == (0, encoder.dim)
    assert texts.std(0).max() > 1e-4 and images.std(0).max() > 1e-4


@pytest.mark.parametrize("kind", LAYOUTS)
def test_texts_of_any_length_are_cut_and_company_changes_nothing(tmp_path, kind):
    make(kind, tmp_path)
    encoder = open_transformers(str(tmp_path), "cpu")
    long = "due gatti sul divano " * 500
    rows = encoder.encode_texts([long, "un cane", long + "nero"])
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-6)
    np.testing.assert_allclose(rows[1], encoder.encode_texts(["un cane"])[0], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_more_pictures_than_a_batch_keep_their_order_and_may_be_files_or_bytes(tmp_path):
    make("clip", tmp_path)
    encoder = open_transformers(str(tmp_path), "cpu")
    path = tmp_path / "foto.png"
    pictures()[0].save(path)
    rows = encoder.encode_images(picture for _ in range(13) for picture in pictures())
    np.testing.assert_allclose(rows, np.tile(rows[:3], (13, 1)), atol=1e-6)
    np.testing.assert_allclose(
        encoder.encode_images([path, str(path), path.read_bytes()]), np.tile(rows[0], (3, 1)), atol=1e-6
    )
    with pytest.raises(CorruptImage):
        encoder.encode_images([path, path.read_bytes()[:300]])


def published(directory, layers=1):
    """A checkpoint in the exact format of clip-italian/clip-italian: names, vocabulary, sizes; only depth is cut."""
    torch.manual_seed(0)
    eye = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": layers, "num_attention_heads": 12,
           "image_size": 224, "patch_size": 32}  # fmt: skip
    text = transformers.BertConfig(vocab_size=32102, num_hidden_layers=layers)
    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
        transformers.CLIPVisionConfig(**eye), text, projection_dim=512, logit_scale_init_value=1.0
    )
    model = transformers.VisionTextDualEncoderModel(config).eval()
    model.save_pretrained(directory)
    weights = load_file(directory / "model.safetensors")
    old = {
        f"vision_model.{name}" if name.startswith("vision_model.") else name: value for name, value in weights.items()
    }
    old["vision_model.vision_model.embeddings.position_ids"] = torch.arange(50)[None]
    old["text_model.embeddings.position_ids"] = torch.arange(512)[None]
    save_file(old, directory / "model.safetensors", metadata={"format": "pt"})
    values = json.loads((directory / "config.json").read_text())
    values.update(logit_scale_init_value=1, freeze_backbones=True, seed=42, torch_dtype="float32")
    values["text_config"].update(
        architectures=["BertForMaskedLM"], gradient_checkpointing=False, position_embedding_type="absolute"
    )
    (directory / "config.json").write_text(json.dumps(values))
    assert wordpiece(directory, 31102) == 31102
    processor(directory, feature_extractor_type="CLIPFeatureExtractor", size=224, crop_size=224, do_center_crop=True)
    return model


def test_published_layout_loads_offline_with_its_training_scale_and_length(tmp_path, monkeypatch):
    model = published(tmp_path)
    monkeypatch.setattr("clip_italian.models.hub.snapshot_download", lambda name, **_: str(tmp_path))
    encoder = clip_italian.load("clip-italian/clip-italian")
    assert encoder.name == "clip-italian/clip-italian" and encoder.dim == 512
    assert encoder.scale == 20

    tokenizer = transformers.BertTokenizer.from_pretrained(tmp_path)
    image_processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    long = " ".join(["gatto"] * 400)
    inputs = tokenizer([*TEXTS, long], padding=True, truncation=True, max_length=96, return_tensors="pt")
    assert inputs["input_ids"].shape == (5, 96)
    with torch.inference_mode():
        output = model(**inputs, **image_processor(images=pictures(), return_tensors="pt"))
    np.testing.assert_allclose(encoder.encode_images(pictures()), output.image_embeds.numpy(), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts([*TEXTS, long]), output.text_embeds.numpy(), atol=1e-5)


@pytest.mark.network
def test_published_logits():
    """The slow test of transformers has these two numbers, for COCO's 000000039769 and the scale e."""
    import urllib.request

    with urllib.request.urlopen("http://images.cocodataset.org/val2017/000000039769.jpg", timeout=60) as answer:
        picture = answer.read()
    encoder = clip_italian.load("clip-italian/clip-italian")
    texts = encoder.encode_texts(["una foto di un gatto", "una foto di un cane"])
    logits = np.e * encoder.encode_images([picture]) @ texts.T
    np.testing.assert_allclose(logits, [[1.2284727, 0.3104122]], atol=1e-3)
    assert encoder.scale == 20


def test_fingerprint_follows_weights_tokenizer_and_processor_but_not_the_place(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for directory in (first, second):
        directory.mkdir()
        make("vision_text", directory)
    before = open_transformers(str(first), "cpu").fingerprint
    (second / "appunti.txt").write_text("una nota")
    assert open_transformers(str(second), "cpu").fingerprint == before and len(before) == 64
    seen = {before}
    changes = {
        "preprocessor_config.json": lambda text: text.replace("0.4", "0.41", 1),
        "vocab.txt": lambda text: text.replace("divano\n", "divani\n"),
    }
    for name, change in changes.items():
        path = second / name
        path.write_text(change(path.read_text()))
        seen.add(open_transformers(str(second), "cpu").fingerprint)
    weights = load_file(second / "model.safetensors")
    weights["logit_scale"] += 1
    save_file(weights, second / "model.safetensors", metadata={"format": "pt"})
    seen.add(open_transformers(str(second), "cpu").fingerprint)
    assert len(seen) == 4


def test_names_of_special_pieces_in_a_text_are_only_text(tmp_path):
    make("siglip2_any_shape", tmp_path)
    encoder = open_transformers(str(tmp_path), "cpu")
    rows = encoder.model.text_model.get_input_embeddings().num_embeddings
    assert encoder.tokenizer.mask_token_id == rows  # transformers added it: the tower has no row for it
    assert np.isfinite(encoder.encode_texts(["un gatto <mask>"])).all()


def test_half_precision_files_give_float32(tmp_path):
    model = make("clip", tmp_path)
    model.half().save_pretrained(tmp_path)
    encoder = open_transformers(str(tmp_path), "cpu")
    assert encoder.encode_texts(["gatto"]).dtype == np.float32
    assert {parameter.dtype for parameter in encoder.model.parameters()} == {torch.float32}


def test_tokenizer_of_another_model_is_refused_at_load(tmp_path):
    make("vision_text", tmp_path)
    rows = wordpiece(tmp_path, 500)
    with pytest.raises(BadModel, match=rf"gives ids up to {rows - 1}, but the text tower knows only 70 "):
        clip_italian.load(tmp_path)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", r"neither model\.json \(one of ours\) nor config\.json"),
        ("model.safetensors", r"model\.safetensors .* is missing"),
        ("vocab.txt", r"tokenizer\.json \(or vocab\.txt\) is missing"),
        ("preprocessor_config.json", r"preprocessor_config\.json is missing"),
    ],
)
def test_directory_without_a_file_names_it(tmp_path, missing, message):
    make("vision_text", tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(BadModel, match=message) as caught:
        open_transformers(str(tmp_path), "cpu")
    assert str(tmp_path) in str(caught.value)


def test_model_of_one_tower_is_refused_before_its_weights_are_read(tmp_path):
    transformers.BertConfig(**TINY).save_pretrained(tmp_path)
    with pytest.raises(BadModel, match="a bert model, which does not embed both pictures and texts"):
        open_transformers(str(tmp_path), "cpu")


def test_names_that_are_no_model(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert open_transformers("gatti", "cpu") is None
    assert open_transformers("a/b/c", "cpu") is None
    with pytest.raises(BadModel, match="nessuno/niente: no such directory, and the hub could not give it"):
        open_transformers("nessuno/niente", "cpu")


def test_device_that_is_not_here(tmp_path):
    make("clip", tmp_path)
    with pytest.raises(BadModel, match="device 'meta2' cannot be used here"):
        open_transformers(str(tmp_path), "meta2")


def test_code_that_comes_with_a_model_is_never_run(tmp_path):
    make("clip", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    trap = tmp_path / "caught"
    (tmp_path / "evil.py").write_text(f"open({str(trap)!r}, 'w')\nclass Model: pass\nclass Config: pass\n")
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    open_transformers(str(tmp_path), "cpu").encode_texts(["gatto"])
    assert not trap.exists()
