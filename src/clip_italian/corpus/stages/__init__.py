"""The stages of a build, one a file; each takes samples from where the one before left them, batch by batch.

Owns: reading.py, filtering.py, pictures.py (fetching), looks.py (hashes and vectors), unique.py, translating.py,
scoring.py. Each has `run(corpus, report)`, which goes on from where it was stopped.
"""
