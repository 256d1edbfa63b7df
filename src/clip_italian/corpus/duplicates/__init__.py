"""Duplicates: which pictures of a corpus are the same picture, which stays, and which belong to an evaluation.

Owns: the perceptual hash (perceptual.py), pairs of near hashes and near vectors and their groups (near.py), what the
addresses of one picture have in common (addresses.py), all evidence together (combine.py), the ids of evaluation
pictures (ids.py, evaluation_ids/), recognising them (evaluation.py), the settings (plan.py).

Public names: perceptual.phash, perceptual.phash_file, perceptual.mirrored, near.pairs_within, near.vector_pairs,
near.groups, addresses.address_key, combine.Pictures, combine.find_duplicates, evaluation.EvaluationSet,
plan.DuplicatePlan.
"""
