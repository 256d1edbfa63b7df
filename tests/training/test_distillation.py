"""A student learns from a teacher: what it is shown, what it is asked, that it learns, stops, goes on and is kept."""

import contextlib
import json
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from toys import IMAGE, Listener, recipe, squares

from clip_italian.data.class_names import imagenet
from clip_italian.data.sample import Caption, ImageRef, Sample
from clip_italian.encoder import load
from clip_italian.errors import BadRecipe, BadRecord
from clip_italian.evaluation.metrics import mrr_at_k, ranks_from_vectors
from clip_italian.models.checkpoint import load_checkpoint, save_checkpoint
from clip_italian.models.towers.mobile import Depthwise, MobileImageTower
from clip_italian.preprocess import Preprocess
from clip_italian.training import distil_losses, distil_teacher
from clip_italian.training.batch_augment import cut
from clip_italian.training.distil_layout import choose_layout
from clip_italian.training.distil_recipe import DistilRecipe, StudentTexts, Views, read_distil_recipe
from clip_italian.training.distil_setup import Data, _ordinary
from clip_italian.training.distil_student import Lessons, Student
from clip_italian.training.distil_texts import Pieces, gather, read_lines, tokenised
from clip_italian.training.distil_views import Squares, decode, draw_views, erased, normalised, recoloured
from clip_italian.training.distillation import distil
from clip_italian.training.setup import build, learnable

SETTINGS = {
    "name": "allievo", "seed": 3, "image_tower": {"type": "mobile-image", "width": 0.25, "dim": 32},
    "text_tower": {"type": "gated-text", "width": 32, "depth": 1, "kernel": 3},
    "pictures": {"size": 32, "resize": "crop"}, "views": {"captioned": 3, "others": 2, "kept": 48, "erase": 0.2},
    "texts": {"max_length": 16, "vocabulary": 300, "per_photo": 2, "batch": 48},
    "learn": {"heads": 5e-3, "image_tower": 5e-3, "text_tower": 5e-3, "scale": 1e-3},
    "epochs": 4, "batch": 16, "captioned": 0.75, "warmup": 4, "average": 0.8, "validate_every": 2, "settle": 3,
    "teacher_batch": 20, "precision": "float32", "weights": "float32",
}  # fmt: skip


