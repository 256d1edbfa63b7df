"""The reader of the original Flax layout, against files written here from the layout's description alone."""

import json
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

transformers = pytest.importorskip("transformers")
msgpack = pytest.importorskip("msgpack")

import clip_italian  # noqa: E402
from clip_italian.errors import BadModel, MissingExtra  # noqa: E402
from clip_italian.models.hybrid_clip import constant_scale, read_flax, read_hybrid_clip  # noqa: E402

TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
# What a configuration of transformers 4.8 holds beside its model's own settings, as the published one does.
KEYS_OF_2021 = {
    "_name_or_path": "dbmdz/bert-base-italian-xxl-uncased", "add_cross_attention": False, "architectures": None,
    "bad_words_ids": None, "bos_token_id": None, "chunk_size_feed_forward": 0, "decoder_start_token_id": None,
    "diversity_penalty": 0.0, "do_sample": False, "early_stopping": False, "encoder_no_repeat_ngram_size": 0,
    "eos_token_id": None, "finetuning_task": None, "forced_bos_token_id": None, "forced_eos_token_id": None,
    "gradient_checkpointing": False, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "is_decoder": False,
    "is_encoder_decoder": False, "label2id": {"LABEL_0": 0, "LABEL_1": 1}, "length_penalty": 1.0, "max_length": 20,
    "min_length": 0, "no_repeat_ngram_size": 0, "num_beam_groups": 1, "num_beams": 1, "num_return_sequences": 1,
    "output_attentions": False, "output_hidden_states": False, "output_scores": False, "prefix": None,
    "problem_type": None, "pruned_heads": {}, "remove_invalid_values": False, "repetition_penalty": 1.0,
    "return_dict": True, "return_dict_in_generate": False, "sep_token_id": None, "task_specific_params": None,
    "temperature": 1.0, "tie_encoder_decoder": False, "tie_word_embeddings": True, "tokenizer_class": None,
    "top_k": 50, "top_p": 1.0, "torch_dtype": None, "torchscript": False, "transformers_version": "4.9.0.dev0",
    "use_bfloat16": False,
}  # fmt: skip
BERT = {"model_type": "bert", **TINY, "vocab_size": 60, "position_embedding_type": "absolute", "type_vocab_size": 2}
CLIP = {"model_type": "clip_vision_model", **TINY, "image_size": 32, "patch_size": 8}
VIT = {"model_type": "vit", **TINY, "image_size": 32, "patch_size": 8}


def auto_model(config):
    config = dict(config)
    return transformers.AutoModel.from_config(transformers.AutoConfig.for_model(config.pop("model_type"), **config))


def reference(vision):
    """A random model that transformers runs: the truth that the Flax file is written from."""
    torch.manual_seed(0)
    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
        auto_model(vision).config, auto_model(BERT).config, projection_dim=16, logit_scale_init_value=1.0
    )
    model = transformers.VisionTextDualEncoderModel(config).eval()
    with torch.no_grad():  # biases and norms start at 0 and 1, which would hide a swap
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def flax_tree(model, folder):
    """The parameters as Flax modules named and turned them in 2021; save_pretrained still writes that year's names."""
    model.save_pretrained(folder)
    tree = {}
    for name, value in load_file(folder / "model.safetensors").items():
        *path, leaf = name.split(".")
        if model.config.vision_config.model_type == "clip_vision_model" and path[:1] == ["vision_model"]:
            path = ["vision_model", *path]  # FlaxCLIPVisionModule wraps a FlaxCLIPVisionTransformer of the same name
        if leaf == "weight" and re.search("layer_?norm|layrnorm", path[-1], re.IGNORECASE):
            leaf = "scale"
        elif leaf == "weight" and re.fullmatch("(word|token_type|position)_embeddings?", path[-1]):
            leaf = "embedding"
        elif leaf == "weight":
            leaf, value = "kernel", value.permute(2, 3, 1, 0) if value.ndim == 4 else value.T
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[leaf] = value.numpy()
    return tree


def test_tree_written_here_has_the_names_of_2021(tmp_path):
    tree = flax_tree(reference(CLIP), tmp_path)
    vision, text = tree["vision_model"]["vision_model"], tree["text_model"]
    assert vision["embeddings"]["patch_embedding"]["kernel"].shape == (8, 8, 3, 32)
    assert vision["embeddings"]["position_embedding"]["embedding"].shape == (17, 32)
    assert set(vision["encoder"]["layers"]["1"]["self_attn"]) == {"q_proj", "k_proj", "v_proj", "out_proj"}
    assert set(vision["pre_layrnorm"]) == set(vision["post_layernorm"]) == {"scale", "bias"}
    assert text["encoder"]["layer"]["0"]["intermediate"]["dense"]["kernel"].shape == (32, 64)
    assert set(text["encoder"]["layer"]["0"]["attention"]["self"]) == {"query", "key", "value"}
    assert set(text["pooler"]["dense"]) == {"kernel", "bias"} and set(text["embeddings"]["LayerNorm"]) == {
        "scale",
        "bias",
    }
    assert tree["visual_projection"]["kernel"].shape == (32, 16)
    vit = flax_tree(reference(VIT), tmp_path)["vision_model"]
    assert set(vit["encoder"]["layer"]["0"]["attention"]["attention"]) == {"query", "key", "value"}
    assert vit["embeddings"]["patch_embeddings"]["projection"]["kernel"].shape == (8, 8, 3, 32)


