"""What a student makes small: how far its vectors, and the similarities between them, are from its teacher's.

Public names: away, rows, classes.

All take float32 vectors with rows of length 1.
"""

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


def _divergence(own: Tensor, wanted: Tensor) -> Tensor:
    return F.kl_div(F.log_softmax(own, 1), F.log_softmax(wanted, 1), reduction="batchmean", log_target=True)
