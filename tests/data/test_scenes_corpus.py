"""Scenes on disk: the house's format, the same bytes for the same seed, whole or absent whatever happens."""

import io
import json
import multiprocessing
import os
import signal
import tarfile

import pytest
from PIL import Image

from clip_italian.data import scenes as drawn
from clip_italian.data.readers import read
from clip_italian.data.scenes import dataset
from clip_italian.errors import Busy
from clip_italian.files import lock


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def read_lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def member(folder, image_path):
    shard, name = image_path.split("#")
    with tarfile.open(folder / shard) as tar:
        return tar.extractfile(name).read()


def test_lines_name_pictures_captions_and_boxes(tmp_path):
    written = drawn.write(tmp_path, 12, split="test", seed=4, size=80)
    lines = read_lines(written.lines)
    assert written.lines == tmp_path / "scenes-test.jsonl"
    assert sorted(contents(tmp_path)) == ["scenes-test-00.tar", "scenes-test.jsonl"]
    for line, scene in zip(lines, drawn.scenes(12, split="test", seed=4), strict=True):
        assert line["captions"] == list(scene.captions)
        assert line["objects"] == scene.objects(80)
        assert line["kind"] == scene.kind
        assert drawn.make(**line["scene"]) == scene
        assert Image.open(io.BytesIO(member(tmp_path, line["image_path"]))).size == (80, 80)


def test_pictures_on_disk_and_in_memory_are_the_same(tmp_path):
    written = drawn.write(tmp_path, 6, seed=9)
    samples = drawn.corpus(6, seed=9)
    for line, sample in zip(read_lines(written.lines), samples, strict=True):
        assert member(tmp_path, line.pop("image_path")) == sample.image.read()
        assert line.pop("captions") == list(sample.texts("it"))
        assert line == sample.extra
    assert len({sample.key for sample in samples}) == 6


def test_pictures_survive_their_compression():
    for scene, sample in zip(drawn.scenes(10), drawn.corpus(10), strict=True):
        stored = Image.open(io.BytesIO(sample.image.read())).convert("RGB")
        drawing = scene.draw(112)
        worst = max(
            abs(a - b) for a, b in zip(stored.resize((7, 7)).tobytes(), drawing.resize((7, 7)).tobytes(), strict=True)
        )
        assert worst <= 4


def test_same_arguments_same_bytes_and_other_seeds_other_bytes(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder, seed in zip(folders, (1, 1, 2), strict=True):
        drawn.write(folder, 8, seed=seed)
    assert contents(folders[0]) == contents(folders[1])
    assert contents(folders[0])["scenes-train-00.tar"] != contents(folders[2])["scenes-train-00.tar"]


def test_several_processes_give_the_same_samples():
    assert drawn.corpus(5, seed=3, jobs=2) == drawn.corpus(5, seed=3)
    assert [s.image.data for s in drawn.corpus(5, seed=3, jobs=2)] == [s.image.data for s in drawn.corpus(5, seed=3)]


def test_single_objects_are_a_classification_set(tmp_path):
    written = drawn.write(tmp_path, 24, split="test", kind="single")
    names = written.classes.read_text("utf-8").splitlines()
    assert tuple(names) == drawn.class_names()
    with tarfile.open(written.shards[0]) as tar:
        classes = [int(tar.extractfile(m).read()) for m in tar.getmembers() if m.name.endswith(".cls")]
    lines = read_lines(written.lines)
    assert classes == [line["label"] for line in lines] == [*range(12)] * 2
    assert all(names[line["label"]].endswith(line["objects"][0]["shape"]) for line in lines)
    assert [sample.label for sample in drawn.corpus(3, split="test", kind="single")] == [0, 1, 2]


def test_fewer_scenes_leave_no_shard_behind_and_splits_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "SHARD", 3)
    drawn.write(tmp_path, 4, split="valid")
    assert len(drawn.write(tmp_path, 8).shards) == 3
    before = contents(tmp_path)
    assert len(drawn.write(tmp_path, 5).shards) == 2
    after = contents(tmp_path)
    assert set(before) - set(after) == {"scenes-train-02.tar"}
    assert {line["image_path"] for line in read_lines(tmp_path / "scenes-train.jsonl")} == {
        f"scenes-train-{i // 3:02d}.tar#{i:06d}.jpg" for i in range(5)
    }
    assert all(before[name] == after[name] for name in after if "valid" in name)


def test_progress_counts_every_scene(tmp_path):
    told = []
    drawn.write(tmp_path, 4, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_failure_leaves_what_was_there(tmp_path):
    drawn.write(tmp_path, 4, seed=1)
    before = contents(tmp_path)

    def full(done, total):
        if done == 3:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        drawn.write(tmp_path, 6, seed=2, progress=full)
    assert contents(tmp_path) == before
    assert not list(tmp_path.glob(".*.part"))


def _die_at_three(done, total):
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)


def _write_and_die(folder):
    drawn.write(folder, 6, seed=2, progress=_die_at_three)


def test_a_killed_run_leaves_what_was_there_and_the_next_one_cleans_up(tmp_path):
    drawn.write(tmp_path, 4, seed=1)
    before = contents(tmp_path)
    process = multiprocessing.get_context("spawn").Process(target=_write_and_die, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert contents(tmp_path) == before
    assert list(tmp_path.glob(".*.part"))
    drawn.write(tmp_path, 6, seed=2)
    assert not list(tmp_path.glob(".*.part"))
    assert len(read_lines(tmp_path / "scenes-train.jsonl")) == 6


def test_two_writers_of_one_split_are_refused(tmp_path):
    with lock(tmp_path / ".scenes-train.lock", "writing scenes"):
        with pytest.raises(Busy, match="writing scenes"):
            drawn.write(tmp_path, 2)
        drawn.write(tmp_path, 2, split="valid")


def test_the_readers_read_what_is_written(tmp_path):
    written = drawn.write(tmp_path, 12, split="test", kind="single")
    in_memory = drawn.corpus(12, split="test", kind="single")
    for sample, expected in zip(read(written.lines), in_memory, strict=True):
        assert sample.captions == expected.captions
        assert sample.image.read() == expected.image.read()
        assert sample.extra["objects"] == expected.extra["objects"]
    assert [sample.label for sample in read(written.shards[0])] == [sample.label for sample in in_memory]
