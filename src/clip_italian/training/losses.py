"""What is made small: how far a batch's pictures and texts are from finding each other.

Public names: contrastive, sigmoid, logits, positive_pairs.

Both losses take unit rows, work in float32 whatever autocast says, and let a text belong to several pictures and a
picture to several texts.
"""

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def contrastive(
    image: Tensor,
    text: Tensor,
    scale: Tensor | float,
    *,
    positives: Tensor | None = None,
    smoothing: float = 0.0,
    margin: float = 0.0,
) -> Tensor:
    """Return the mean of picture→text and text→picture cross-entropy; ln n where nothing is known of n pairs.

    image: (n, dim), text: (m, dim), unit rows; scale multiplies their cosines. positives: (n, m) bool, True where a
    picture and a text belong together; None pairs row i with row i. The target of a row is spread evenly over its
    positives, so that a batch may hold a picture twice, or several captions of one; a row without any is only a
    negative for the others. smoothing: the part of the target that is spread over everything. margin: added to the
    logits of all pairs that do not belong together (the paper's trial: 0.2). Raises ValueError when positives are
    missing for n ≠ m or have another shape. Source: Radford 2021, fig. 3; several positives: Khosla 2020, eq. 2 (the
    sum outside the logarithm), Yang 2022 (UniCL), eq. 3.
    """
    scores = logits(image, text, scale)
    own = _checked(positives, scores)
    if margin:
        scores = torch.where(own, scores, scores + margin)
    return (_cross_entropy(scores, own, smoothing) + _cross_entropy(scores.T, own.T, smoothing)) / 2


def sigmoid(
    image: Tensor, text: Tensor, scale: Tensor | float, bias: Tensor | float, *, positives: Tensor | None = None
) -> Tensor:
    """Return the sum over all pairs of −log σ(±(scale · cosine + bias)), divided by the number of pictures.

    image, text, positives: as for `contrastive`; the sign is + where a pair belongs together and − elsewhere. Training
    starts from scale 10 and bias −10. Raises ValueError as `contrastive` does. Source: Zhai 2023 (SigLIP), algorithm
    1.
    """
    scores = logits(image, text, scale)
    own = _checked(positives, scores)
    scores = scores + bias
    return -F.logsigmoid(torch.where(own, scores, -scores)).sum() / len(scores)


def positive_pairs(
    images: Sequence[Hashable], texts: Sequence[Hashable], *, captions: Sequence[str] | None = None
) -> Tensor:
    """Return which pictures and texts of a batch belong together, (n, m) bool.

    images: what tells picture i from others (a key, a hash). texts: the same for the picture that text j was written
    for. captions: the m texts themselves; two equal ones, but for case and spaces, belong to both pictures. Raises
    ValueError when there are not as many captions as texts.

    >>> positive_pairs(["a", "b"], ["a", "b"], captions=["Un cane", "un  cane"]).tolist()
    [[True, True], [True, True]]
    """
    codes: dict[Hashable, int] = {}
    left, right = (torch.tensor([codes.setdefault(k, len(codes)) for k in keys]) for keys in (images, texts))
    own = left[:, None] == right[None, :]
    if captions is None:
        return own
    if len(captions) != len(texts):
        raise ValueError(f"{len(captions)} captions for {len(texts)} texts")
    names: dict[str, int] = {}
    words = torch.tensor([names.setdefault(" ".join(c.casefold().split()), len(names)) for c in captions])
    return (own.float() @ (words[:, None] == words[None, :]).float()) > 0


def logits(image: Tensor, text: Tensor, scale: Tensor | float) -> Tensor:
    """Return scale times the cosines of unit rows, (n, m), in float32 at least, whatever autocast says."""
    kind = torch.promote_types(image.dtype, torch.float32)
    with torch.autocast(image.device.type, enabled=False):
        return scale * (image.to(kind) @ text.to(kind).T)


def _checked(positives: Tensor | None, scores: Tensor) -> Tensor:
    n, m = scores.shape
    if positives is None:
        if n != m:
            raise ValueError(f"{n} pictures and {m} texts: say which belong together (positives)")
        return torch.eye(n, dtype=torch.bool, device=scores.device)
    if positives.shape != scores.shape:
        raise ValueError(f"positives are {tuple(positives.shape)}, but there are {n} pictures and {m} texts")
    return positives.to(scores.device, torch.bool)


def _cross_entropy(scores: Tensor, own: Tensor, smoothing: float) -> Tensor:
    log_probability = F.log_softmax(scores, dim=1)
    count = own.sum(1)
    found = (log_probability * own).sum(1) / count.clamp_min(1)
    row = -((1 - smoothing) * found + smoothing * log_probability.mean(1))
    has_any = count > 0
    return (row * has_any).sum() / has_any.sum().clamp_min(1)
