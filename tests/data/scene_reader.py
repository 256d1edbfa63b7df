"""A second reading of scene captions, written without the package's grammar: words on one side, boxes on the other."""

import re

SHAPES = {
    "cerchio": "cerchi", "stella": "stelle", "quadrato": "quadrati", "croce": "croci", "triangolo": "triangoli",
    "luna": "lune", "cuore": "cuori", "freccia": "frecce", "anello": "anelli", "goccia": "gocce", "fulmine": "fulmini",
    "onda": "onde",
}  # fmt: skip
COLOURS = {  # masculine and feminine, singular then plural
    "rosso": "rosso rossa rossi rosse", "verde": "verde verde verdi verdi", "blu": "blu blu blu blu",
    "giallo": "giallo gialla gialli gialle", "arancione": "arancione arancione arancioni arancioni",
    "viola": "viola viola viola viola", "rosa": "rosa rosa rosa rosa", "marrone": "marrone marrone marroni marroni",
    "nero": "nero nera neri nere", "bianco": "bianco bianca bianchi bianche", "grigio": "grigio grigia grigi grigie",
}  # fmt: skip
SIZES = {"piccolo": "piccolo piccola piccoli piccole", "grande": "grande grande grandi grandi"}
FEMININE = {"stella", "croce", "luna", "freccia", "goccia", "onda"}
NUMBERS = {"un": 1, "una": 1, "un'": 1, "due": 2, "tre": 3, "quattro": 4, "cinque": 5, "sei": 6}
OPPOSITE = {"a sinistra di": "a destra di", "a destra di": "a sinistra di", "sopra": "sotto", "sotto": "sopra"}
_RELATION = "a sinistra di|a destra di|sopra|sotto"


def read_group(text):
    """Return (count, shape, colour, size) of a noun phrase; fails on any wrong form, article or order."""
    words = text.replace("'", "' ").split()
    count = NUMBERS[words[0]]
    plural = count > 1
    nouns = {(many if plural else one): one for one, many in SHAPES.items()}
    place = next(i for i, word in enumerate(words) if word in nouns)
    shape = nouns[words[place]]
    form = (shape in FEMININE) + 2 * plural

    def named(word, table):
        return next(name for name, forms in table.items() if forms.split()[form] == word)

    before, after = words[1:place], words[place + 1 :]
    assert len(before) + len(after[1:]) <= 1, text
    size = [named(word, SIZES) for word in before + after[1:]]
    if not plural:
        elides = words[1][0] in "aeiou"
        article = ("un'" if elides else "una") if shape in FEMININE else "un"
        assert words[0] == article, text
    return count, shape, named(after[0], COLOURS), size[0] if size else None


def read_caption(text):
    """Return ((group, …), relation) with groups[0] `relation` groups[1], whatever the order of the words."""
    fronted = re.fullmatch(f"({_RELATION}) (.+) (c'è|ci sono) (.+)", text)
    if fronted:
        relation, second, verb, first = fronted.groups()
        return _checked(verb, (read_group(first), read_group(second)), relation)
    verb, rest = re.fullmatch("(?:(c'è|ci sono) )?(.+)", text).groups()
    parts = re.fullmatch(f"(.+) ({_RELATION}) (.+)", rest)
    if parts is None:
        return _checked(verb, (read_group(rest),), None)
    first, relation, second = parts.groups()
    return _checked(verb, (read_group(first), read_group(second)), relation)


def _checked(verb, groups, relation):
    assert verb in (None, "c'è" if groups[0][0] == 1 else "ci sono")
    return groups, relation


def true_of(reading, objects, size):
    """Tell whether a reading says exactly what the objects' boxes show; and no relation of the other axis holds too."""
    groups, relation = reading
    if sum(group[0] for group in groups) != len(objects):
        return False
    frames = []
    for count, shape, colour, said_size in groups:
        boxes = [thing["box"] for thing in objects if (thing["shape"], thing["colour"]) == (shape, colour)]
        longest = [max(x1 - x0, y1 - y0) / size for x0, y0, x1, y1 in boxes]
        fits = {None: True, "piccolo": max(longest, default=1) <= 0.18, "grande": min(longest, default=0) >= 0.21}
        if len(boxes) != count or not fits[said_size]:
            return False
        frames.append([f(box[i] for box in boxes) for i, f in enumerate((min, min, max, max))])
    if relation is None:
        return len(groups) == 1
    if relation in ("a destra di", "sotto"):
        frames.reverse()
    first, second = frames
    axis = 0 if "di" in relation else 1
    gap = second[axis] - first[axis + 2]
    other = min(first[3 - axis], second[3 - axis]) - max(first[1 - axis], second[1 - axis])
    return gap >= 0.049 * size and other > 0
