"""Models: towers, heads, the dual encoder, its directory on disk, and each kind of model as an Encoder.

Owns: towers (towers/), heads.py, lowrank.py, dual.py, pieces.py, tokenizer.py and tokenizer_training.py; our model
directory (checkpoint.py) and its Encoder (torch_encoder.py); exported models (onnx_export.py, onnx_weights.py) and
their Encoder, which needs no torch (onnx_encoder.py); the models that come with the package (shipped.py), how one of
them is made (ship.py), put together on first use (assembly.py) and kept (cache.py); what comes from transformers
(transformers_encoder.py, vision_text.py, hybrid_clip.py, hub.py). `clip_italian.load` opens them all. Public names are
in those modules; nothing is imported here, so that importing the package loads no torch.
"""
