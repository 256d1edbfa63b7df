"""Italian names of ImageNet's 1,000 classes, written for this project, and sentences around them.

Each has the gender and number that its article needs. Public names: Form, ClassName, imagenet, DRAWN_TEMPLATES.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from ..italian import Gender, indefinite

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


@dataclass(frozen=True)
class ClassName:
    """A class: its WordNet id, the name to show, and what else people call it."""

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
        return {form.within(template) for form in (self.form, *self.others) for template in DRAWN_TEMPLATES}


@lru_cache(maxsize=1)
def imagenet() -> tuple[ClassName, ...]:
    """Return the classes of ILSVRC 2012 in their usual order."""
    text = resources.files(__package__).joinpath("labels", "imagenet.tsv").read_text("utf-8")
    return tuple(_class_name(line) for line in text.splitlines())


def _class_name(line: str) -> ClassName:
    wnid, kind, name, others = line.split("\t")
    return ClassName(
        wnid, _form(kind, name), tuple(_form(*other.split(":", 1)) for other in others.split("|") if other)
    )


def _form(kind: str, name: str) -> Form:
    gender: Gender = "f" if kind[0] == "f" else "m"
    return Form(name, gender, kind[1] == "p")
