"""How texts are spelled before they become pieces: what people type beside words carries no meaning, and goes.

Public name: spelled.
"""

from tokenizers import Regex, normalizers

WITHOUT_WIDTH = "[\u00ad\u200b-\u200f\u2060\ufeff\ufe00-\ufe0f]"  # soft hyphens, joiners, what chooses an emoji's look
ACCENTS_ALONE, APOSTROPHES = "[`´]", "[\u2018\u2019\u02bc\u02be]"  # NFKC makes a space of one, the other of letters
SIGNS = r"[\p{So}\p{Sk}\p{Co}\u20e3\"“”„‟«»‹›…]|\.{2,}"  # emoji and other pictures, quotation marks, dots


def spelled() -> list[normalizers.Normalizer]:
    """Return the first steps of our tokenizers: NFKC and lower case, one kind of apostrophe, no signs around words.

    "“Perché…” 😀" becomes "perché ", so that a query gives the same vector from any keyboard. What follows them takes
    runs of spaces together.
    """
    return [
        normalizers.Replace(Regex(WITHOUT_WIDTH), ""),
        normalizers.Replace(Regex(ACCENTS_ALONE), "'"),
        normalizers.Replace(Regex(SIGNS), " "),
        normalizers.NFKC(),
        normalizers.Replace(Regex(APOSTROPHES), "'"),
        normalizers.Lowercase(),
        normalizers.Replace("i\u0307", "i"),  # İstanbul
    ]