def packed(array, shape=None, dtype=None):
    content = array.tobytes()
    return msgpack.ExtType(
        1, msgpack.packb((shape or array.shape, dtype or array.dtype.name, content), use_bin_type=True)
    )


def write_flax(tree, path, chunk=None):
    def walk(value):
        if isinstance(value, dict):
            return {name: walk(branch) for name, branch in value.items()}
        value = np.ascontiguousarray(value)
        if chunk is None or value.size <= chunk:
            return packed(value)
        pieces = [value.reshape(-1)[i : i + chunk] for i in range(0, value.size, chunk)]
        return {
            "__msgpack_chunked_array__": True,
            "shape": {str(i): side for i, side in enumerate(value.shape)},
            "chunks": {str(i): packed(piece) for i, piece in enumerate(pieces)},
        }

    path.write_bytes(msgpack.packb(walk(tree), use_bin_type=True))


def write_directory(directory, vision=CLIP, chunk=None, scale=1.0):
    model = reference(vision)
    tree = flax_tree(model, directory / "torch")
    tree["logit_scale"] = np.asarray(scale, np.float32)
    if scale is None:
        del tree["logit_scale"]
    write_flax(tree, directory / "flax_model.msgpack", chunk)
    config = {
        **KEYS_OF_2021, "architectures": ["HybridCLIP"], "model_type": "hybrid-clip", "initializer_factor": 1.0,
        "projection_dim": 16, "seed": 42, "freeze_backbones": True,
        "text_config": {**KEYS_OF_2021, **BERT, "architectures": ["BertForMaskedLM"]},
        "vision_config": {**KEYS_OF_2021, **vision},
    }  # fmt: skip
    (directory / "config.json").write_text(json.dumps(config))
    return model


