import numpy as np
import pytest

from clip_italian.data.sample import Sample
from clip_italian.errors import BadLabels
from clip_italian.evaluation.report import to_json
from clip_italian.evaluation.zero_shot import class_vectors, evaluate_zero_shot

LABELS = ("rosso", "verde", "blu")


@pytest.fixture
def samples(make_sample):
    return [
        make_sample("r", "rosso", label=0),
        make_sample("gg", "verde", label=1),
        make_sample("bbb", "blu", label=2),
        make_sample("yyyy", "giallo", label=0),  # as near to green: the tie counts against it
        make_sample("rrrrr", "rosso", label=2),  # wrong; green and blue tie
    ]


def test_accuracy_by_hand(encoder, samples):
    result = evaluate_zero_shot(encoder, samples, LABELS)
    (part,) = result.parts
    assert part.ranks.tolist() == [1, 1, 1, 2, 3]
    assert {name: interval.value for name, interval in part.metrics.items()} == {"accuracy@1": pytest.approx(3 / 5)}
    more = evaluate_zero_shot(encoder, samples, [*LABELS, "giallo", "grigio"])
    assert list(more.parts[0].metrics) == ["accuracy@1", "accuracy@5"]
    assert more.parts[0].metrics["accuracy@5"].value == 1
    assert (result.n_images, part.n_queries, result.settings["n_classes"]) == (5, 5, 3)


def test_classes_with_one_name_cannot_be_told_apart(encoder, samples):
    assert evaluate_zero_shot(encoder, samples[:2], ("rosso", "verde", "rosso")).parts[0].ranks.tolist() == [2, 1]


def test_order_and_batches_change_nothing(encoder, samples):
    expected = to_json(evaluate_zero_shot(encoder, samples, LABELS))
    assert to_json(evaluate_zero_shot(encoder, samples[::-1], LABELS, batch=2)) == expected


def test_a_class_is_the_renormalised_mean_of_its_sentences(encoder):
    templates = ("{}", "{} e blu", "foto di {}")
    vectors = class_vectors(encoder, ["rosso", "verde"], templates)
    expected = [2 + 0.5**0.5, 0, 0.5**0.5] / np.linalg.norm([2 + 0.5**0.5, 0, 0.5**0.5])
    np.testing.assert_allclose(vectors[0], expected, rtol=1e-6)
    np.testing.assert_allclose(vectors[1], expected[[1, 0, 2]], rtol=1e-6)
    np.testing.assert_allclose(
        class_vectors(encoder, ["a{0}b rosso"]), [[1, 0, 0]]
    )  # braces in a name stay as they are


def test_broken_pictures_are_counted(encoder, samples, make_sample):
    result = evaluate_zero_shot(encoder, [make_sample("x", "rotto", label=1), *samples], LABELS)
    assert [(skip.key, skip.reason) for skip in result.skipped] == [("x", "not a picture")]
    assert result.parts == evaluate_zero_shot(encoder, samples, LABELS).parts


def test_the_data_hash_follows_the_classes(encoder, samples):
    relabelled = [*samples[:4], Sample("rrrrr", samples[4].image, label=0)]
    assert evaluate_zero_shot(encoder, samples, LABELS).data != evaluate_zero_shot(encoder, relabelled, LABELS).data


def test_pictures_and_names_must_fit(encoder, samples, make_sample):
    with pytest.raises(BadLabels, match="bbb: class 2, but the 2 names are 0 to 1"):
        evaluate_zero_shot(encoder, samples, LABELS[:2])
    with pytest.raises(BadLabels, match="n: this picture has no class"):
        evaluate_zero_shot(encoder, [make_sample("n", "blu")], LABELS)
    with pytest.raises(BadLabels, match="0 templates"):
        evaluate_zero_shot(encoder, samples, LABELS, templates=())
