"""Keep some pictures aside for validation, always the same ones.

Public names: split.
"""

import hashlib
from collections.abc import Sequence

from .sample import Sample


def split(
    samples: Sequence[Sample], *, valid: float = 0.05, seed: int = 0, by_content: bool = False
) -> tuple[list[Sample], list[Sample]]:
    """Split into training and validation samples by picture, in their order.

    Whether a picture is kept aside depends on `seed` and its key alone, so it stays where it is when others come, go or
    move; the share is therefore near `valid`, not exact. Samples of one picture stay together. by_content: pictures are
    told apart by their bytes (all are read, which may raise BadRecord), so that copies under two names stay together
    too. Two pictures or more always leave one on each side. Raises ValueError for a share outside (0, 1).
    Source: Bianchi et al. 2021 split 95/5, by line, which lets a picture on several lines stand on both sides.
    """
    if not 0 < valid < 1:
        raise ValueError(f"valid is a share between 0 and 1, not {valid}")
    identity = _content if by_content else _key
    places = [_place(seed, identity(sample)) for sample in samples]
    if not places:
        return [], []
    distinct = sorted(set(places))
    if len(distinct) == 1:
        return list(samples), []
    # On small sets chance may put everything on one side; the extreme picture then goes to the other.
    border = min(max(valid, distinct[0]), distinct[-2])
    train = [sample for sample, place in zip(samples, places, strict=True) if place > border]
    return train, [sample for sample, place in zip(samples, places, strict=True) if place <= border]


def _place(seed: int, identity: bytes) -> float:
    digest = hashlib.blake2b(f"{seed}\0".encode() + identity, digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) / 2**53


def _key(sample: Sample) -> bytes:
    return sample.key.encode("utf-8", "surrogateescape")


def _content(sample: Sample) -> bytes:
    return hashlib.sha256(sample.image.read()).digest()