def features(model):
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    ids, mask = torch.tensor([[2, 9, 8, 3], [2, 5, 3, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    with torch.no_grad():
        output = model(input_ids=ids, attention_mask=mask, pixel_values=pixels)
    return output.image_embeds, output.text_embeds


@pytest.mark.parametrize(("vision", "chunk"), [(CLIP, None), (VIT, None), (CLIP, 500)])
def test_original_layout_gives_the_same_embeddings(tmp_path, vision, chunk):
    expected = features(write_directory(tmp_path, vision, chunk))
    model = read_hybrid_clip(tmp_path)
    for ours, theirs in zip(features(model), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert model.logit_scale.exp().item() == pytest.approx(20)
    assert not model.training


def test_original_directory_is_an_encoder_with_its_scale_and_length(tmp_path):
    model = write_directory(tmp_path)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "gatto", *(f"parola{i}" for i in range(50))]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path)
    encoder = clip_italian.load(tmp_path)
    texts = ["un gatto", "gatto " * 200]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=96, return_tensors="pt")
    with torch.no_grad():
        rows = model.get_text_features(**tokens).pooler_output
    np.testing.assert_allclose(encoder.encode_texts(texts), rows / rows.norm(dim=1)[:, None], atol=1e-5)
    assert encoder.scale == pytest.approx(20) and encoder.rules.max_length == 96


def test_whole_clip_configuration_means_its_vision_part(tmp_path):
    expected = features(write_directory(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    whole = transformers.CLIPConfig(vision_config={k: v for k, v in CLIP.items() if k != "model_type"})
    config["vision_config"] = json.loads(whole.to_json_string(use_diff=False))
    (tmp_path / "config.json").write_text(json.dumps(config))
    torch.testing.assert_close(features(read_hybrid_clip(tmp_path))[0], expected[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("stored", "scale"), [(None, 20), (1.0, 20), (20.0, 20), (2.5, math.exp(2.5)), (3.0, math.exp(3))]
)
def test_scale_is_the_one_it_was_trained_with(tmp_path, stored, scale):
    assert constant_scale(stored) == pytest.approx(scale)
    if stored != 20.0:
        write_directory(tmp_path, scale=stored)
        assert read_hybrid_clip(tmp_path).logit_scale.exp().item() == pytest.approx(scale, rel=1e-5)


@given(
    arrays=st.dictionaries(
        st.text("abcxyz", min_size=1, max_size=4),
        st.tuples(st.sampled_from(["float32", "float64", "float16", "int32", "uint8", "bool"]),
                  st.lists(st.integers(0, 3), max_size=3)),
        max_size=4,
    )
)  # fmt: skip
def test_arrays_come_back_with_their_type_and_shape(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("flax") / "w.msgpack"
    values = {
        name: (np.arange(math.prod(shape)).reshape(shape) % 2).astype(dtype) for name, (dtype, shape) in arrays.items()
    }
    write_flax({"top": values}, path)
    read = read_flax(path)
    assert set(read) == {f"top.{name}" for name in values}
    for name, value in values.items():
        assert read[f"top.{name}"].dtype == value.dtype
        np.testing.assert_array_equal(read[f"top.{name}"], value)


def test_bfloat16_and_scalars_are_read(tmp_path):
    bits = np.array([0x3F80, 0xC000, 0x3FC0], "<u2")  # 1, -2, 1.5
    scalar = msgpack.ExtType(3, msgpack.packb(([], "float32", np.float32(7).tobytes())))
    tree = {"a": packed(bits, dtype="bfloat16"), "b": scalar}
    (tmp_path / "w.msgpack").write_bytes(msgpack.packb(tree))
    read = read_flax(tmp_path / "w.msgpack")
    np.testing.assert_array_equal(read["a"], np.float32([1, -2, 1.5]))
    assert read["b"] == 7


def chunked(shape, chunks):
    return {"a": {"__msgpack_chunked_array__": True, "shape": shape, "chunks": chunks}}


EIGHT = np.arange(8, dtype=np.float32)
HOSTILE = {
    "object dtype": ({"a": packed(EIGHT, dtype="object")}, "array of type 'object'"),
    "dtype is no name": ({"a": packed(EIGHT, dtype=7)}, "array of type 7"),
    "too large a shape": ({"a": packed(EIGHT, shape=[1 << 40, 1 << 40])}, "holds 8 numbers"),
    "negative shape": ({"a": packed(EIGHT, shape=[-1, -8])}, "array of shape"),
    "half a number": ({"a": packed(np.zeros(7, np.uint8), shape=[1], dtype="float32")}, "buffer size"),
    "other extension": ({"a": msgpack.ExtType(2, b"\x92\x00\x00")}, "extension type 2"),
    "not three parts": ({"a": msgpack.ExtType(1, msgpack.packb([1]))}, "not shape, type and bytes"),
    "a list": ([1, 2], "is list, not a dictionary"),
    "a string among the arrays": ({"a": {"b": "x"}}, "a.b is str"),
    "chunks not numbered": (chunked({"0": 8}, {"1": packed(EIGHT)}), "numbered"),
    "chunks of another shape": (chunked({"0": 9}, {"0": packed(EIGHT)}), "holds 8"),
    "chunks without number": (chunked({"0": "x"}, {"0": packed(EIGHT)}), "not Flax weights"),
    "chunks that are text": (chunked({}, {"0": "x"}), "no arrays"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(tmp_path, case):
    tree, message = HOSTILE[case]
    path = tmp_path / "w.msgpack"
    path.write_bytes(msgpack.packb(tree))
    with pytest.raises(BadModel, match=message) as caught:
        read_flax(path)
    assert str(path) in str(caught.value)


def test_nesting_without_end_is_refused(tmp_path):
    (tmp_path / "w.msgpack").write_bytes(b"\x81\xa1a" * 100_000)
    with pytest.raises(BadModel):
        read_flax(tmp_path / "w.msgpack")
    tree = packed(EIGHT)
    for _ in range(100):
        tree = {"a": tree}
    (tmp_path / "w.msgpack").write_bytes(msgpack.packb(tree))
    with pytest.raises(BadModel, match="not a dictionary of arrays"):
        read_flax(tmp_path / "w.msgpack")


@given(st.data())
def test_cut_and_altered_files_never_fail_otherwise(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flax") / "w.msgpack"
    write_flax({"a": {"kernel": EIGHT.reshape(2, 4)}, "b": EIGHT}, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        read_flax(path)
    except BadModel as error:
        assert str(path) in str(error)


def test_directories_that_lack_something_say_what(tmp_path, monkeypatch):
    write_directory(tmp_path)
    weights = (tmp_path / "flax_model.msgpack").read_bytes()
    tree = flax_tree(reference(CLIP), tmp_path / "torch")
    del tree["text_projection"]
    write_flax(tree, tmp_path / "flax_model.msgpack")
    with pytest.raises(BadModel, match=r"lack 1 tensors .* text_projection\.weight"):
        read_hybrid_clip(tmp_path)
    tree["text_projection"] = {"kernel": np.zeros((32, 99), np.float32)}
    write_flax(tree, tmp_path / "flax_model.msgpack")
    with pytest.raises(BadModel, match="disagree"):
        read_hybrid_clip(tmp_path)
    (tmp_path / "flax_model.msgpack").write_bytes(weights[:-1])
    with pytest.raises(BadModel, match="not whole Flax weights"):
        read_hybrid_clip(tmp_path)
    (tmp_path / "flax_model.msgpack").unlink()
    with pytest.raises(BadModel, match=r"flax_model\.msgpack is missing"):
        read_hybrid_clip(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "hybrid-clip"}')
    with pytest.raises(BadModel, match="not a hybrid-clip configuration"):
        read_hybrid_clip(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "msgpack", None)
    with pytest.raises(MissingExtra, match="pip install msgpack"):
        read_flax(tmp_path / "flax_model.msgpack")
