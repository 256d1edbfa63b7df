"""The paper's second task: naming what a picture shows from a list of class names alone.

Public names: evaluate_zero_shot, class_vectors, ACCURACY_KS.
"""

from collections.abc import Sequence

import numpy as np

from ..data.sample import Sample
from ..encoder import Encoder
from ..errors import BadLabels
from ..files import sha256_parts
from .encoding import Progress, encode_pictures, encode_texts
from .metrics import found_at_k, ranks_from_vectors
from .report import Part, Result
from .statistics import bootstrap_means

ACCURACY_KS = (1, 5, 10, 100)


def evaluate_zero_shot(
    encoder: Encoder,
    samples: Sequence[Sample],
    labels: Sequence[str],
    templates: Sequence[str] = ("{}",),
    *,
    batch: int = 64,
    progress: Progress | None = None,
) -> Result:
    """Classify pictures by the nearest class name: accuracy@k, ties against the model, k past the classes left out.

    samples: each with its class in `label`, counted from 0 in the order of `labels`; classes without pictures only
    distract, and two classes of one name tie. A picture that cannot be decoded is listed in `skipped`. Intervals are
    drawn by picture. Raises BadLabels when a picture has no class or one that `labels` lacks, BadRecord when no picture
    is left, BadModel on broken vectors.
    """
    for sample in samples:
        if sample.label is None:
            raise BadLabels(
                f"{sample.key}: this picture has no class; zero-shot needs one for each: a .cls file beside it in its "
                "tar, a table of classes, or a folder named after the class"
            )
        if not 0 <= sample.label < len(labels):
            raise BadLabels(
                f"{sample.key}: class {sample.label}, but the {len(labels)} names are 0 to {len(labels) - 1}"
            )
    classes = class_vectors(encoder, labels, templates, progress=progress)
    pictures = encode_pictures(encoder, samples, batch=batch, progress=progress)
    right = np.array([sample.label for sample in pictures.samples])
    ranks = ranks_from_vectors(pictures.vectors, classes, right, np.arange(len(labels)))
    values = {f"accuracy@{k}": found_at_k(ranks, k) for k in ACCURACY_KS if k <= len(labels)}
    drawn = np.asarray(pictures.hashes)
    part = Part("pictures", len(ranks), bootstrap_means(values, drawn), ranks, drawn)
    shown = (f"{digest} {label}".encode() for digest, label in zip(pictures.hashes, right, strict=True))
    settings = {
        "n_classes": len(labels),
        "labels": sha256_parts(label.encode() for label in labels),
        "templates": list(templates),
    }
    data = sha256_parts(sorted(shown))
    return Result("zero-shot", encoder.name, encoder.fingerprint, data, len(ranks), (part,), settings, pictures.skipped)


def class_vectors(
    encoder: Encoder, labels: Sequence[str], templates: Sequence[str] = ("{}",), *, progress: Progress | None = None
) -> np.ndarray:
    """Encode each class as the renormalised average of its sentences; returns (n_classes, dim) float32 unit rows.

    Raises BadLabels when there is nothing to encode. Source: Radford 2021, section 3.1.4; the CLIP-Italian notebook.

    >>> class_vectors(encoder, ["un gatto", "un cane"], ["una foto di {}", "{}"]).shape      # doctest: +SKIP
    (2, 512)
    """
    if not labels or not templates:
        raise BadLabels(f"{len(labels)} class names and {len(templates)} templates; at least one of each is needed")
    texts = [template.replace("{}", label) for label in labels for template in templates]
    vectors = encode_texts(encoder, texts, progress=progress).reshape(len(labels), len(templates), -1)
    mean = vectors.mean(axis=1, dtype=np.float64)
    # Sentences that cancel out leave no direction; such a class keeps zeros.
    length = np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return (mean / length).astype(np.float32)
