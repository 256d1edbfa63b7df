"""Translation: English captions in Italian as a measured step, through a cache that pays for no text twice.

Owns: the settings (plan.py), what an engine is (engine.py), DeepL's API (deepl_api.py), local models through
CTranslate2 (local.py) and the layouts of their folders (layouts.py), how a text is cut and cleaned (wording.py), the
cache (cache.py), and the step itself (translator.py).

Public names: TranslationPlan, open_translator, Translator, Estimate, EngineStopped, QuotaExceeded,
Untranslated.
"""

from .engine import EngineStopped, QuotaExceeded, Untranslated
from .plan import TranslationPlan
from .translator import Estimate, Translator, open_translator

__all__ = [
    "EngineStopped",
    "Estimate",
    "QuotaExceeded",
    "TranslationPlan",
    "Translator",
    "Untranslated",
    "open_translator",
]
