"""A vision transformer and a BERT of any size with random weights, as transformers configures them."""

import json
from pathlib import Path
from typing import Any

from toy_photos import WORDS


def huggingface_towers(folder: Path, *, depth: int, width: int) -> dict[str, Any]:
    """Write a tokenizer of the captions' words to `folder` and return both towers as a recipe names them.

    depth, width: of both; the paper's have 12 and 768. Pictures are cut in patches of 32 pixels.
    """
    shape = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": width // 64,
             "intermediate_size": 4 * width}  # fmt: skip
    vision = {"model_type": "clip_vision_model", **shape, "image_size": 224, "patch_size": 32}
    text = {"model_type": "bert", **shape, "vocab_size": 32102}
    pieces = folder / "pieces"
    pieces.mkdir()
    (pieces / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]) + "\n")
    (pieces / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    return {
        "image_tower": {"type": "huggingface", "config": vision},
        "text_tower": {"type": "huggingface", "config": text, "tokenizer": str(pieces)},
    }
