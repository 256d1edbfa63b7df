"""Training from beginning to end: it learns, keeps the best, and goes on exactly where it was stopped."""

import json
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from toys import BAG, HEADS, IMAGE, STAGE, TEXT, Listener, recipe, squares

import clip_italian
from clip_italian.data.sample import Caption
from clip_italian.errors import BadModel, BadRecipe, BadRecord, Busy, CannotWrite
from clip_italian.evaluation.report import to_json
from clip_italian.evaluation.retrieval import evaluate_retrieval
from clip_italian.files import lock
from clip_italian.models.dual import DualEncoder
from clip_italian.models.towers.e5 import E5Tower
from clip_italian.models.towers.scratch import ScratchImageTower
from clip_italian.training import trainer
from clip_italian.training.recipe import Stage
from clip_italian.training.setup import build, learnable
from clip_italian.training.trainer import train

# Everything that a stopped run must take up again: two stages, dropout, an average, augmentation, a bias that learns.
HARD = {
    "stages": [HEADS, STAGE | {"epochs": 3, "augment": "crop", "average": 0.8, "optimizer": "adabelief"}],
    "text_tower": TEXT | {"dropout": 0.2},
    "loss": {"type": "sigmoid"},
    "texts": {"max_length": 24, "vocabulary": 300, "queries": 0.2},
}
STEPS = 2 * 3 + 3 * 3


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return squares(tmp_path_factory.mktemp("quadri"), 48)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    return {"dev": squares(tmp_path_factory.mktemp("dev"), 16, seed=1)}


@pytest.fixture(scope="module")
def uninterrupted(samples, valid, tmp_path_factory):
    out = tmp_path_factory.mktemp("intero")
    train(recipe(**HARD), samples, valid, out, reporter=Listener())
    return out


def result(out):
    """All that a run leaves and that must not depend on how often it was stopped."""
    stored = torch.load(out / "state.pt", weights_only=True)
    for entry in stored["state"]["history"]:
        del entry["seconds"]
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return {
        "state": {name: value for name, value in stored["state"].items() if name != "energy"},  # another every time
        "random": stored["random"],
        "weights": stored["model"],
        "best": load_file(out / "model.safetensors"),
        "log": [{key: entry.get(key) for key in ("step", "loss", "lr", "valid")} for entry in log],
    }


def assert_same(one, other):
    first, second = result(one), result(other)
    assert first["state"] == second["state"] and first["log"] == second["log"]
    assert all(torch.equal(a, b) for a, b in zip(first["random"], second["random"], strict=True))
    for what in ("weights", "best"):
        mine, yours = first[what], second[what]
        assert mine.keys() == yours.keys() and all(torch.equal(mine[name], yours[name]) for name in mine)


def interrupt(step=None):
    signal.raise_signal(signal.SIGINT)


def test_a_run_stopped_after_every_step_ends_as_if_it_never_was(samples, valid, uninterrupted, tmp_path):
    features, kept = tmp_path / ".features", 0
    for _ in range(STEPS):
        with pytest.raises(KeyboardInterrupt):
            train(recipe(**HARD), samples, valid, tmp_path, resume=True, reporter=Listener(interrupt))
        kept += features.exists()
        shutil.rmtree(features, ignore_errors=True)  # features made anew must not cost a random number either
    assert kept, "else nothing was made anew"
    train(recipe(**HARD), samples, valid, tmp_path, resume=True, reporter=Listener())
    assert_same(tmp_path, uninterrupted)
    again = Listener()
    train(recipe(**HARD), samples, valid, tmp_path, resume=True, reporter=again)
    assert again.losses == [] and any("finished" in note for note in again.notes)
    assert_same(tmp_path, uninterrupted)
    left = {".lock", "log.jsonl", "model.json", "model.safetensors", "state.pt", "tensorboard", "tokenizer.json"}
    assert {path.name for path in tmp_path.iterdir()} == left, "a finished run is small"


