"""Say which of some names fits a picture best.

Public names: classify, Guess.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..encoder import Encoder, ImageLike
from ..errors import BadLabels, shortened
from ..italian import TEMPLATES
from .query import unread

_SCALE = 20.0  # of the original's training; for encoders that do not tell their own


class Guess(NamedTuple):
    """A label, the probability that it is the one of the list that fits, and its cosine with the picture."""

    label: str
    probability: float
    cosine: float


def classify(
    encoder: Encoder, image: ImageLike, labels: Sequence[str], templates: Sequence[str] = TEMPLATES
) -> list[Guess]:
    """Rank labels for a picture, the likeliest first; each stands for the mean of its sentences in all templates.

    Probabilities are the softmax of scale × cosine with the scale the encoder was trained with (the original demo left
    the scale out, and all its bars were nearly equal). They say how the labels compare, not whether any of them fits.
    Raises BadLabels when labels or templates are empty or repeated, the model cannot read a label, or a template
    has no place for it, and CorruptImage.

    >>> classify(encoder, "foto/IMG_3.jpg", ["gatto", "cane"])[0].label    # doctest: +SKIP
    'gatto'
    """
    labels = _checked([label.strip() for label in labels], "label")
    templates = _checked(templates, "template")
    for template in templates:
        if template.count("{}") != 1:
            raise BadLabels(f'the template "{template}" must hold {{}} once, where the label goes')
    for label in labels:
        if fault := unread(encoder, label):
            raise BadLabels(f'label "{shortened(label)}": the model {encoder.name} {fault}; give short Italian names')
    sentences = [template.replace("{}", label) for label in labels for template in templates]
    texts = encoder.encode_texts(sentences).reshape(len(labels), len(templates), -1).mean(axis=1)
    texts /= np.maximum(np.linalg.norm(texts, axis=1, keepdims=True), 1e-12)
    cosines = texts.astype(np.float64) @ encoder.encode_images([image])[0].astype(np.float64)
    logits = float(getattr(encoder, "scale", _SCALE)) * cosines
    weights = np.exp(logits - logits.max())
    probabilities = weights / weights.sum()
    order = sorted(range(len(labels)), key=lambda i: (-probabilities[i], labels[i]))
    return [Guess(labels[i], float(probabilities[i]), float(cosines[i])) for i in order]


def _checked(texts: Sequence[str], what: str) -> list[str]:
    if not texts or not all(text.strip() for text in texts):
        raise BadLabels(f"a {what} is empty; give at least one, and words in each")
    repeated = sorted({text for text in texts if list(texts).count(text) > 1})
    if repeated:
        raise BadLabels(f'the {what} "{repeated[0]}" is given twice; give each once')
    return list(texts)
