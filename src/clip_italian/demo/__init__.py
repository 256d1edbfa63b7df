"""The whole line in one go: data, training, evaluation, search.

Owns: the run on drawn scenes (drawn.py, scenes.toml) and the one on somebody's own photos (photos.py). Needs the extra
`train`. Public names: drawn.prepare, drawn.measure, drawn.find; photos.find.
"""