def test_what_others_keep_in_the_folder_stays(samples, valid, tmp_path):
    theirs = [tmp_path / "cache" / "note.txt", tmp_path / ".features" / "mie.npy", tmp_path / "stage-9.pt"]
    for path in theirs:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mio")
    train(recipe(HEADS), samples, valid, tmp_path, reporter=Listener())
    assert all(path.read_text() == "mio" for path in theirs)
    assert list((tmp_path / ".features").iterdir()) == [theirs[1]] and not (tmp_path / "stage-1.pt").exists()


def test_the_corpora_that_samples_are_of_are_noted(samples, valid, tmp_path):
    named = [replace(sample, extra={"corpus": "ab"[i % 2]}) for i, sample in enumerate(samples)]
    train(recipe(HEADS), named, valid, tmp_path / "named", reporter=Listener())
    assert json.loads((tmp_path / "named" / "model.json").read_text())["notes"]["corpora"] == ["a", "b"]
    train(recipe(HEADS), samples, valid, tmp_path / "other", reporter=Listener())
    assert "corpora" not in json.loads((tmp_path / "other" / "model.json").read_text())["notes"]


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("held", ["model.json", "model.safetensors", "tokenizer.json"])
def test_a_model_without_a_run_is_not_overwritten(samples, valid, tmp_path, held, resume):
    (tmp_path / held).write_text("mio")
    with pytest.raises(BadRecipe, match=rf"holds a model \({held}\) but no state.pt .* choose another --out"):
        train(recipe(HEADS), samples, valid, tmp_path, resume=resume, reporter=Listener())
    assert {path.name for path in tmp_path.iterdir()} == {held, ".lock"} and (tmp_path / held).read_text() == "mio"


@pytest.mark.parametrize("step", [2, 6, 8, 11, 15])
def test_a_run_that_dies_goes_on_from_what_it_saved(samples, valid, uninterrupted, tmp_path, monkeypatch, step):
    """Not stopped but ended, as by a failure: whatever was not saved is done again."""
    monkeypatch.setattr(trainer, "SAVE_EVERY", 0.0 if step % 2 else 300.0)

    def die(number):
        if number == step:
            raise RuntimeError("spento")

    with pytest.raises(RuntimeError, match="spento"):
        train(recipe(**HARD), samples, valid, tmp_path, reporter=Listener(die))
    train(recipe(**HARD), samples, valid, tmp_path, resume=True, reporter=Listener())
    assert_same(tmp_path, uninterrupted)


def killed_while_it_saves(samples, valid, out, threads):
    """Save after every step, and end by kill -9 when the state of the eleventh is written but not yet in place."""
    torch.set_num_threads(threads)
    trainer.SAVE_EVERY = 0.0
    listener, fsync = Listener(), os.fsync

    def deadly(descriptor):
        if len(listener.losses) == 11 and ".state.pt." in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    os.fsync = deadly
    train(recipe(**HARD), samples, valid, out, reporter=listener)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to tell which file is being written")
def test_a_run_killed_while_it_saves_leaves_no_hole_in_its_log_and_no_rest(samples, valid, uninterrupted, tmp_path):
    arguments = (samples, valid, tmp_path, torch.get_num_threads())
    process = multiprocessing.get_context("spawn").Process(target=killed_while_it_saves, args=arguments)
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in logged if "loss" in entry] == list(range(1, 12))
    assert torch.load(tmp_path / "state.pt", weights_only=True)["state"]["total_steps"] == 10
    [half] = tmp_path.glob(".*.part")
    rests = [half, tmp_path / ".model.safetensors.next.a_c4e6g8.part", tmp_path / ".stage-2.pt.abcdefgh.part"]
    rests.append(tmp_path / ".features" / f".{'0' * 16}.npy.abcdefgh.part")
    for path in [*rests, tmp_path / ".mio.part"]:
        path.write_bytes(b"half")
    seen = []
    resumed = Listener(lambda step: seen.append([path.exists() for path in rests]))
    train(recipe(**HARD), samples, valid, tmp_path, resume=True, reporter=resumed)
    assert not any(map(any, seen)) and len(seen) == STEPS - 10, "gone before the first step"
    assert [path.name for path in tmp_path.glob(".*.part")] == [".mio.part"]
    assert_same(tmp_path, uninterrupted)


