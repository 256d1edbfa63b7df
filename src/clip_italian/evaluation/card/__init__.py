"""A model card made from measurements: results, categories of captions, failures, and how it treats women and men.

Owns: what a person has to say of a model (facts.py), the measurements (measured.py), what captions speak of
(categories.py), the captions of one data set and their worst (captions.py), women and men (gender.py), the Markdown
(text.py).

Public names: facts.read_facts, measured.parse_source, measured.measure, text.card.
"""
