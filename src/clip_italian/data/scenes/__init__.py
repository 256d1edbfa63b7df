"""Scenes: drawn pictures whose Italian captions say exactly what they show.

Owns: the words and the combinations kept from training (vocabulary.py), the choice of what a scene holds (generate.py)
and where (layout.py), a scene with its captions and contrasts (scene.py), the drawing (shapes.py, palette.py, draw.py),
the data set in memory and on disk (dataset.py), the contact sheet (contact.py).

Public names: corpus, write, scenes, make, Scene, Thing, Group, contrasts, hard_negatives, CONTRASTS, class_names,
held_out, SHAPES, COLOURS, RELATIONS, SPLITS, KINDS, sheet.
"""

from .contact import sheet
from .dataset import Written, corpus, write
from .generate import KINDS, SPLITS, make, scenes
from .scene import CONTRASTS, Scene, Thing, contrasts, hard_negatives
from .vocabulary import COLOURS, RELATIONS, SHAPES, Group, class_names, held_out

__all__ = [
    "COLOURS",
    "CONTRASTS",
    "KINDS",
    "RELATIONS",
    "SHAPES",
    "SPLITS",
    "Group",
    "Scene",
    "Thing",
    "Written",
    "class_names",
    "contrasts",
    "corpus",
    "hard_negatives",
    "held_out",
    "make",
    "scenes",
    "sheet",
    "write",
]
