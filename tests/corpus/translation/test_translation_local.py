"""Local models: against transformers' own search on the same weights, and folders that are not what they should be."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clip_italian.corpus.translation import EngineStopped, TranslationPlan, Translator, Untranslated, open_translator
from clip_italian.corpus.translation.layouts import model_files, recognise
from clip_italian.errors import BadModel, MissingExtra

Open = Callable[..., Translator]
FAMILIES = ["marian", "nllb", "madlad"]


@pytest.fixture
def local(toys: dict[str, Any], tmp_path: Path) -> Iterator[Open]:
    """Opens toy models, each with a new cache unless it is named. folder: another folder of a model."""
    opened: list[Translator] = []

    def open_one(family: str = "marian", cache: str = "", folder: Path | None = None, **settings: object) -> Translator:
        plan = TranslationPlan.model_validate(
            {
                "engine": "ctranslate2",
                "model": str(folder or toys[family].converted),
                "max_tokens": 60,
                "threads": 1,
                **settings,
            }
        )
        opened.append(open_translator(plan, tmp_path / (cache or f"cache-{len(opened)}"), tmp_path))
        return opened[-1]

    yield open_one
    for translator in opened:
        translator.close()


@pytest.fixture
def changed(toys: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """Copies a converted model and changes the copy."""

    def copy(family: str, change: Callable[[Path], object]) -> Path:
        folder = tmp_path / f"changed-{family}"
        shutil.copytree(toys[family].converted, folder)
        change(folder)
        return folder

    return copy


def by_transformers(original: Path, family: str, texts: list[str], beam: int) -> list[str]:
    """Search with transformers, a text at a time, so that neither padding nor batching of ours has a part in it."""
    import sentencepiece
    import torch
    import transformers

    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(original).eval()
    settings: dict[str, Any] = {"num_beams": beam, "max_length": 61, "early_stopping": False, "do_sample": False}
    if family == "madlad":  # the pieces as training has them; T5Tokenizer drops the space before <2it>
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(original / "spiece.model"))
        ids = [torch.tensor([[*pieces.encode(f"<2it> {text}"), 1]]) for text in texts]
        rows = [model.generate(input_ids=one, **settings)[0].tolist() for one in ids]
        return [pieces.decode([i for i in row if i > 2]) for row in rows]
    tokenizer = transformers.AutoTokenizer.from_pretrained(original)
    if family == "nllb":
        settings["forced_bos_token_id"] = tokenizer.convert_tokens_to_ids("ita_Latn")
    rows = [model.generate(**tokenizer([text], return_tensors="pt"), **settings)[0] for text in texts]
    return tokenizer.batch_decode(rows, skip_special_tokens=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_search_gives_what_transformers_gives(local: Open, toys: dict[str, Any], family: str):
    from toy_models import PAIRS, TAUGHT

    texts = [*list(PAIRS)[:20], *list(TAUGHT)[:5], "a dog", "zebra 7 è"]
    ours = local(family, beam=1, batch_tokens=64).translate(texts)
    assert ours == by_transformers(toys[family].original, family, texts, 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_beam_search_gives_what_transformers_gives_and_it_is_italian(local: Open, toys: dict[str, Any], family: str):
    # Not exactly: the two weigh lengths of hypotheses a little differently, which decides where the toy is unsure.
    from toy_models import TAUGHT

    ours = local(family, beam=4).translate(list(TAUGHT))
    theirs = by_transformers(toys[family].original, family, list(TAUGHT), 4)
    for others in (theirs, TAUGHT.values()):
        assert sum(a == b for a, b in zip(ours, others, strict=True)) >= 0.8 * len(TAUGHT)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_family_is_told_from_the_files(toys: dict[str, Any], family: str):
    folder = toys[family].converted
    plan = TranslationPlan(engine="ctranslate2", model=str(folder))
    layout = recognise(folder, plan)
    assert layout == recognise(folder, plan.model_copy(update={"layout": family}))
    assert layout.family == family
    assert layout.spoken == ("<2it>" if family == "madlad" else "")
    assert (layout.before, layout.begins) == ((("eng_Latn",), ("ita_Latn",)) if family == "nllb" else ((), ()))


def test_a_model_that_adds_the_end_itself_gets_it_once(local: Open, changed: Callable[..., Path]):
    from toy_models import TAUGHT

    def add(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "add_source_eos": True}))

    texts = list(TAUGHT)[:10]
    other = local(folder=changed("marian", add))
    assert other.translate(texts) == local().translate(texts)
    assert other.engine != local().engine


def test_both_directions_and_target_tokens(local: Open, toys: dict[str, Any]):
    folder = toys["nllb"].converted
    back = recognise(folder, TranslationPlan(engine="ctranslate2", model="x", source="it", target="en"))
    assert (back.before, back.begins) == (("ita_Latn",), ("eng_Latn",))
    french = recognise(folder, TranslationPlan(engine="ctranslate2", model="x", target_token="fra_Latn"))
    assert french.begins == ("fra_Latn",)
    with pytest.raises(BadModel, match="knows no token xyz"):
        local("nllb", target_token="xyz").translate(["a dog"])


def test_a_marian_model_of_many_languages_is_told_the_target(changed: Callable[..., Path]):
    plan = TranslationPlan(engine="ctranslate2", model="x")

    def with_words(*words: str) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            file = folder / "shared_vocabulary.json"
            file.write_text(json.dumps([*json.loads(file.read_text()), *words]))

        return change

    folder = changed("marian", with_words(">>fra<<", ">>ita<<"))
    assert recognise(folder, plan).before == (">>ita<<",)
    shutil.rmtree(folder)
    folder = changed("marian", with_words(">>fra<<", ">>spa<<"))
    with pytest.raises(BadModel, match="set target_token to one of >>fra<< >>spa<<"):
        recognise(folder, plan)
    assert recognise(folder, plan.model_copy(update={"target_token": ">>spa<<"})).before == (">>spa<<",)


def test_a_long_text_goes_through_the_model_in_parts(local: Open):
    from toy_models import TAUGHT

    english = next(iter(TAUGHT))
    (translated,) = local(max_tokens=16, beam=1).translate([" ".join([english] * 30)])
    assert len(translated.split()) > 30
    assert local(max_tokens=120, beam=1).translate(["x" * 5000])[0]


def test_the_name_follows_the_model_and_what_changes_translations_alone(
    local: Open, toys: dict[str, Any], changed: Callable[..., Path], tmp_path: Path
):
    name = local().engine
    assert name == local(threads=2, batch_tokens=99, texts_per_commit=3).engine
    moved = tmp_path / "elsewhere"
    shutil.copytree(toys["marian"].converted, moved)
    (moved / "README.md").write_text("not part of the model")
    assert local(folder=moved).engine == name
    others = [
        local("nllb").engine,
        local(beam=1).engine,
        local(max_tokens=50).engine,
        local(compute_type="int8").engine,
        local(folder=changed("marian", lambda f: (f / "source.spm").write_bytes(b"other"))).engine,
    ]
    assert len({name, *others}) == 6


def test_caches_of_two_models_never_mix(local: Open):
    from toy_models import TAUGHT

    texts = list(TAUGHT)[:6]
    expected = {family: local(family).translate(texts) for family in FAMILIES}
    for family in FAMILIES:
        shared = local(family, cache="shared")
        assert shared.estimate(texts).cached == 0
        assert shared.translate(texts) == expected[family] and shared.estimate(texts).cached == 6
    assert local("marian", cache="shared").forget(texts[:1]) == 3


def test_a_local_model_costs_nothing_and_its_work_is_stored_batch_by_batch(local: Open):
    from toy_models import PAIRS

    translator, seen = local(texts_per_commit=25, price_per_million=9), []
    estimate = translator.estimate(PAIRS)
    assert (estimate.cost, estimate.texts) == (0, 60) and estimate.characters == sum(map(len, PAIRS))
    translator.translate(list(PAIRS), lambda done, total: seen.append(done))
    assert seen == [0, 25, 50, 60]


def test_a_cached_text_needs_neither_model_nor_library(local: Open, monkeypatch: pytest.MonkeyPatch):
    local(cache="kept").translate(["a dog"])
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    again = local(cache="kept")
    assert again.translate(["a dog"])
    with pytest.raises(MissingExtra, match=r"ctranslate2.*pip install 'clip-italian\[corpus\]'"):
        again.translate(["a cat"])


def test_a_text_that_the_model_cannot_read_is_named(local: Open):
    texts = ["a dog", "\u200b\u200b", "a cat"]
    try:
        given = local(beam=1).translate(texts)
        assert given[1]
    except Untranslated as error:
        assert list(error.refused) == ["\u200b\u200b"]
        assert error.translations[0] and error.translations[2] and not error.translations[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "model.bin").unlink(), "no model.bin"),
        (lambda f: (f / "model.bin").write_bytes((f / "model.bin").read_bytes()[:5000]), "cannot open"),
        (lambda f: (f / "model.bin").write_bytes(b""), "cannot open"),
        (lambda f: (f / "target.spm").unlink(), "target.spm"),
        (lambda f: [(f / n).unlink() for n in ("source.spm", "target.spm")], "no known family"),
        (lambda f: (f / "source.spm").write_bytes(b"not pieces"), "sentencepiece"),
        (lambda f: (f / "shared_vocabulary.json").unlink(), "shared_vocabulary"),
        (lambda f: (f / "shared_vocabulary.json").write_text('["a", "b"]'), "not those of the model"),
        (lambda f: (f / "shared_vocabulary.json").write_text("[1"), "cannot be read"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be read"),
    ],
)  # fmt: skip
def test_refuses_folders_that_are_not_whole(
    local: Open, changed: Callable[..., Path], change: Callable[[Path], object], message: str
):
    with pytest.raises(BadModel, match=message):
        local(folder=changed("marian", change)).translate(["a dog"])


def test_refuses_pieces_of_another_model(local: Open, toys: dict[str, Any], changed: Callable[..., Path]):
    def swap(folder: Path) -> None:
        words = json.loads((folder / "shared_vocabulary.json").read_text())
        shuffled = [word if word.startswith("<") or word.endswith("Latn") else f"{word}#" for word in words]
        (folder / "shared_vocabulary.json").write_text(json.dumps(shuffled))

    with pytest.raises(BadModel, match="not those of the model"):
        local("nllb", folder=changed("nllb", swap)).translate(["a dog"])


def test_a_text_longer_than_the_model_reads_stops_with_what_to_change(local: Open):
    with pytest.raises(EngineStopped, match=r"lower .*max_tokens"):
        local(max_tokens=1000, beam=1).translate(["a dog " * 160])


def test_only_the_files_of_the_model_count(toys: dict[str, Any]):
    assert [file.name for file in model_files(toys["marian"].converted)] == [
        "config.json", "model.bin", "shared_vocabulary.json", "source.spm", "target.spm",
    ]  # fmt: skip
