"""Italian names of the classes of well-known data sets, written for this project, and sentences around them.

Each has the gender and number that its article needs. `labels/` holds a table a set, in the order of its class
numbers; a table of ids alone takes ImageNet's names of those classes. Public names: Form, ClassName, label_set,
LABEL_SETS, imagenet, read_class_names, DRAWN_TEMPLATES.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from ..errors import BadLabels
from ..italian import Gender, indefinite

KINDS = ("ms", "fs", "mp", "fp")  # gender and number, as tables write them

# Sets of names in the package. places is our own list of kinds of places; the others number their classes as their
# data sets do.
LABEL_SETS = ("imagenet", "tiny-imagenet", "imagenette", "cifar10", "cifar100", "coco", "places")

# As people type and write; {} takes the name with its article, [] the bare name.
DRAWN_TEMPLATES = ("[]", "[]", "[]", "{}", "{}", "una foto di {}", "{} in primo piano", "foto []", "qui si vede {}")
OTHER_SHARE = 0.3  # how often another name is drawn, where there is one


@dataclass(frozen=True)
class Form:
    """One name of a class."""

    name: str
    gender: Gender
    plural: bool

    def with_article(self) -> str:
        """Return the name as it stands in a sentence: "un gatto siamese"; a plural takes no article."""
        return self.name if self.plural else indefinite(self.name, self.gender)

    def within(self, template: str) -> str:
        """Put the name into one of DRAWN_TEMPLATES."""
        return template.replace("{}", self.with_article()).replace("[]", self.name)

    def texts(self) -> list[str]:
        """Return the name in each of DRAWN_TEMPLATES, in their order."""
        return [self.within(template) for template in dict.fromkeys(DRAWN_TEMPLATES)]


@dataclass(frozen=True)
class ClassName:
    """A class: its WordNet id (its English name where the data set has none), the name to show, and other names."""

    wnid: str
    form: Form
    others: tuple[Form, ...]

    def text(self, rng: np.random.Generator) -> str:
        """Draw a text that someone looking for the class may type: mostly its first name, bare or in a sentence."""
        form = self.form
        if self.others and rng.random() < OTHER_SHARE:
            form = self.others[int(rng.integers(len(self.others)))]
        return form.within(DRAWN_TEMPLATES[int(rng.integers(len(DRAWN_TEMPLATES)))])

    def texts(self) -> set[str]:
        """Return every text that `text` may draw."""
        return {text for form in (self.form, *self.others) for text in form.texts()}


@lru_cache(maxsize=len(LABEL_SETS))
def label_set(name: str) -> tuple[ClassName, ...]:
    """Return the classes of one of LABEL_SETS, in the order of their numbers. Raises BadLabels for another name."""
    if name not in LABEL_SETS:
        raise BadLabels(f"{name}: no such set of class names; there are {', '.join(LABEL_SETS)}")
    lines = resources.files(__package__).joinpath("labels", f"{name}.tsv").read_text("utf-8").splitlines()
    if not any("\t" in line for line in lines):  # a choice of ImageNet's classes
        known = {one.wnid: one for one in imagenet()}
        return tuple(known[line] for line in lines)
    return tuple(_class_name(line) for line in lines)


def imagenet() -> tuple[ClassName, ...]:
    """Return the classes of ILSVRC 2012 in their usual order."""
    return label_set("imagenet")


def read_class_names(path: Path) -> tuple[ClassName, ...]:
    """Read a person's own names of the same classes in the same order: a UTF-8 table, tabs between its columns.

    Columns: WordNet id; ms, fs, mp or fp; name; other names with "|" between, which may be missing. Another name may
    begin with its own kind, "fs:tinca"; else it has the first one's. A line of headings that begins with "wnid" may
    stand first. Raises BadLabels with the line.
    """
    expected = imagenet()
    found: list[ClassName] = []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip() or (number == 1 and line.split("\t")[0].strip() == "wnid"):
            continue
        try:
            one = _class_name(line)
        except ValueError as error:
            raise BadLabels(f"{path}, line {number}: {error}") from error
        if len(found) == len(expected):
            raise BadLabels(f"{path}, line {number}: {one.wnid} is one class too many; ImageNet has {len(expected):,}")
        if (right := expected[len(found)]).wnid != one.wnid:
            raise BadLabels(
                f"{path}, line {number}: has {one.wnid} where {right.wnid} ({right.form.name}) belongs; "
                "name every class once, in the order of WordNet ids"
            )
        found.append(one)
    if len(found) < len(expected):
        raise BadLabels(
            f"{path}: ends after {len(found):,} of {len(expected):,} classes; the next is {expected[len(found)].wnid} "
            f"({expected[len(found)].form.name})"
        )
    return tuple(found)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8-sig").split("\n")
    except OSError as error:
        raise BadLabels(f"{path}: cannot be read ({error.strerror}); check the name") from error
    except UnicodeDecodeError as error:
        raise BadLabels(f"{path}: is not UTF-8 text ({error.reason}); save it as UTF-8") from error


def _class_name(line: str) -> ClassName:
    """Read a row. Raises ValueError, which says what to write."""
    parts = [part.strip() for part in line.split("\t")]
    if len(parts) not in (3, 4) or not all(parts[:3]):
        raise ValueError("write a WordNet id, ms, fs, mp or fp, a name, and other names if there are any; tabs between")
    wnid, kind, name = parts[:3]
    others = "".join(parts[3:]).split("|")
    return ClassName(wnid, _form(kind, name), tuple(_other(other, kind) for other in others if other.strip()))


def _other(text: str, first: str) -> Form:
    """Read one of the other names; first: the kind of the class's first name."""
    kind, colon, name = text.partition(":")
    return _form(kind.strip(), name.strip()) if colon else _form(first, text.strip())


def _form(kind: str, name: str) -> Form:
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no gender and number; write ms, fs, mp or fp")
    if not name:
        raise ValueError(f"no name comes after {kind}:")
    gender: Gender = "f" if kind[0] == "f" else "m"
    return Form(name, gender, kind[1] == "p")