@pytest.mark.parametrize("write", ["_write_json", "save_state", "atomic_write"])
@pytest.mark.parametrize("time", [1, 2, 3])
def test_a_run_that_dies_while_it_writes(samples, valid, uninterrupted, tmp_path, monkeypatch, write, time):
    from clip_italian.models import checkpoint

    module, name = (checkpoint, "write_json") if write == "_write_json" else (trainer, write)
    real, calls = getattr(module, name), []

    def dying(*args, **kwargs):
        calls.append(args)
        if len(calls) == time:
            raise RuntimeError("spento")
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, dying)
    with pytest.raises(RuntimeError, match="spento"):
        train(recipe(**HARD), samples, valid, tmp_path, reporter=Listener())
    monkeypatch.setattr(module, name, real)
    train(recipe(**HARD), samples, valid, tmp_path, resume=True, reporter=Listener())
    assert_same(tmp_path, uninterrupted)


def test_a_second_interrupt_in_mid_step_stores_nothing_half_made(samples, valid, uninterrupted, tmp_path, monkeypatch):
    real, calls = torch.optim.Optimizer.zero_grad, []

    def impatient(optimizer, set_to_none=True):
        calls.append(1)
        if len(calls) == 5:
            interrupt()
            interrupt()
        real(optimizer, set_to_none)

    monkeypatch.setattr(torch.optim.Optimizer, "zero_grad", impatient)
    with pytest.raises(KeyboardInterrupt):
        train(recipe(**HARD), samples, valid, tmp_path, reporter=Listener())
    train(recipe(**HARD), samples, valid, tmp_path, resume=True, reporter=Listener())
    assert_same(tmp_path, uninterrupted)


def test_the_seed_decides(samples, valid, tmp_path):
    runs = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(recipe(HEADS, seed=seed), samples, valid, tmp_path / name, reporter=Listener())
        runs.append((tmp_path / name / "model.safetensors").read_bytes())
    assert runs[0] == runs[1] != runs[2]


def test_another_recipe_or_other_data_do_not_go_on(samples, valid, tmp_path):
    train(recipe(HEADS), samples, valid, tmp_path, reporter=Listener())
    with pytest.raises(BadRecipe, match="holds an unfinished or finished run; add --resume"):
        train(recipe(HEADS), samples, valid, tmp_path, reporter=Listener())
    for other, data in ((recipe(HEADS, dim=64), samples), (recipe(HEADS), samples[:-1])):
        with pytest.raises(BadRecipe, match="begun with another recipe or other data"):
            train(other, data, valid, tmp_path, resume=True, reporter=Listener())


RESNET = {
    "type": "huggingface",
    "config": {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]},
}


@pytest.mark.parametrize("learning", ["heads", "image_tower", "text_tower", "scale"])
def test_only_what_is_named_learns(samples, valid, tmp_path, learning):
    """The image tower has running statistics and both run anew in every step: frozen, nothing of them may move."""
    pytest.importorskip("transformers")
    stage = HEADS | {"learn": {learning: 1e-2}, "epochs": 1, "augment": "paper"}
    settings = recipe(stage, image_tower=RESNET, text_tower=TEXT | {"dropout": 0.2})
    before = build(settings, [c.text for s in samples for c in s.captions]).model.state_dict()
    train(settings, samples, valid, tmp_path, reporter=Listener())
    after = torch.load(tmp_path / "state.pt", weights_only=True)["model"]
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    part = {name: name.split(".")[0].replace("text_head", "heads").replace("image_head", "heads") for name in after}
    part["log_scale"] = "scale"
    assert {part[name] for name in moved} == {learning}
    if learning != "scale":
        still = {name for name in after if part[name] == learning} - moved
        assert len(still) <= 3, "a part that learns learns as a whole"


