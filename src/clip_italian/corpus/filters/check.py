"""All rules in their order: what a caption is after cleaning, and which rule refuses it.

Public names: Filters, Verdict.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import boilerplate, wording
from .cleaning import clean
from .language import LANGUAGES, LanguageRule
from .names import NameRule
from .personal import personal_data
from .plan import RULES, FilterPlan

LONGEST = 20_000  # characters; a longer text is no caption, and is not cleaned either

_Check = Callable[[str, str], bool]  # (cleaned text, language) → refused


@dataclass(frozen=True)
class Verdict:
    """The cleaned text, and the rule that refuses it: one of RULES, "" when it is kept."""

    text: str
    reason: str


class Filters:
    """The rules of a plan, ready to be asked; cheap to make again in another process, and picklable.

    The proper-noun rule is asked of Italian captions alone, since its tagger knows no other language.
    """

    def __init__(self, plan: FilterPlan) -> None:
        """Open what the rules need. Raises MissingExtra, BadModel."""
        self.plan = plan
        self._checks = _checks(plan)

    def __reduce__(self) -> tuple[type["Filters"], tuple[FilterPlan]]:
        return Filters, (self.plan,)

    def check(self, texts: Sequence[str], language: str = "it") -> list[Verdict]:
        """Clean each text and ask the rules in order; the first that refuses is the reason.

        language: what the texts should be in: "it", "en" or "es". Raises ValueError for another one.
        """
        if language not in LANGUAGES:
            raise ValueError(f"{language!r}: the filters know {', '.join(LANGUAGES)}")
        return [self._verdict(text, language) for text in texts]

    def _verdict(self, text: str, language: str) -> Verdict:
        if len(text) > LONGEST and "too long" not in self.plan.without:
            return Verdict(clean(text[: self.plan.max_characters]), "too long")
        text = clean(text)
        return Verdict(text, next((rule for rule, refuses in self._checks.items() if refuses(text, language)), ""))


def _checks(plan: FilterPlan) -> dict[str, _Check]:
    """Return the rules the plan asks, in the order of RULES."""
    checks: dict[str, _Check] = {
        "too short": lambda text, _: wording.too_short(text, plan),
        "too long": lambda text, _: wording.too_long(text, plan),
        "garbled": lambda text, _: wording.garbled(text),
        "personal data": lambda text, _: personal_data(text),
        "url": lambda text, _: boilerplate.url(text),
        "file name": lambda text, _: boilerplate.file_name(text),
        "credit": lambda text, _: boilerplate.credit(text),
        "placeholder": lambda text, _: boilerplate.placeholder(text),
        "repeated": lambda text, _: wording.repeated(text, plan),
        "few letters": lambda text, _: wording.few_letters(text, plan),
    }
    if "proper nouns" not in plan.without:
        names = NameRule(plan.tagger, threshold=plan.proper_nouns)
        checks["proper nouns"] = lambda text, language: language == "it" and names.refuses(text)
    if "language" not in plan.without:
        speech = LanguageRule(threshold=plan.language_threshold, known_words=plan.language_words)
        checks["language"] = speech.refuses
    return {rule: checks[rule] for rule in RULES if rule in checks and rule not in plan.without}
