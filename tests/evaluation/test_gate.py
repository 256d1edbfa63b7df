"""The gate: points lost between two encoders, and what is past the limit."""

import io

import numpy as np
import pytest
from rich.console import Console

from clip_italian.data.sample import Caption, ImageRef, Sample
from clip_italian.errors import BadRecord
from clip_italian.evaluation import gate
from clip_italian.evaluation.gate import Gate, GateSet, Score, markdown, measure, table, to_json, with_drawn


class Numbers:
    """A picture's bytes and a text are a number; its vector is that axis, for `wrong` of them another one's."""

    name, dim = "numbers", 120

    def __init__(self, wrong=()):
        self.wrong, self.fingerprint = set(wrong), f"{len(wrong):064}"

    def encode_images(self, images):
        return np.eye(self.dim, dtype=np.float32)[[int(image) for image in images]]

    def encode_texts(self, texts):
        axes = [(int(text) + 1) % self.dim if int(text) in self.wrong else int(text) for text in texts]
        return np.eye(self.dim, dtype=np.float32)[axes]


def samples(tmp_path, count=120, captions=True):
    return [
        Sample(str(n), ImageRef(tmp_path, data=str(n).encode()), (Caption(str(n)),) if captions else (), label=n)
        for n in range(count)
    ]


def score(name, before, after):
    return Score("d", name, 100, before, after, -2.0, 1.0)


def test_points_of_both_directions_and_of_classes_are_compared(tmp_path):
    one = GateSet("a/dev.jsonl", samples(tmp_path), [str(n) for n in range(120)])
    gate = measure(Numbers(), Numbers(wrong=range(6)), [one], limit=1.0)
    found = {score.name: score for score in gate.scores}
    assert set(found) == {
        *(f"{way} recall@{k}" for way in ("text→image", "image→text") for k in (1, 5, 10)),
        "pictures accuracy@1", "pictures accuracy@5",
    }  # fmt: skip
    assert all((score.data, score.n, score.before) == ("a/dev.jsonl", 120, 100) for score in gate.scores)
    assert found["text→image recall@1"].change == pytest.approx(-5)
    # The six, and picture 6: the text of 5 lies where its own does, and ties count against the model.
    assert found["image→text recall@1"].change == pytest.approx(-100 * 7 / 120)
    assert found["pictures accuracy@1"].change == pytest.approx(-100 * 7 / 120)
    assert {score.name for score in gate.failed} >= {"text→image recall@1", "pictures accuracy@1"}
    for lost in (found["text→image recall@1"], found["pictures accuracy@1"]):
        assert -12 < lost.low < lost.change < lost.high < 0
    document = to_json(gate)
    assert not document["passed"]
    assert document["scores"][0]["change"] == {
        "value": -5.0,
        "low": pytest.approx(-9.2, abs=1),
        "high": pytest.approx(-1.7, abs=1),
    }


def test_a_change_is_drawn_by_picture_not_by_caption(tmp_path):
    def captioned(copies):
        return [
            Sample(str(n), ImageRef(tmp_path, data=str(n).encode()), (Caption(str(n)),) * copies) for n in range(120)
        ]

    wide = [
        next(iter(measure(Numbers(), Numbers(wrong=range(12)), [GateSet("x", captioned(n))], 1.0).scores))
        for n in (1, 5)
    ]
    assert wide[1].n == 5 * wide[0].n and wide[1].high - wide[1].low == pytest.approx(
        wide[0].high - wide[0].low, rel=0.01
    )


def test_an_equal_model_passes_with_no_loss_allowed(tmp_path):
    gate = measure(Numbers(wrong=[3]), Numbers(wrong=[3]), [GateSet("x", samples(tmp_path))], limit=0)
    assert not gate.failed and to_json(gate)["passed"]
    assert all(score.change == score.low == score.high == 0 for score in gate.scores)


def test_the_limit_itself_passes_and_gains_do():
    scores = (score("at", 50, 49), score("gain", 50, 60), score("past", 50, 48.9))
    assert [score.name for score in Gate(scores, 1.0).failed] == ["past"]
    broken = Gate((score("nan", 50, float("nan")),), 1.0)
    assert broken.failed


def test_labelled_pictures_without_captions_are_scored_by_class(tmp_path):
    one = GateSet("x", samples(tmp_path, captions=False), [str(n) for n in range(120)])
    names = [score.name for score in measure(Numbers(), Numbers(), [one], 1.0).scores]
    assert names == ["pictures accuracy@1", "pictures accuracy@5"]


def test_drawn_scenes_stand_in_for_the_task_that_has_no_data(tmp_path, monkeypatch):
    captioned = GateSet("c", samples(tmp_path))
    labelled = GateSet("l", samples(tmp_path, captions=False), [str(n) for n in range(120)])
    assert with_drawn([captioned, labelled]) == [captioned, labelled]
    assert (gate.DRAWN_SCENES, gate.DRAWN_THINGS) == (200, 240)
    monkeypatch.setattr(gate, "DRAWN_SCENES", 20)
    monkeypatch.setattr(gate, "DRAWN_THINGS", 24)
    drawn = with_drawn([])
    assert [one.name for one in drawn] == ["drawn scenes", "drawn things"]
    scenes, things = drawn
    texts = [text for sample in scenes.samples for text in sample.texts("it")]
    assert len(scenes.samples) == 20 and len(texts) >= 40 and not scenes.labels
    assert len(things.samples) == 24 and len(things.labels) == 12 and len(things.templates) > 1
    assert {sample.label for sample in things.samples} == set(range(12))
    assert not any(sample.captions for sample in things.samples)
    for given, names in (([captioned], ["c", "drawn things"]), ([labelled], ["l", "drawn scenes"])):
        assert [one.name for one in with_drawn(given)] == names
    again = with_drawn([])
    assert [s.image.data for one in again for s in one.samples] == [s.image.data for one in drawn for s in one.samples]


def test_what_cannot_be_scored_is_refused(tmp_path):
    with pytest.raises(BadRecord, match="too few"):
        measure(Numbers(), Numbers(), [GateSet("x", samples(tmp_path, 99))], 1.0)
    with pytest.raises(BadRecord, match="nothing to score"):
        measure(Numbers(), Numbers(), [GateSet("x", samples(tmp_path, captions=False))], 1.0)
    with pytest.raises(BadRecord, match="no data"):
        measure(Numbers(), Numbers(), [], 1.0)
    with pytest.raises(ValueError, match="limit"):
        measure(Numbers(), Numbers(), [GateSet("x", samples(tmp_path))], float("nan"))


def test_the_table_marks_what_is_past_the_limit():
    gate = Gate((score("recall@1", 50, 48.5), score("recall@5", 70, 70.25)), 1.0)
    lines = markdown(gate).splitlines()
    assert lines[2] == "| d | recall@1 | 100 | 50.00 | 48.50 | -1.50 [-2.00 to +1.00] ! |"
    assert lines[3] == "| d | recall@5 | 100 | 70.00 | 70.25 | +0.25 [-2.00 to +1.00] |"
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table(Gate((*gate.scores, score("pictures accuracy@10", 100, 88.8)), 1.0)))
    shown = [line.rstrip() for line in console.export_text().splitlines()]
    assert "-1.50 [-2.00 to +1.00] !" in next(line for line in shown if "recall@1 " in line)
    assert [line for line in shown if line.strip() == "d"] == [" d"]  # one heading a data set
