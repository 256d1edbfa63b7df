"""The card: what it measures of which data, what it says, and that it says no more than it was told."""

import json

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from clip_italian.cli import card as command
from clip_italian.errors import BadLabels, BadModel, BadRecord
from clip_italian.evaluation import scenes
from clip_italian.evaluation.card.captions import by_category, rank_captions, worst
from clip_italian.evaluation.card.facts import Facts, read_facts
from clip_italian.evaluation.card.measured import Card, Source, measure, parse_source
from clip_italian.evaluation.card.notes import Model, describe
from clip_italian.evaluation.card.text import card, told_apart
from clip_italian.evaluation.choices import Choice

MODEL = Model("colours", 3, "c" * 64)
NOTHING = Card({}, {}, {}, {}, {}, None)


@pytest.fixture
def captioned(make_sample):
    """Three photos; the second caption of the green one asks for red, so that its photo comes second."""
    return [
        make_sample("r.png", "rosso", "Un cane rosso"),
        make_sample("gg.png", "verde", "Un gatto verde", "Una donna in rosso"),
        make_sample("bbb.png", "blu", "Due quadri blu"),
    ]


def test_captions_are_ranked_sorted_and_the_worst_is_named(encoder, captioned):
    captions = rank_captions(encoder, captioned)
    assert captions.ranks.tolist() == [1, 1, 3, 1]  # red comes first; blue is as far away as green: against it
    assert [len(texts) for texts in captions.texts] and sum(map(len, captions.texts)) == 4
    scores = by_category(captions)
    assert {name: (n, round(score.value, 3)) for name, (n, score) in scores.items()} == {
        "all": (4, 0.833), "people": (1, 0.333), "animals": (2, 1.0), "colour": (4, 0.833), "count": (1, 1.0),
    }  # fmt: skip
    [(category, ranked)] = worst(captions)
    assert (category, ranked.text, ranked.number, ranked.photo.key) == ("people", "Una donna in rosso", 2, "gg.png")
    assert ranked.first[0].key == "r.png" and "gg.png" not in [photo.key for photo in ranked.first]


def test_no_photo_and_no_perfect_caption_is_among_the_worst_twice(encoder, make_sample):
    samples = [
        make_sample("r.png", "rosso", "Un uomo verde", "Un cane verde"),
        make_sample("gg.png", "verde", "Un gatto verde"),
    ]
    assert [(category, ranked.text) for category, ranked in worst(rank_captions(encoder, samples))] == [
        ("people", "Un uomo verde")
    ]


@pytest.mark.parametrize("text", ["album", "=album", "album=", ":imagenet=album"])
def test_a_data_set_has_a_name_and_a_path(text):
    with pytest.raises(BadRecord, match="write NAME=PATH"):
        parse_source(text)


@pytest.fixture
def folder(paint, tmp_path):
    """A captioned set, an album with classes, and queries over it, beside each other."""
    lines = []
    for name, colour in (("r.png", "rosso"), ("g.png", "verde")):
        paint(name, colour)
        paint(f"album/{name}", colour)
        lines.append(json.dumps({"image_path": name, "captions": [{"it": f"un quadro {colour}"}]}))
    (tmp_path / "dev.jsonl").write_text("\n".join(lines))
    (tmp_path / "album.tsv").write_text("file\twnid\nr.png\tn01440764\ng.png\tn01443537\n")
    (tmp_path / "album-queries.tsv").write_text("rosso\tr.png\tshort\nverde\tg.png\tshort\n")
    return tmp_path


def test_data_sets_are_measured_by_their_kind(encoder, folder):
    sources = [
        Source("dev", folder / "dev.jsonl"),
        Source("album", folder / "album", "imagenet"),
        Source("album-queries", folder / "album-queries.tsv"),
        Source("queries", folder / "album-queries.tsv", str(folder / "album")),
    ]
    measured = measure(encoder, sources, with_scenes=False)
    assert measured.captions["dev"].result.parts[0].metrics["mrr@10"].value == 1
    assert measured.classes["album"].settings["n_classes"] == 1000
    assert measured.queries["album-queries"].parts == measured.queries["queries"].parts
    assert measured.symmetry == {} and measured.neutral == {} and measured.scenes is None
    with pytest.raises(BadRecord, match="dev: two data sets of this name"):
        measure(encoder, sources[:1] * 2, with_scenes=False)
    with pytest.raises(BadLabels, match="album: its pictures have no captions, and no class names go with it"):
        measure(encoder, [Source("album", folder / "album")], with_scenes=False)
    (folder / "album").rename(folder / "moved")
    with pytest.raises(BadRecord, match=r"its photos are looked for in .*album, where no folder is"):
        measure(encoder, sources[2:3], with_scenes=False)


