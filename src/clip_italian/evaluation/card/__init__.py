"""A model card made from measurements: results, categories of captions, failures, and how it treats women and men.

Owns: what a person has to say of a model (facts.py), the measurements (measured.py), what captions speak of
(categories.py), the captions of one data set and their worst (captions.py), women and men (gender.py), what the figures
show a model to be weak at (weaknesses.py), what its own folder tells (notes.py), the Markdown (text.py, markdown.py).

Public names: facts.read_facts, measured.parse_source, measured.measure, notes.describe, text.card.
"""
