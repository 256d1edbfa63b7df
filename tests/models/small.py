"""Small models of every kind of tower, for tests of what lies around them."""

import torch

from clip_italian.models.checkpoint import Checkpoint
from clip_italian.models.dual import DualEncoder
from clip_italian.models.tokenizer import Tokenizer
from clip_italian.models.tokenizer_training import train_tokenizer
from clip_italian.models.towers import build_image_tower, build_text_tower
from clip_italian.preprocess import Preprocess

CAPTIONS = ["un gatto nero sul divano", "due cerchi rossi", "la stella gialla a sinistra", "è una città"]
BERT = {
    "model_type": "bert",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
IMAGE = {
    "efficientnet-lite2": {"type": "efficientnet-lite2", "cut": 18},
    "huggingface": {
        "type": "huggingface",
        "config": {"model_type": "mobilenet_v2", "depth_multiplier": 0.35, "image_size": 32},
    },
    "scratch-image": {"type": "scratch-image"},
    "mobile-image": {"type": "mobile-image", "width": 0.25, "dim": 32},
}
TEXT = {
    "multilingual-e5-small": {"type": "multilingual-e5-small", "cut": 10, "low_rank": 2},
    "huggingface": {"type": "huggingface", "config": {**BERT, "vocab_size": 300}},
    "scratch-text": {
        "type": "scratch-text", "vocabulary": 300, "max_length": 16, "width": 32, "depth": 1, "heads": 2,
    },
    "gated-text": {"type": "gated-text", "vocabulary": 300, "width": 32, "depth": 1, "kernel": 3},
    "bag-of-words": {"type": "bag-of-words", "vocabulary": 300, "width": 32},
}  # fmt: skip


def text_tokenizer(kind, length=16):
    if kind == "multilingual-e5-small":
        from clip_italian.models.towers import e5

        return Tokenizer(e5.tokenizer(e5.kept_pieces()), length)
    return Tokenizer(train_tokenizer(CAPTIONS * 2, 300), length)


def checkpoint(image="scratch-image", text="bag-of-words", seed=0, **changes):
    """Make a checkpoint of the two kinds of towers with weights that are nobody's start."""
    torch.manual_seed(seed)
    heads = {"image_head": {"type": "attention", "hidden": 16, "heads": 2}, "text_head": {"type": "mlp", "hidden": 16}}
    model = DualEncoder(
        build_image_tower(IMAGE[image]), build_text_tower(TEXT[text]), dim=8, scale=17.0, **heads | changes
    )
    with torch.no_grad():
        for part in ("image_tower", "text_tower", "heads"):
            for parameter in model.part(part):
                parameter.add_(0.02 * torch.randn_like(parameter))
    preprocess = Preprocess(32, "squash", (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    return Checkpoint(model, text_tokenizer(text), preprocess, f"{image} {text}", {"recipe": {"città": [1, 2]}})
