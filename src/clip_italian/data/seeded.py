"""Random numbers that depend on names alone: not on workers, reading order, or the process.

Public names: generator, uniforms.
"""

import hashlib

import numpy as np


def generator(seed: int, epoch: int, key: str, purpose: str = "augment") -> np.random.Generator:
    """Return the generator of one picture in one epoch; another `purpose` gives independent numbers."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(_digest(seed, epoch, key, purpose), "little")))


def uniforms(seed: int, epoch: int, key: str, purpose: str) -> tuple[float, float, float]:
    """Return three numbers in [0, 1), much cheaper than a generator."""
    digest = _digest(seed, epoch, key, purpose)
    # 53 bits fill a float's mantissa exactly, so that 1.0 cannot come out by rounding.
    first, second, third = (int.from_bytes(digest[i : i + 8], "little") >> 11 for i in (0, 8, 16))
    return first / 2**53, second / 2**53, third / 2**53


def _digest(seed: int, epoch: int, key: str, purpose: str) -> bytes:
    name = f"{seed}\0{epoch}\0{purpose}\0{key}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(name, digest_size=24).digest()