FACTS = """
title = "clip-italian-mine"
about = "A model."
imagenet_labels = true
terms = "Research terms."
not_for = ["Surveillance."]
quote = []
[[parts]]
part = "text tower"
what = "from nowhere"
licence = "MIT"
[[data]]
name = "Mine"
photos = "2"
captions = "a | b"
terms = "none"
"""


def test_the_card_says_what_was_told_and_measured(encoder, folder, captioned, tmp_path):
    (tmp_path / "facts.toml").write_text(FACTS)
    facts = read_facts(tmp_path / "facts.toml")
    album = measure(encoder, [Source("album", folder / "album", "imagenet")], with_scenes=False)
    measured = Card({"flickr": rank_captions(encoder, captioned)}, album.classes, {}, {}, {}, None)
    energy = {"kwh": 0.1234, "co2e_kg": 0.0408, "seconds": 7200, "method": "guessed", "country": "ITA"}
    notes = {
        "recipe": {"name": "mine", "seed": 7, "stages": [{"name": "heads", "epochs": 3, "learn": {"heads": 0.001}}]},
        "figures": {"stage": "heads", "epoch": 2},
        "energy": energy,
    }
    text = card(Model("colours", 3, "c" * 64, 15_800_000, notes), facts, measured)
    for expected in (
        "# clip-italian-mine", "| on disk | 15.8 MB |",
        "the run that made it, up to the epoch that was kept; not what earlier runs left it (kept features, "
        "answers, parts) |", "| text tower | from nowhere; MIT |",
        r"| a \| b | none |",
        "0.123 kWh in 2.0 hours: 0.0408 kg CO2e", "guessed", "`mine`, seed 7; kept: epoch 2 of stage heads",
        "| heads | 3 | heads 0.001 |", "| mrr@10 | 0.833 (", "album, 2 photos, 1,000 classes", "no zero-shot test",
        "| people | 0.333 (0.333–0.333) (1) |", "| people | flickr | `gg` | its caption 2 | 3 | `r` |",
        "| all | 0.833 (",
        "Research terms.", "- Surveillance.", f"`{measured.captions['flickr'].result.data[:16]}`",
    ):  # fmt: skip
        assert expected in text, expected
    assert "Una donna in rosso" not in text  # may not be quoted
    assert "“Una donna in rosso”" in card(MODEL, Facts(), measured)
    assert text == card(Model("colours", 3, "c" * 64, 15_800_000, notes), facts, measured)


def test_what_is_not_known_is_said_to_be_unknown():
    text = card(MODEL, Facts(), NOTHING)
    for expected in (
        "# colours", "What it learned from is not told.", "no notes of how it was trained",
        "energy | was not measured: the model holds no notes of its training |",
        "Not measured: no data set", "Not told.",
    ):  # fmt: skip
        assert expected in text, expected
    assert "Known failures" not in text


def with_notes(facts=None, measured=NOTHING, **notes):
    return card(Model("colours", 3, "c" * 64, notes=notes), facts or Facts(), measured)


STAGES = [{"name": "words", "epochs": 8, "batch": 256, "labelled": 64, "held": 21, "learn": {"heads": 0.001}}]


def test_what_a_run_began_with_is_told():
    recipe = {"name": "a", "seed": 1, "blend": 0.5, "stages": STAGES}
    text = with_notes(Facts(begins_with=("models/photos-it",)), recipe=recipe)
    assert "It began with models/photos-it. Its image tower's weights began at 0.5 of the way" in text
    assert "| stage | epochs | batch | labelled | held | learn |" in text
    assert "| words | 8 | 256 | 64 | 21 | heads 0.001 |" in text
    assert "began with a finished model; with which is not told" in with_notes(recipe=recipe)
    assert "began" not in with_notes(recipe=recipe | {"blend": None})