def test_what_learns_of_a_tower_that_is_cut_and_of_low_rank():
    text = E5Tower(50, cut=10, low_rank=2)
    model = DualEncoder(ScratchImageTower(width=16, dim=32, early_blocks=0, heads=2), text, dim=16)
    for part in ("heads", "text_tower", "image_tower"):
        parts = learnable(model, Stage(name="x", learn={part: 1e-3}, epochs=1))
        learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert list(parts) == [part] and {id(p) for p in parts[part]} == {
            id(p) for name, p in model.named_parameters() if name in learning
        }
        if part == "text_tower":
            names = {name.removeprefix("text_tower.") for name in learning}
            assert all(name.startswith(("layers.10.", "layers.11.")) for name in names)
            assert "layers.10.query.up" in names and "layers.10.query.weight" not in names
            assert "layers.11.output_norm.weight" in names and not names & text.fixed
    with pytest.raises(BadRecipe, match="text_tower has nothing to learn"):
        whole = DualEncoder(ScratchImageTower(width=16, dim=32, early_blocks=0, heads=2), E5Tower(50, cut=12), dim=16)
        learnable(whole, Stage(name="x", learn={"text_tower": 1e-3}, epochs=1))


def test_it_learns_colours_and_places(samples, valid, tmp_path):
    listener = Listener()
    settings = recipe(STAGE | {"epochs": 10}, select="mrr@10", precision="bfloat16", text_tower=BAG)
    outcome = train(settings, samples, valid, tmp_path, reporter=listener)
    assert np.mean(listener.losses[-3:]) < 0.5 * np.mean(listener.losses[:3])
    chance = sum(1 / rank for rank in range(1, 11)) / 16  # 0.18
    first, last = (outcome.history[place]["valid"]["dev"]["mrr@10"] for place in (0, -1))
    assert first < 2.5 * chance and last > 4 * chance and outcome.best >= last
    encoder = clip_italian.load(tmp_path)
    asked = encoder.encode_texts(["un quadrato giallo in basso a destra"])
    assert np.argmax(encoder.encode_images([s.image.path for s in valid["dev"]]) @ asked[0]) == 15


def test_the_best_model_is_kept_and_load_gives_it(samples, valid, tmp_path):
    stage = STAGE | {"learn": {"heads": 0.02, "text_tower": 0.02}, "epochs": 6, "schedule": "constant", "patience": 5}
    outcome = train(recipe(stage, select="mrr@10"), samples, valid, tmp_path, reporter=Listener())
    figures = [entry["valid"]["dev"]["mrr@10"] for entry in outcome.history]
    assert outcome.best == max(figures) > figures[-1], "for this test, later epochs have to be worse"
    scores = evaluate_retrieval(clip_italian.load(tmp_path), valid["dev"])
    assert to_json(scores)["mrr@10"]["value"] == pytest.approx(outcome.best, abs=1e-6)
    kept = json.loads((tmp_path / "model.json").read_text())["notes"]
    assert kept["figures"]["valid"]["dev"]["mrr@10"] == outcome.best
    assert kept["recipe"]["stages"][0]["learn"] == {"heads": 0.02, "text_tower": 0.02}
    assert (
        json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["valid"]["dev"]
        == outcome.history[-1]["valid"]["dev"]
    )


