"""The data card: one HTML file, with its pictures inside, that says what a corpus is.

Owns: writing it (page.py), its look (card.css). Public names: write_card.
"""

from .page import write_card

__all__ = ["write_card"]