def test_a_students_first_parts_are_told():
    part = {"steps": 5000, "batch": 32, "rate": 0.015}
    learn = {"heads": 0.002, "image_tower": 0.0005, "text_tower": 0.001}
    recipe = {"name": "small", "seed": 1, "epochs": 3, "batch": 128, "learn": learn,
              "blockwise": part, "reading": part | {"batch": 512, "rate": 0.003, "held": False}}  # fmt: skip
    text = with_notes(recipe=recipe, teacher={"name": "base", "fingerprint": "f" * 64})
    assert f"distilled from base (fingerprint `{'f' * 64}`)" in text and "first parts" in text
    for row in (
        "| blockwise: the image tower's stages | 5000 |  | 32 | image_tower 0.015 |",
        "| reading: the text side | 5000 |  | 512 | text side 0.003 |",
        "| the whole student |  | 3 | 128 | heads 0.002, image_tower 0.0005, text_tower 0.001 |",
    ):
        assert row in text, row
    recipe["reading"]["held"] = True  # then neither its tower nor its head learns on
    assert "| 128 | image head 0.002, image_tower 0.0005 |" in with_notes(recipe=recipe)
    alone = with_notes(recipe={"name": "small", "seed": 1, "epochs": 3, "batch": 128, "learn": learn}, teacher="base")
    assert "| small | 3 | 128 | heads" in alone and "first parts" not in alone
    assert "distilled from base (its fingerprint was not noted)" in alone


def test_what_the_run_read_is_counted_by_its_notes():
    read = {"pictures": 38863, "texts": 129597}
    assert "the run read 38,863 pictures and 129,597 distinct texts." in with_notes(data=read)
    text = with_notes(data=read | {"kinds": {"captions": 60000, "lines": 15666}})
    assert "129,597 distinct texts, among them 60,000 captions, 15,666 lines." in text
    assert "distinct texts" not in with_notes(recipe={"name": "a"})


def test_energy_says_what_it_leaves_out_or_that_there_is_none():
    energy = {"kwh": 0.1234, "co2e_kg": 0.0408, "seconds": 600, "method": "guessed", "country": "ITA"}
    text = with_notes(Facts(begins_with=("photos-it",)), energy=energy, teacher="base")
    assert "| energy | 0.123 kWh in 10 minutes: 0.0408 kg CO2e |" in text
    assert "up to the epoch that was kept; not its teacher, nor what it began with, nor what earlier" in text
    assert "| energy | was not measured: training noted none |" in with_notes(recipe={"name": "a"})


def test_settings_are_where_the_card_says_they_are(encoder, tmp_path):
    recipe = {"recipe": {"name": "a", "seed": 1}}
    for place, content in (("own", {"notes": recipe, "source": {}}), ("bare", {"source": {}})):
        (tmp_path / place).mkdir()
        (tmp_path / place / "model.json").write_text(json.dumps(content))
    own = card(describe(encoder, tmp_path / "own"), Facts(), NOTHING)
    assert "All settings are in `model.json`, under `notes`." in own
    bare = card(describe(encoder, tmp_path / "bare", tmp_path / "own" / "model.json"), Facts(), NOTHING)
    assert "`a`, seed 1" in bare and "All settings" not in bare


def test_the_stored_gate_is_printed(encoder, tmp_path):
    def scored(data, name, before, after):
        change = {"value": after - before, "low": -1.0, "high": 1.0}
        return {"data": data, "score": name, "n": 1500, "before": before, "after": after, "change": change}

    scores = [
        scored("f/dev.jsonl", "text→image recall@1", 19.93, 19.5),
        scored("t/d.gz", "pictures accuracy@1", 50, 50),
    ]
    description = {"source": {}, "gate": {"limit": 1.0, "passed": True, "scores": scores}}
    (tmp_path / "model.json").write_text(json.dumps(description))
    model = describe(encoder, tmp_path)
    text = card(model, Facts(), NOTHING)
    assert "| task | data | score | queries | before | after | loss | limit |" in text
    assert "| retrieval | f/dev.jsonl | text→image recall@1 | 1,500 | 19.93 | 19.50 | 0.43 | 1 |" in text
    assert "| zero-shot | t/d.gz | pictures accuracy@1 | 1,500 | 50.00 | 50.00 | 0.00 | 1 |" in text
    assert "| supervised | t/d.gz |" in card(model, Facts(supervised=("t",)), NOTHING)
    (tmp_path / "model.json").write_text('{"source": {}}')
    assert "holds no scores of before and after" in card(describe(encoder, tmp_path), Facts(), NOTHING)
    assert "before and after" not in card(MODEL, Facts(), NOTHING).lower()  # a training directory is no export