def test_the_next_stage_begins_with_the_best_of_the_one_before(samples, valid, tmp_path):
    first = STAGE | {"learn": {"heads": 0.02, "text_tower": 0.02}, "epochs": 6, "schedule": "constant"}
    still = {"name": "ferma", "learn": {"scale": 1e-9}, "epochs": 1, "batch": 48}
    outcome = train(recipe(first, still, select="mrr@10"), samples, valid, tmp_path, reporter=Listener())
    figures = [entry["valid"]["dev"]["mrr@10"] for entry in outcome.history]
    assert figures[6] == pytest.approx(max(figures[:6]), abs=1e-3) and figures[5] < max(figures[:6])


def test_patience_ends_a_stage_and_a_death_just_then_does_not_renew_it(samples, valid, tmp_path):
    stage = STAGE | {"learn": {"heads": 1e-12}, "epochs": 20, "patience": 2}

    class Dying(Listener):
        def note(self, text):
            super().note(text)
            if "the stage ends here" in text:
                raise RuntimeError("spento")

    with pytest.raises(RuntimeError, match="spento"):
        train(recipe(stage, select="mrr@10"), samples, valid, tmp_path, reporter=Dying())
    outcome = train(recipe(stage, select="mrr@10"), samples, valid, tmp_path, resume=True, reporter=Listener())
    assert len(outcome.history) == 3


LOSSES = {
    "sigmoid": {"loss": {"type": "sigmoid"}},
    "margin": {"loss": {"margin": 0.2}},
    "smoothing": {"loss": {"smoothing": 0.1}},
    "two captions": {"texts": {"max_length": 24, "vocabulary": 300, "per_photo": 2}},
    "attention heads": {"image_head": {"type": "attention", "heads": 2, "hidden": 16, "dropout": 0.1},
                        "text_head": {"type": "mlp", "hidden": 16, "dropout": 0.1}},
}  # fmt: skip


@pytest.mark.parametrize("changes", LOSSES.values(), ids=LOSSES)
def test_every_way_to_train_learns(samples, valid, tmp_path, changes):
    listener = Listener()
    stages = [HEADS | {"epochs": 1}, STAGE | {"epochs": 6}]
    outcome = train(recipe(*stages, text_tower=BAG, **changes), samples, valid, tmp_path, reporter=listener)
    losses = listener.losses[3:]
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3]) and math.isfinite(outcome.best)
    assert min(entry["valid"]["dev"]["loss"] for entry in outcome.history) < 0.95 * math.log(16)


def test_hard_negatives_are_told_from_the_true_ones_even_with_kept_texts(samples, valid, tmp_path):
    wrong = [replace(s, extra={"hard_negatives": ["un cerchio viola", "un quadrato grigio"]}) for s in samples]
    texts = {"max_length": 24, "vocabulary": 300, "hard_negatives": 1}
    losses = []
    for name, data in (("con", wrong), ("senza", samples)):
        listener = Listener()
        train(recipe(HEADS, texts=texts), data, valid, tmp_path / name, reporter=listener)
        losses.append(listener.losses)
    assert losses[0][0] > losses[1][0], "more texts to tell a picture's own from"


def test_a_stage_may_learn_from_short_captions_only(samples, valid, tmp_path):
    short = [replace(s, captions=(Caption("un quadrato"),)) for s in samples[:20]] + samples[20:]
    listener = Listener()
    train(recipe(STAGE | {"longest": 2, "epochs": 1}, HEADS), short, valid, tmp_path, reporter=listener)
    assert len(listener.losses) == 20 // 16 + 2 * (48 // 16)
    with pytest.raises(BadRecipe, match="a batch of 16, but only 0 pictures with captions of at most 1 words"):
        train(recipe(HEADS, STAGE | {"longest": 1}), short, valid, tmp_path / "b", reporter=Listener())