def student(**changes):
    return DistilRecipe.model_validate(SETTINGS | changes)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A model directory whose vectors differ from picture to picture and text to text."""
    folder = tmp_path_factory.mktemp("maestro")
    samples = squares(folder / "quadri", 24, seed=8)
    made = build(recipe(image_tower=IMAGE), [c.text for s in samples for c in s.captions])
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in made.model.parameters():
            if parameter.ndim > 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    save_checkpoint(made, folder / "modello")
    return folder / "modello"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dati")
    samples = squares(folder / "imparare", 24)
    bare = [Sample(s.key, s.image) for s in squares(folder / "nude", 10, seed=2, name="nudo")]
    valid = squares(folder / "prova", 16, seed=1, name="prova")
    return Data([*samples, *bare], {"prova": valid}, [["un gatto nero", "due stelle"]], [])


def test_a_student_learns_is_kept_and_opens_as_any_model(teacher, data, tmp_path):
    listener = Listener()
    outcome = distil(student(epochs=20), teacher, data, tmp_path / "a", reporter=listener)
    assert listener.losses[-1] < 0.6 * listener.losses[0]
    lines = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    first, last = (next(line for line in order if "image" in line) for order in (lines, lines[::-1]))
    assert last["image"] < first["image"] and last["text"] < first["text"] and last["rows"] < first["rows"]
    encoder = load(tmp_path / "a")
    assert encoder.dim == 32
    notes = json.loads((tmp_path / "a" / "model.json").read_text())["notes"]
    assert notes["recipe"]["name"] == "allievo"
    assert notes["teacher"] == {"name": "quadri", "fingerprint": load(teacher).fingerprint}
    read, kinds = notes["data"], notes["data"]["kinds"]
    captions = {caption.text for sample in data.samples for caption in sample.captions}
    assert read["pictures"] == len(data.samples) and kinds["captions"] == len(captions) and kinds["lines"] == 2
    assert max(kinds.values()) < read["texts"] <= 2 * len(captions) + kinds["phrases"] + 2  # captions are mirrored
    # What was measured is what was kept, batch norms' statistics included.
    samples = data.valid["prova"]
    owners = [number for number, sample in enumerate(samples) for _ in sample.captions]
    images = encoder.encode_images([sample.image.path for sample in samples])
    texts = encoder.encode_texts([caption.text for sample in samples for caption in sample.captions])
    ranks = ranks_from_vectors(texts, images, np.array(owners), np.arange(len(samples)))
    assert mrr_at_k(ranks, 10) == pytest.approx(outcome.best, abs=1e-6)
    assert not (tmp_path / "a" / "teacher.safetensors").exists()


def stop_at(step):
    def interrupt(number):
        if number == step:
            signal.raise_signal(signal.SIGINT)

    return interrupt


def test_stopped_and_resumed_it_ends_as_if_never_stopped(teacher, data, tmp_path, monkeypatch):
    monkeypatch.setattr("clip_italian.training.distillation.READ_EVERY", 1)
    distil(student(), teacher, data, tmp_path / "whole", reporter=Listener())
    with pytest.raises(KeyboardInterrupt):
        distil(student(), teacher, data, tmp_path / "cut", reporter=Listener(stop_at(3)))
    with pytest.raises(BadRecipe, match="add --resume"):
        distil(student(), teacher, data, tmp_path / "cut", reporter=Listener())
    # The teacher's answers lie beside the state and are not asked for again.
    monkeypatch.setattr(distil_teacher, "_asked", None)
    listener = Listener()
    distil(student(), teacher, data, tmp_path / "cut", resume=True, reporter=listener)
    assert any(note.startswith("going on at epoch 2, step 2") for note in listener.notes)
    whole, again = (torch.load(tmp_path / name / "state.pt", weights_only=True)["model"] for name in ("whole", "cut"))
    for name, tensor in whole.items():
        torch.testing.assert_close(again[name], tensor, rtol=0, atol=0)
    read = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert read[0] == read[1]


def test_answers_of_another_question_are_not_used(teacher, data, tmp_path, monkeypatch):
    monkeypatch.setattr("clip_italian.training.distillation.READ_EVERY", 1)
    with pytest.raises(KeyboardInterrupt):
        distil(student(), teacher, data, tmp_path, reporter=Listener(stop_at(2)))
    asked = []
    monkeypatch.setattr(distil_teacher, "_asked", lambda source, report: asked.append(1) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        distil(student(seed=4), teacher, data, tmp_path, resume=True, reporter=Listener())
    assert asked


def test_a_run_does_not_go_on_with_other_validation_sets_but_keeps_the_answers(teacher, data, tmp_path, monkeypatch):
    monkeypatch.setattr("clip_italian.training.distillation.READ_EVERY", 1)
    with pytest.raises(KeyboardInterrupt):
        distil(student(), teacher, data, tmp_path, reporter=Listener(stop_at(2)))
    monkeypatch.setattr(distil_teacher, "_asked", None)
    fewer, renamed = {"prova": data.valid["prova"][:-1]}, {"altra": data.valid["prova"]}
    for valid in (fewer, renamed):
        with pytest.raises(BadRecipe, match="begun with another recipe or other data"):
            distil(student(), teacher, replace(data, valid=valid), tmp_path, resume=True, reporter=Listener())


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
def test_minutes_that_leave_no_time_are_refused(teacher, data, tmp_path, minutes):
    with pytest.raises(BadRecipe, match=r"--minutes .*: give a number above 0"):
        distil(student(), teacher, data, tmp_path / "a", minutes=minutes, reporter=Listener())
    assert not (tmp_path / "a").exists()


def test_minutes_set_the_number_of_steps(teacher, data, tmp_path, monkeypatch):
    monkeypatch.setattr("clip_italian.training.distillation.SPARE", 0.0)
    listener = Listener()
    distil(student(epochs=10_000), teacher, data, tmp_path, minutes=0.1, reporter=listener)
    steps = torch.load(tmp_path / "state.pt", weights_only=True)["state"]["total_steps"]
    assert 30 < steps < 20_000
    assert any("more steps" in note and "pictures/s" in note for note in listener.notes)


def test_all_pictures_may_have_captions(teacher, data, tmp_path):
    few = Data(data.samples[:24], data.valid)
    distil(student(epochs=1), teacher, few, tmp_path, reporter=Listener())
    assert load(tmp_path).dim == 32


def test_pictures_in_both_sets_are_refused(teacher, data, tmp_path):
    mixed = Data(data.samples, {"prova": [*data.valid["prova"], data.samples[3]]})
    with pytest.raises(BadRecord, match=r"prova: 1 of its 17 pictures are also learned from: quadro3"):
        distil(student(), teacher, mixed, tmp_path, reporter=Listener())


def test_a_picture_that_does_not_open_is_left_out(teacher, data, tmp_path):
    (tmp_path / "rotta.png").write_bytes(b"no picture")
    broken = Sample("rotta", ImageRef(tmp_path / "rotta.png"), (Caption("un quadrato"),))
    listener = Listener()
    distil(student(epochs=1), teacher, Data([broken, *data.samples], data.valid), tmp_path / "a", reporter=listener)
    assert any(note.startswith("skipped: rotta") for note in listener.notes)
    assert "1 pictures skipped, 34 used" in listener.notes


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"batch": 40, "texts": {"batch": 100}}, "30 captioned pictures in a step, but there are 24"),
     ({"pictures": {"size": 32, "resize": "squash"}}, "the teacher was trained with 'crop'"),
     ({"pictures": {"size": 40, "resize": "crop"}}, "cannot read 40 × 40 pixels")],
)  # fmt: skip
def test_what_does_not_fit_is_told(teacher, data, tmp_path, changes, message):
    with pytest.raises(BadRecipe, match=message):
        distil(student(**changes), teacher, data, tmp_path, reporter=Listener())


@pytest.mark.parametrize("until", [None, 0.0])
def test_a_teacher_is_asked_about_each_view_and_stops_after_first_ones_when_time_is_over(teacher, data, until):
    made = load_checkpoint(teacher)
    made.model.eval()
    decoded = decode(
        data.samples, Preprocess(48), torch.device("cpu"), on_skip=pytest.fail, report=lambda what, done, total: None
    )
    views = draw_views(decoded.samples, Views(captioned=3, others=2), np.random.default_rng(0))
    pool = gather(decoded.samples, StudentTexts(languages={"it": 1.0}), [], [], np.random.default_rng(0))
    source = distil_teacher.Source(made, decoded.pixels, views, pool, False, 7, until)
    taught = distil_teacher.teach(source, None, "", lambda what, done, total: None)
    with torch.no_grad():
        for row in (0, 1, 5, 40, len(views.picture) - 1):
            box = torch.from_numpy(views.boxes[row : row + 1])
            pixels = normalised(cut(decoded.pixels.large[views.picture[row]][None], box, 32), made.preprocess)
            expected = made.model.encode_images(pixels)[0]
            is_first = row in views.first
            if until is None or is_first:
                torch.testing.assert_close(taught.image[row].float(), expected, rtol=0, atol=2e-3)
            else:
                assert not taught.image[row].any()
        text = made.model.encode_texts(*made.tokenizer.encode(pool.texts[5:6]))[0]
    torch.testing.assert_close(taught.text[5].float(), text, rtol=0, atol=2e-3)
    assert int(taught.rounds) == (3 if until is None else 1)


def test_a_teacher_may_look_at_pictures_without_texts_at_another_size(teacher, data):
    made = load_checkpoint(teacher)
    decoded = decode(
        data.samples, Preprocess(48), torch.device("cpu"), on_skip=pytest.fail, report=lambda what, done, total: None
    )
    views = draw_views(decoded.samples, Views(captioned=1, others=1), np.random.default_rng(0))
    pool = gather(decoded.samples, StudentTexts(languages={"it": 1.0}), [], [], np.random.default_rng(0))
    taught = [
        distil_teacher.teach(
            distil_teacher.Source(made, decoded.pixels, views, pool, False, 7, sides=sides),
            None,
            "",
            lambda *told: None,
        ).image
        for sides in (None, (32, 32), (32, 16))
    ]
    assert torch.equal(taught[0], taught[1]) and len(taught[0]) == 34
    same = (taught[0] == taught[2]).all(1)
    assert same[:24].all() and not same[24:].any() and taught[2].float().norm(dim=1).min() > 0.99


def test_classes_need_the_teachers_classifier(teacher, data, tmp_path):
    named = Data(data.samples, data.valid, [], imagenet())
    with pytest.raises(BadRecipe, match="efficientnet-lite2; the teacher has another"):
        distil(student(), teacher, named, tmp_path / "a", reporter=Listener())


def pictures(captions):
    return [Sample(str(n), ImageRef(Path("x")), tuple(Caption(c) for c in part)) for n, part in enumerate(captions)]


def test_the_first_view_is_the_whole_picture_and_captions_may_forbid_mirrors():
    samples = pictures([["un gatto a destra"], [], ["un ragazzo mancino"]] * 20)
    views = draw_views(samples, Views(captioned=5, others=3), np.random.default_rng(0))
    assert views.count.tolist() == [5, 3, 5] * 20 and len(views.picture) == 260
    whole = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    assert all((views.boxes[row] == whole).all() for row in views.first)
    assert not views.mirrored[views.first].any() and (views.boxes[views.mirrored][:, 0, 0] < 0).all()
    forbidden = np.isin(views.picture % 3, [2])
    assert not views.mirrored[forbidden].any() and 0.2 < views.mirrored[~forbidden].mean() < 0.5
    area = np.abs(views.boxes[:, 0, 0] * views.boxes[:, 1, 1])
    assert area.min() > 0.3 and (np.abs(views.boxes[:, 0, 2]) <= 1 - np.abs(views.boxes[:, 0, 0]) + 1e-6).all()
    exact = [replace(sample, extra={"objects": [{}]}) for sample in samples]
    assert draw_views(exact, Views(captioned=5, others=3), np.random.default_rng(0)).count.tolist() == [1] * 60


def test_a_view_is_the_same_part_at_any_size():
    pixels = torch.from_numpy(np.array(Image.linear_gradient("L").resize((64, 64)))).expand(1, 3, 64, 64)
    box = torch.tensor([[[0.5, 0, 0.25], [0, 0.6, -0.2]]])
    small, large = cut(pixels, box, 16), cut(pixels, box, 32)
    torch.testing.assert_close(F.avg_pool2d(large, 2), small, rtol=0, atol=1.5)
    mirrored = cut(pixels, box * torch.tensor([[-1.0, 1, 1], [1, 1, 1]]), 16)
    torch.testing.assert_close(mirrored, small.flip(3))
    whole = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
    torch.testing.assert_close(cut(pixels, whole, 64), pixels.float(), rtol=0, atol=1e-3)


def test_colours_and_erasing_follow_their_generator_and_bounds():
    pixels = torch.rand(6, 3, 32, 32) * 255
    again = [recoloured(pixels, 0.3, torch.Generator().manual_seed(1)) for _ in range(2)]
    torch.testing.assert_close(*again)
    assert (again[0] - pixels).abs().mean() > 3 and again[0].min() >= 0 and again[0].max() <= 255
    torch.testing.assert_close(recoloured(pixels, 0.0, torch.Generator()), pixels, rtol=1e-4, atol=1e-2)
    holes = (erased(pixels, 1.0, torch.Generator().manual_seed(1)) != pixels).any(1).float().mean((1, 2))
    assert (holes > 0.01).all() and (holes < 0.15).all()
    assert (erased(pixels, 0.0, torch.Generator()) == pixels).all()


def unit(*shape):
    return F.normalize(torch.randn(*shape), dim=-1)


def test_losses_are_zero_for_the_teacher_itself_and_as_written_out():
    torch.manual_seed(0)
    image, text, own, said = unit(5, 8), unit(7, 8), unit(5, 8), unit(7, 8)
    assert distil_losses.away(image, image) == pytest.approx(0, abs=1e-6)
    assert distil_losses.rows(image, text, image, text, 30.0) == pytest.approx(0, abs=1e-5)
    wanted, found = torch.softmax(10 * image @ text.T, 1), torch.softmax(10 * own @ said.T, 1)
    other, guess = torch.softmax(10 * text @ image.T, 1), torch.softmax(10 * said @ own.T, 1)
    forth = (wanted * (wanted / found).log()).sum(1).mean()
    back = (other * (other / guess).log()).sum(1).mean()
    torch.testing.assert_close(distil_losses.rows(own, said, image, text, 10.0), (forth + back) / 2)
    chances, places = torch.softmax(10 * image @ text.T, 1).topk(7)
    assert distil_losses.classes(image, text, places, chances / 2, 10.0) == pytest.approx(0, abs=1e-5)
    assert distil_losses.classes(own, text, places, chances, 10.0) > 0.1


def test_a_pictures_texts_are_its_own_different_and_true_of_the_mirror():
    samples = pictures([["un gatto a destra", "un gatto nero"], ["un cane"], []])
    settings = StudentTexts(languages={"it": 1.0}, phrases=5)
    pool = gather(samples, settings, [["una frase"]], [], np.random.default_rng(0))
    for mirrored, there in ((False, "un gatto a destra"), (True, "un gatto a sinistra")):
        drawn = pool.draw_own(np.array([0, 1]), np.array([mirrored, mirrored]), 2, np.random.default_rng(1))
        assert {pool.texts[place] for place in drawn[0]} == {there, "un gatto nero"}
        assert [pool.texts[place] for place in drawn[1]] == ["un cane", "un cane"]
    assert not pool.weight[2].any()
    assert "una frase" in pool.texts and len(set(pool.texts)) == len(pool.texts)
    phrases = [pool.texts[place] for place in pool.kinds["phrases"]]
    assert phrases and all(1 <= len(text.split()) <= 5 and not text.endswith((" a", " un")) for text in phrases)
    others = pool.draw_others(50, {"lines": 1.0}, np.random.default_rng(0))
    assert {pool.texts[place] for place in others} == {"una frase"}


def test_queries_are_drawn_as_often_as_asked():
    sample = Sample("0", ImageRef(Path("x")), (Caption("un cane", "it"), Caption("a dog", "en")), ("cane",))
    pool = gather(
        [sample], StudentTexts(queries=0.2, languages={"it": 0.6, "en": 0.4}), [], [], np.random.default_rng(0)
    )
    share = pool.weight[0] / pool.weight[0].sum()
    drawn = dict(zip((pool.texts[place] for place in pool.own[0, 0]), share, strict=True))
    assert drawn == pytest.approx({"un cane": 0.48, "a dog": 0.32, "cane": 0.2})


def test_no_caption_in_the_languages_is_refused():
    with pytest.raises(BadRecord, match="no picture has a caption in de"):
        gather(pictures([["un cane"]]), StudentTexts(languages={"de": 1.0}), [], [], np.random.default_rng(0))


def test_class_names_stand_in_all_their_texts_and_in_the_same_order_always():
    classes = imagenet()[:3]
    pool = gather(pictures([["un cane"]]), StudentTexts(phrases=0), [], classes, np.random.default_rng(0))
    assert {pool.texts[place] for place in pool.kinds["labels"]} == set().union(*(one.texts() for one in classes))
    for one, places in zip(classes, pool.prototypes, strict=True):
        assert [pool.texts[place] for place in places] == one.form.texts()
    drawn = [place for one in pool.prototypes for place in one]
    others = [text for text in pool.texts[max(drawn) + 1 :] if text]
    expected = [text for one in classes for text in sorted(one.texts() - set(one.form.texts()))]
    assert others == expected and len(expected) > 5


def test_lines_come_from_texts_and_columns(tmp_path):
    (tmp_path / "a.txt").write_text("un gatto\n\n  due   cani \n123\n" + "lungo " * 30)
    assert read_lines(str(tmp_path / "a.txt")) == ["un gatto", "due cani"]
    (tmp_path / "b.tsv").write_text("dog\tcane\tn\ncat\tgatto\tn\n")
    assert read_lines(f"{tmp_path / 'b.tsv'}#2") == ["cane", "gatto"]
    assert read_lines(str(tmp_path / "b.tsv")) == ["dog", "cane", "n", "cat", "gatto"]
    with pytest.raises(BadRecord, match="no such file"):
        read_lines(str(tmp_path / "c.txt"))


def test_recipes_are_checked(tmp_path):
    path = Path(__file__).parents[2] / "recipes" / "small-it.toml"
    assert read_distil_recipe(path).image_tower.type == "staged-image"
    assert read_distil_recipe(path, ["loss.rows=2"]).loss.rows == 2
    for override, message in (
        ("loss.row=1", r"loss.row is not a setting; did you mean rows\?"),
        ("loss.xyz=1", "loss.xyz is not a setting; the keys there are image, text, rows, contrastive"),
        ("epoch=3", r"epoch is not a setting; did you mean epochs\?"),
        ("learn.image_towr=1", r"learn.image_towr is not a setting; did you mean image_tower\?"),
        ("texts.shares.caption=1", r"texts.shares.caption is not a setting; did you mean captions\?"),
        ("views.area=[1, 'a']", "views.area.1: Input should be a valid number"),
        ("loss.rows=-1", "loss.rows: Input should be greater than or equal to 0"),
        ("pictures.train_size=128", "pictures: train_size is for `train`; .* leave it out"),
        ("texts.batch=100", "texts.batch is 100, but a step may draw"),
        ("views.area=[1, 0.5]", "area rises"),
        ("image_tower.depth=3", "image_tower.depth is not a setting"),
    ):
        with pytest.raises(BadRecipe, match=message):
            read_distil_recipe(path, [override])


def test_the_recipes_student_is_at_most_16_mb(tmp_path):
    path = Path(__file__).parents[2] / "recipes" / "small-it.toml"
    settings = read_distil_recipe(path)
    towers = {name: getattr(settings, name).model_dump() for name in ("image_tower", "text_tower")}
    made = build(
        recipe(dim=512, pictures={"size": 160}, texts={"max_length": 32, "vocabulary": 300}, **towers), ["un cane"] * 3
    )
    words = settings.texts.vocabulary * towers["text_tower"]["width"]
    numbers = sum(parameter.numel() for parameter in made.model.parameters()) + words
    assert numbers * 2 < 15.5e6  # half a megabyte is left for the tokenizer
    save_checkpoint(made, tmp_path, half=True)
    assert load_checkpoint(tmp_path).model.dim == 512


def test_lines_of_a_file_are_bounded_and_all_texts_too():
    lines = [f"riga {number}" for number in range(50)]
    settings = StudentTexts(languages={"it": 1.0}, phrases=0, lines=20)
    pool = gather(pictures([["un cane"]]), settings, [lines, ["altra"]], [], np.random.default_rng(0))
    assert len(pool.kinds["lines"]) == 21 and "altra" in pool.texts
    settings = StudentTexts(languages={"it": 1.0}, most=6)
    assert len(gather(pictures([["un cane"]]), settings, [lines], [], np.random.default_rng(0)).texts) == 6


def test_choosing_a_layout_changes_no_number():
    torch.manual_seed(0)
    tower = MobileImageTower(width=0.25, dim=32).train()
    pixels, notes = torch.randn(4, 3, 64, 64), []
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    choose_layout(tower, pixels, bfloat16=False, note=notes.append)
    assert "pictures/s" in notes[0] and all(parameter.grad is None for parameter in tower.parameters())
    for name, value in tower.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    found = []
    for planes in (False, True):
        for module in tower.modules():
            if isinstance(module, Depthwise):
                module.planes = planes
        tower.zero_grad()
        output = tower(pixels).pooled
        output.pow(2).sum().backward()
        found.append((output.detach(), *(parameter.grad.clone() for parameter in tower.parameters())))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def lessons_on(device):
    """What a student of 512 dimensions learns from, on a device that may have no numbers at all."""
    recipe = student(batch=8, texts=SETTINGS["texts"] | {"batch": 24})
    samples = pictures([["un gatto"], ["due cani"], []] * 6)
    rng = np.random.default_rng(0)
    views = draw_views(samples, recipe.views, rng)
    pool = gather(samples, recipe.texts, [["una riga"]], [], rng)
    ordinary = _ordinary(recipe, 512)
    made = build(ordinary, pool.texts)
    on_cpu = tokenised(pool.texts, made.tokenizer, torch.device("cpu"), lambda what, done, total: None)
    pieces = Pieces(on_cpu.ids.to(device), on_cpu.lengths.to(device), on_cpu.counts)
    count, texts = len(views.picture), len(pool.texts)
    taught = distil_teacher.Taught(
        torch.zeros(count, 512, device=device).half(), torch.zeros(texts, 512, device=device).half(), torch.tensor(3),
        torch.zeros(count, 10, dtype=torch.int16, device=device), torch.ones(count, 10, device=device).half(),
        torch.zeros(5, 512, device=device).half(),
    )  # fmt: skip
    large = torch.zeros(18, 3, 48, 48, dtype=torch.uint8, device=device)
    pixels = Squares(large, large[:0], torch.arange(18, device=device))
    has = pool.weight.any(1)
    lessons = Lessons(pixels, views, pool, pieces, taught, np.flatnonzero(has), np.flatnonzero(~has))
    made.model.to(device)
    return Student(recipe, made, lessons, learnable(made.model, ordinary.stages[0]))


def test_a_step_stays_on_its_device_and_waits_for_no_number(monkeypatch):
    # A meta tensor mixes with no other device's and has no values to wait for: what passes here never stalls a GPU.
    random = torch.rand
    monkeypatch.setattr(torch, "Generator", lambda device: SimpleNamespace(manual_seed=lambda seed: None))
    monkeypatch.setattr(torch, "rand", lambda *shape, generator=None, **how: random(*shape, **how))
    monkeypatch.setattr(torch, "autocast", lambda *kind, **how: contextlib.nullcontext())
    learner = lessons_on(torch.device("meta"))
    plan = learner.plan(0)
    for place in range(len(plan)):
        assert learner.step(plan, 0, place, place, 10).device.type == "meta"


def test_gradients_have_their_parameters_strides_in_either_layout():
    for planes in (False, True):
        learner = lessons_on(torch.device("cpu"))
        for module in learner.model.modules():
            if isinstance(module, Depthwise):
                module.planes = planes
        learner.step(learner.plan(0), 0, 0, 0, 10)
        assert all(p.grad.stride() == p.stride() for p in learner.parameters if p.grad is not None)
