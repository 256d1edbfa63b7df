"""Forced choices, counted by hand."""

import numpy as np
import pytest
from PIL import Image

from clip_italian.evaluation.choices import Choice, evaluate_choices


class ByColour:
    """Pictures are their mean colour, texts the colours they name."""

    name, dim, fingerprint = "by colour", 3, "0" * 64
    words = {"rosso": (1, 0, 0), "verde": (0, 1, 0), "blu": (0, 0, 1)}  # noqa: RUF012

    def encode_images(self, images):
        rows = np.array([np.asarray(image, np.float32).mean((0, 1)) for image in images])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def encode_texts(self, texts):
        return np.array([self.words[text] for text in texts], np.float32)


RED = Image.new("RGB", (4, 4), (200, 10, 0))


def test_each_kind_of_question_is_counted_on_its_own():
    asked = [
        Choice(RED, ("rosso", "verde", "blu"), 0, "colour"),
        Choice(RED, ("rosso", "verde"), 1, "colour"),
        Choice(RED, ("blu", "verde"), 1, "other"),
    ]
    found = evaluate_choices(ByColour(), asked)
    assert {kind: score.value for kind, score in found.items()} == {"colour": 0.5, "other": 1.0}
    assert found["colour"].low == 0.0
    assert found["colour"].high == 1.0


def test_a_tie_is_wrong():
    assert evaluate_choices(ByColour(), [Choice(RED, ("rosso", "rosso"), 0, "tie")])["tie"].value == 0.0


@pytest.mark.parametrize(("texts", "right"), [(("rosso",), 0), (("rosso", "verde"), 2)])
def test_a_choice_needs_sentences_and_a_right_one(texts, right):
    with pytest.raises(ValueError, match="two sentences"):
        evaluate_choices(ByColour(), [Choice(RED, texts, right, "bad")])