def test_a_text_tower_from_scratch_can_be_warmed_up(samples):
    captions = [c.text for s in samples for c in s.captions]
    texts = {"max_length": 24, "vocabulary": 300}
    notes = []
    cold, warm = (build(recipe(texts=texts | {"warm_start": steps}), captions, notes.append).model for steps in (0, 3))
    assert "warm start: 3 steps of masked-language training" in notes
    assert not torch.equal(cold.text_tower.embedding.weight, warm.text_tower.embedding.weight)
    assert torch.equal(cold.image_tower.join.weight, warm.image_tower.join.weight)
    with pytest.raises(BadRecipe, match="only a scratch-text tower"):
        build(recipe(text_tower={"type": "bag-of-words"}, texts=texts | {"warm_start": 3}), captions)


def test_a_loss_that_is_no_number_ends_the_run_with_advice(samples, valid, tmp_path):
    stage = STAGE | {"learn": {"heads": 1e38, "text_tower": 1e38}, "optimizer": "sgd", "warmup": 0.0}
    with pytest.raises(
        BadRecipe, match=r"stage 'all', epoch \d, step \d: the loss became nan; lower its learning rate"
    ):
        train(recipe(stage), samples, valid, tmp_path, reporter=Listener())


def test_what_does_not_fit_is_told_before_any_work(samples, valid, tmp_path):
    cases = [
        (recipe(STAGE | {"batch": 49}), "stage 'all': a batch of 49, but only 48 pictures"),
        (recipe(image_tower=IMAGE | {"widht": 8}), "image tower 'scratch-image': .*widht"),
        (recipe(HEADS, STAGE | {"window": 0.5}), "window: only kept maps have parts"),
        (recipe(pictures={"size": 36}), "pictures.size: the image tower cannot read 36 × 36 pixels"),
        (
            recipe(text_tower=TEXT | {"max_length": 8}),
            "texts.max_length: the text tower cannot read 24 pieces",
        ),
    ]
    for settings, message in cases:
        listener = Listener()
        listener.work = None  # no picture is opened yet
        with pytest.raises((BadRecipe, BadModel), match=message):
            train(settings, samples, valid, tmp_path, reporter=listener)


def test_bad_pictures_and_missing_captions_are_counted_and_left_out(valid, tmp_path):
    samples = squares(tmp_path / "a", 20)
    dev = {"dev": squares(tmp_path / "b", 9, seed=5)}
    samples[3] = replace(samples[3], captions=(Caption("xilofono xilofono zuzzurellone zuzzurellone"),))
    samples[3].image.path.write_bytes(b"non sono una foto")
    samples[5].image.path.write_bytes(samples[5].image.path.read_bytes()[:200])
    samples[6].image.path.unlink()
    samples[8] = replace(samples[8], captions=(Caption("a square", "en"),))
    samples[9] = replace(samples[9], captions=())
    dev["dev"][2].image.path.write_bytes(b"")
    listener = Listener()
    outcome = train(recipe(HEADS | {"batch": 15}), samples, dev, tmp_path / "out", reporter=listener)
    assert [reason.split(":")[0] for reason in outcome.skipped] == [
        "quadro3.png", "quadro5.png", "quadro6.png", "quadro8.png", "quadro9.png", "dev",
    ]  # fmt: skip
    assert "quadro8.png: has no caption in it" in outcome.skipped
    assert "6 pictures skipped, 15 used" in listener.notes
    assert sum(note.startswith("skipped: ") for note in listener.notes) == 5
    used = [c.text for number, s in enumerate(samples) if number not in (3, 5, 6, 8, 9) for c in s.captions]
    pieces = build(recipe(HEADS | {"batch": 15}), used).tokenizer.backend.to_str(pretty=True)
    assert (tmp_path / "out" / "tokenizer.json").read_text() == pieces, "no piece is made of what is not learned from"


