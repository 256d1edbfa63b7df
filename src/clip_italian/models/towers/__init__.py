"""Image and text towers: pretrained from pip, from transformers, or from scratch."""
