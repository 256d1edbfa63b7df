"""What a student makes small: how far its vectors, and the similarities between them, are from its teacher's.

Public names: away, rows, classes, told.

All take float32 vectors with rows of length 1.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def away(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean of 1 − cosine. student, teacher: (n, dim) unit rows."""
    return 1 - (student * teacher).sum(1).mean()


def rows(image: Tensor, text: Tensor, teacher_image: Tensor, teacher_text: Tensor, scale: float) -> Tensor:
    """Return how the student's softmax over similarities differs from the teacher's: mean KL, of both directions.

    image, teacher_image: (n, dim); text, teacher_text: (m, dim), unit rows. Source: Vasu 2024, MobileCLIP, eq. 2.
    """
    own, wanted = scale * (image @ text.T), scale * (teacher_image @ teacher_text.T)
    return (_divergence(own, wanted) + _divergence(own.T, wanted.T)) / 2


def classes(image: Tensor, prototypes: Tensor, places: Tensor, probabilities: Tensor, scale: float) -> Tensor:
    """Return the mean KL from a classifier's first guesses to the student's softmax over the classes' names.

    image: (n, dim) and prototypes: (c, dim), unit rows; places: (n, k) int64, the classes guessed; probabilities:
    (n, k), which need not sum to 1.
    """
    wanted = probabilities / probabilities.sum(1, keepdim=True)
    found = F.log_softmax(scale * (image @ prototypes.T), 1).gather(1, places)
    return (wanted * (wanted.clamp_min(1e-8).log() - found)).sum(1).mean()


def told(places: Tensor, probabilities: Tensor, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Add what is known of some pictures to a classifier's guesses; returns places and probabilities, (n, k + 1).

    places, probabilities: (n, k); labels: (n,) int64, −1 where the class is not known, whose rows stay as they are.
    share: of the known class among all.
    """
    known = (labels >= 0)[:, None]
    kept = probabilities / probabilities.sum(1, keepdim=True) * torch.where(known, 1 - share, 1.0)
    added = torch.where(known, share, 0.0).to(kept.dtype)
    return torch.cat([places, labels[:, None].clamp_min(0)], 1), torch.cat([kept, added], 1)


def _divergence(own: Tensor, wanted: Tensor) -> Tensor:
    return F.kl_div(F.log_softmax(own, 1), F.log_softmax(wanted, 1), reduction="batchmean", log_target=True)