def test_classes_whose_labels_trained_the_model_are_no_zero_shot(encoder, folder):
    album = measure(encoder, [Source("album", folder / "album", "imagenet")], with_scenes=False)
    text = with_notes(Facts(supervised=("album",)), album, recipe={"name": "a", "stages": STAGES})
    assert "| album (supervised), 2 photos" in text
    assert "The labels of album's training part trained this model" in text and "of which data set" not in text
    untold = with_notes(None, album, recipe={"name": "a", "stages": STAGES})
    assert "| album, 2 photos" in untold and "(`labelled` in its recipe), of which data set is not told" in untold
    assert "Labels of pictures" not in with_notes(None, album, recipe={"name": "a", "stages": [{"labelled": 0}]})


def test_the_models_taught_tiny_imagenet_say_so(request):
    cards = request.config.rootpath / "cards"
    assert all(read_facts(cards / f"{name}.toml").supervised == ("tiny-imagenet",) for name in ("base", "small"))
    assert read_facts(cards / "photos-it.toml").supervised == ()


def test_the_shipped_facts_state_terms_and_labels(request):
    paths = sorted((request.config.rootpath / "cards").glob("*.toml"))
    assert {"base", "small"} <= {path.stem for path in paths}
    for path in paths:
        facts = read_facts(path)
        assert (
            "research terms" in facts.terms and facts.imagenet_labels and facts.data and facts.parts and facts.not_for
        )


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("title = 3", "title: input should be a valid string"),
        ("colour = 'red'", "colour: extra inputs .*a card's facts are title, about"),
        ("[[data]]\nname = 'x'", r"data\.0\.photos: field required"),
        ("title", "cannot be read as TOML"),
    ],
)
def test_bad_facts_are_told_by_their_place(tmp_path, content, complaint):
    (tmp_path / "facts.toml").write_text(content)
    with pytest.raises(BadRecord, match=complaint):
        read_facts(tmp_path / "facts.toml")


def test_size_and_notes_are_those_of_the_models_folder(encoder, tmp_path):
    assert describe(encoder, tmp_path) == MODEL  # no folder of ours: nothing is known
    path = tmp_path / "model.json"
    path.write_text('{"notes": {"recipe": {"name": "a"}}, "files": {"weights": "0", "gone": "0"}}')
    (tmp_path / "weights").write_bytes(bytes(1000))
    (tmp_path / "state.pt").write_bytes(bytes(9999))  # of the run, not of the model
    described = describe(encoder, tmp_path)
    assert (described.size, described.notes) == (1000 + path.stat().st_size, {"recipe": {"name": "a"}})
    other = tmp_path / "other.json"
    other.write_text('{"notes": {"recipe": {"name": "b"}}}')
    assert describe(encoder, tmp_path, other).notes == {"recipe": {"name": "b"}}
    assert describe(encoder, tmp_path, other).size == described.size
    for content in ("[]", "{", '{"notes": 3}'):
        other.write_text(content)
        with pytest.raises(BadModel, match=r"other.json: cannot be read .*; give a model's model.json"):
            describe(encoder, tmp_path, other)


@pytest.mark.parametrize(
    ("true", "wrong", "told"),
    [
        ("tre stelle blu", "due stelle blu", "tre → due"),
        ("un cerchio a sinistra di un cubo", "un cerchio a destra di un cubo", "sinistra → destra"),
        ("una stella", "due stelle", "una stella → due stelle"),
        ("uno", "uno", "uno → uno"),
    ],
)
def test_sentences_are_told_apart_by_what_differs(true, wrong, told):
    assert told_apart(true, wrong) == told


class Sure:
    """Every picture and text has the same vector: all sentences tie, and a tie is wrong."""

    name, dim, fingerprint = "sure", 2, "5" * 64

    def encode_images(self, images):
        return np.tile(np.float32([1, 0]), (len(list(images)), 1))

    def encode_texts(self, texts):
        return self.encode_images(texts)


