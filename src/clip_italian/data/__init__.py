"""Data: captioned pictures, from every layout we read to what a training step is given.

Owns: `Sample` (sample.py), the readers (readers/), the one caption a picture gets per epoch and the exchange of destra
and sinistra in a mirrored one (captions.py), the split by picture (split.py), the augmentations (augment.py), the seeds
of all that is drawn (seeded.py), and the drawn scenes (scenes/).

Public names: sample.Caption, ImageRef, Sample · readers.read, read_all · captions.draw, swap_left_right, flippable,
mirrorable · split.split · augment.AUGMENTATIONS, paper_augment, crop_augment · seeded.generator, uniforms.
"""
