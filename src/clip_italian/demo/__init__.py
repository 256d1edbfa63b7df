"""The whole line in one go, on drawn scenes or somebody's own photos.

Owns: indexing and searching with a model that is there (photos.py, on pictures.py's scenes where there are no photos),
which needs no extra; the run on drawn scenes, from data through training and evaluation to search (drawn.py,
scenes.toml), which needs the extra `train`. Public names: photos.find; pictures.draw; drawn.prepare, drawn.measure,
drawn.find.
"""