def test_data_that_cannot_be_trained_on(samples, valid, tmp_path):
    english = {"max_length": 24, "vocabulary": 300, "languages": {"xx": 1.0}}
    with pytest.raises(BadRecord, match=r"no training picture is left.*quadro0\.png: has no caption in xx"):
        train(recipe(texts=english), samples, valid, tmp_path, reporter=Listener())
    with pytest.raises(BadRecord, match="no training picture is left that can be used: none opens"):
        train(recipe(), [], valid, tmp_path, reporter=Listener())
    mute = {"dev": [replace(sample, captions=()) for sample in valid["dev"]]}
    with pytest.raises(BadRecord, match="dev: no picture has a caption in 'it' to validate with"):
        train(recipe(), samples, mute, tmp_path, reporter=Listener())


def test_validating_on_what_is_learned_is_refused_whatever_the_files_are_called(samples, tmp_path):
    copies = []
    for sample in (samples[4], samples[7]):
        path = tmp_path / f"copia di {sample.key}"
        shutil.copy(sample.image.path, path)
        copies.append(replace(sample, key=path.name, image=replace(sample.image, path=path)))
    other = squares(tmp_path / "altri", 4, seed=9, name="altro")
    with pytest.raises(
        BadRecord, match=r"dev: 2 of its 6 pictures are also learned from, such as copia di quadro4\.png"
    ):
        train(recipe(), samples, {"dev": other + copies}, tmp_path / "out", reporter=Listener())


def test_two_runs_do_not_share_a_folder(samples, valid, tmp_path):
    with lock(tmp_path / ".lock", "training"), pytest.raises(Busy, match="another process is training there"):
        train(recipe(HEADS), samples, valid, tmp_path, reporter=Listener())


def test_a_folder_that_cannot_be_made(samples, valid, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="cannot be written"):
        train(recipe(HEADS), samples, valid, tmp_path / "file" / "run", reporter=Listener())


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disco"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_costs_nothing_that_was_saved(samples, valid, uninterrupted, small_disk):
    out = small_disk / "run"
    with pytest.raises(KeyboardInterrupt):
        train(recipe(**HARD), samples, valid, out, reporter=Listener(lambda step: interrupt() if step == 7 else None))
    saved = (out / "state.pt").read_bytes()
    for room in (300, 60, 1):
        filler = small_disk / "riempie"
        free = shutil.disk_usage(small_disk).free
        filler.write_bytes(bytes(max(0, free - room * 1024)))
        with pytest.raises(CannotWrite, match=r"cannot be written \(No space left on device\).*add --resume"):
            train(recipe(**HARD), samples, valid, out, resume=True, reporter=Listener())
        assert (out / "state.pt").read_bytes() == saved
        filler.unlink()
    train(recipe(**HARD), samples, valid, out, resume=True, reporter=Listener())
    assert_same(out, uninterrupted)


def test_towers_of_an_unknown_kind_are_named(samples, valid, tmp_path):
    with pytest.raises(BadModel, match="there is no image tower of type 'scratch'; the types are"):
        train(recipe(image_tower=IMAGE | {"type": "scratch"}), samples, valid, tmp_path, reporter=Listener())
    with pytest.raises(BadModel, match="there is no text tower of type 'bert'; the types are"):
        train(recipe(text_tower={"type": "bert"}), samples, valid, tmp_path, reporter=Listener())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_learns_from_pictures_that_lie_in_its_memory(samples, valid, tmp_path):
    """The same data, other random changes: both learn, and the model that the GPU leaves opens on a CPU."""
    settings = recipe(STAGE | {"epochs": 6, "augment": "crop"}, pictures={"size": 32, "resize": "squash"})
    losses = {}
    for device in ("cpu", "cuda"):
        outcome = train(settings, samples, valid, tmp_path / device, device=device, reporter=Listener())
        losses[device] = [entry["valid"]["dev"]["loss"] for entry in outcome.history]
        assert clip_italian.load(str(tmp_path / device)).encode_texts(["un quadrato"]).shape == (1, 32)
    assert losses["cuda"][-1] < losses["cuda"][0]
    assert abs(losses["cuda"][-1] - losses["cpu"][-1]) < 0.5