def test_scenes_keep_what_went_wrong(monkeypatch):
    for name, number in (("TEST", 5), ("SINGLES", 24), ("ASKED", 8)):
        monkeypatch.setattr(scenes, name, number)
    found = scenes.measure(Sure(), 32)
    assert found.retrieval.n_images == 5 and found.zero_shot.n_images == 24
    assert {score.value for score in found.choices.values()} == {0.0}
    assert len(found.wrong) >= 8 and all(place != choice.right for choice, place in found.wrong)
    assert found.chances["colour"] == pytest.approx(1 / 11) and found.chances["count"] == pytest.approx(1 / 6)
    drawn = card(MODEL, Facts(), Card({}, {}, {}, {}, {}, found), scene_failures="x.png")
    assert "| the true sentence of several: colour | 0.09 | 0.000 (" in drawn and "](x.png)" in drawn


@pytest.fixture
def run(opened_by_name, monkeypatch, tmp_path):
    app = typer.Typer()
    command.register(app)
    app.command()(lambda: None)  # a second command, so that the first keeps its name
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["card", *map(str, arguments)], env={"COLUMNS": "120"})


def test_the_command_writes_card_scores_and_sheets(run, folder, monkeypatch):
    picture = Image.new("RGB", (32, 32), "red")
    wrong = ((Choice(picture, ("tre stelle", "due stelle"), 0, "count 1-4"), 1),)
    monkeypatch.setattr(
        scenes, "measure", lambda encoder, size, progress: scenes.Measured(RESULTS[0], RESULTS[1], {}, wrong, {})
    )
    with (folder / "dev.jsonl").open("a") as lines:
        lines.write('\n{"image_path": "album/g.png", "captions": [{"it": "una donna in rosso"}]}')
    RESULTS[:] = _results(folder)
    data = ("--data", f"dev={folder / 'dev.jsonl'}", "--data", f"album:imagenet={folder / 'album'}")
    done = run("colours", *data, "--out", "out/README.md", "--kept", "kept")
    assert done.exit_code == 0, (done.output, done.exception)
    text = (folder / "out" / "README.md").read_text("utf-8")
    assert "](scenes-failures.jpg)" in text and "una donna in rosso" in text
    scores = json.loads((folder / "kept" / "card.json").read_text())
    assert scores["captions"]["dev"]["worst"][0]["caption"] == "una donna in rosso"
    assert scores["classes"]["album"]["accuracy@1"].keys() == {"value", "low", "high"}
    with Image.open(folder / "kept" / "failures.png") as sheet:
        assert sheet.width > 400
    with Image.open(folder / "out" / "scenes-failures.jpg") as sheet:
        assert sheet.format == "JPEG" and sheet.width <= 620
    assert not list((folder / "out").glob("failures*"))  # photos that are not ours stay out of the card's folder
    again = run("colours", *data, "--out", "out/again.md", "--kept", "kept")
    assert again.exit_code == 0 and (folder / "out" / "again.md").read_text("utf-8") == text


RESULTS = []


def _results(folder):
    from clip_italian.evaluation.zero_shot import evaluate_zero_shot

    encoder = Sure()
    captions = rank_captions(encoder, [*map(_sample, ("r.png", "g.png"), [folder] * 2)])
    labelled = [_sample("r.png", folder)]
    return [captions.result, evaluate_zero_shot(encoder, labelled, ["rosso", "blu"])]


def _sample(name, folder):
    from clip_italian.data.sample import Caption, ImageRef, Sample

    return Sample(name, ImageRef(folder / name), (Caption("un quadro"),), label=0)


def test_the_doc_names_every_option_and_every_fact(request):
    text = (request.config.rootpath / "docs" / "card.md").read_text("utf-8")
    app = typer.Typer(add_completion=False)
    command.register(app)
    parameters = typer.main.get_command(app).params
    options = {name for one in parameters for name in (*one.opts, *one.secondary_opts) if name.startswith("--")}
    assert len(options) > 7
    for option in options - {"--help", "--scenes"}:
        assert f"`{option}`" in text, f"docs/card.md: say what {option} means"
    for key in Facts.model_fields:
        assert f"`{key}`" in text, f"docs/card.md: say what {key} is"
