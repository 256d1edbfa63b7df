"""DeepL's API through its official client: batches within its limits, back-off, quota, and answers that are wrong.

Public names: DeepL, KEY_VARIABLE, TEXTS, BYTES.

Limits and status codes: developers.deepl.com, "Translate text", "Usage and limits", "Error handling".
"""

import contextlib
import json
import logging
import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ...errors import MissingExtra, shortened
from ...files import sha256_parts
from .engine import Answer, EngineStopped, QuotaExceeded
from .plan import TranslationPlan

KEY_VARIABLE = "DEEPL_AUTH_KEY"
TEXTS = 50  # of one request
BYTES = 128 * 1024  # of one request's body
_OTHER = 1024  # bytes of a body that hold no text: languages, options

_TOO_MANY, _QUOTA = 429, 456
_KEY_REFUSED = (401, 403)
_TEXTS_REFUSED = (400, 413)  # something in this request; smaller ones tell which text it is
_WRONG_ANSWERS = 2  # how often an answer that is no answer is asked for again: each may have been charged for
_PROBE = {"en": "A dog.", "it": "Un cane."}
_LANGUAGES = {"en": ("EN", "EN-US"), "it": ("IT", "IT")}  # as source, as target

_log = logging.getLogger(__name__)
_module_settings = threading.Lock()


class DeepL:
    """An engine that costs money. Neither the client nor the key is needed before the first text is sent."""

    paid = True

    def __init__(self, plan: TranslationPlan):
        self._plan = plan
        self._client: Any = None
        self._works = False  # has translated something since it was opened
        self._room = BYTES - _OTHER - len(json.dumps(plan.context))
        context = f":{sha256_parts([plan.context.encode()])[:8]}" if plan.context else ""
        self.name = f"deepl:{plan.source}-{plan.target}{context}"

    def batches(self, texts: Sequence[str]) -> Iterator[list[str]]:
        """Cut texts into requests of at most 50 texts and 128 KiB, counted as the client writes them."""
        batch: list[str] = []
        size = 0
        for text in texts:
            length = len(json.dumps(text)) + 2
            if batch and (len(batch) == TEXTS or size + length > self._room):
                yield batch
                batch, size = [], 0
            batch.append(text)
            size += length
        if batch:
            yield batch

    def translate(self, texts: list[str]) -> Iterator[Answer]:
        """Send a batch, an Answer for every request that succeeds.

        A request that DeepL refuses is halved until the text at fault is alone. Raises QuotaExceeded; EngineStopped: no
        key, a key refused, a server that does not answer, or refuses even a sentence of ours; MissingExtra.
        """
        self._open_client()
        outcome = self._ask(texts)
        if isinstance(outcome, list):
            yield _answer(texts, outcome)
            return
        self._probe(outcome)
        if len(texts) == 1:
            yield Answer({}, {texts[0]: outcome})
            return
        middle = len(texts) // 2
        yield from self.translate(texts[:middle])
        yield from self.translate(texts[middle:])

    def _probe(self, why: str) -> None:
        """Tell whether the texts are at fault or the settings, by six characters. Raises EngineStopped."""
        if not self._works and isinstance(self._ask([_PROBE[self._plan.source]]), str):
            raise EngineStopped(f"{self._where()}: refuses any text ({why}); check the settings of translation")

    def _ask(self, texts: list[str]) -> list[str] | str:
        """Return a translation for each text, or why this request is refused; wait and ask again where that helps."""
        wrong = 0
        for attempt in range(1, self._plan.attempts + 1):
            outcome = self._send(texts)
            if isinstance(outcome, list) and len(outcome) == len(texts):
                self._works = True
                return outcome
            if isinstance(outcome, list):
                wrong += 1
                problem = f"gave {len(outcome)} translations for {len(texts)} texts"
                if wrong > _WRONG_ANSWERS:
                    if 0 < len(outcome) < len(texts) or (self._works and len(texts) == 1):
                        return f"DeepL {problem}"
                    break
            else:
                problem, again = outcome
                if not again:
                    return problem
            if attempt < self._plan.attempts:
                self._wait(attempt, problem)
        raise EngineStopped(
            f"{self._where()}: {problem}, {attempt} times in a row; wait a while and run again, or check server_url"
        )

    def _send(self, texts: list[str]) -> list[str] | tuple[str, bool]:
        """Send one request, once. Returns the translations, or what is wrong and whether to try again."""
        import deepl

        try:
            with self._client_settings():
                results = self._open_client().translate_text(
                    texts,
                    source_lang=_LANGUAGES[self._plan.source][0],
                    target_lang=_LANGUAGES[self._plan.target][1],
                    context=self._plan.context or None,
                )
            return [str(result.text) for result in results]
        except deepl.QuotaExceededException:
            raise QuotaExceeded(
                f"{self._where()}: the quota is used up{self._usage()}; raise it, or wait for the next billing period, "
                "then run again"
            ) from None
        except deepl.DeepLException as error:
            return self._fault(error)
        except (TypeError, AttributeError, ValueError, LookupError) as error:
            # The client reads an answer's fields without looking whether they are there.
            _log.warning("%s: an answer that is not DeepL's: %s", self._where(), self._hidden(str(error)))
            return []

    def _fault(self, error: Any) -> tuple[str, bool]:
        """Return what is wrong and whether to try again. Raises EngineStopped where neither time nor texts matter."""
        import deepl

        status, text = error.http_status_code, self._hidden(str(error))
        if isinstance(error, deepl.ConnectionException):  # an answer cut short too, which the client does not repeat
            return f"no answer ({text})", True
        if status is not None and (status == _TOO_MANY or status >= 500):
            return f"answered {status}", True
        if status in _TEXTS_REFUSED:
            return f"DeepL answered {status} ({text})", False
        if status in _KEY_REFUSED:
            raise EngineStopped(
                f"{self._where()}: does not accept the key in {KEY_VARIABLE}; check that it is whole, and that "
                "server_url is the one of its kind of account"
            ) from None
        answer = f"answered {status}" if status else "cannot be asked"
        raise EngineStopped(f"{self._where()}: {answer} ({text}); check server_url") from None

    def _wait(self, attempt: int, problem: str) -> None:
        longest = min(self._plan.first_wait_s * 2 ** (attempt - 1), self._plan.longest_wait_s)
        seconds = longest * random.uniform(0.5, 1)  # so that several processes do not come back at once
        _log.warning(
            "%s: %s; waiting %.1f s (attempt %d of %d)",
            self._where(), problem, seconds, attempt, self._plan.attempts,
        )  # fmt: skip
        time.sleep(seconds)

    def _usage(self) -> str:
        """Return " (used of limit characters)", "" when DeepL does not tell."""
        import deepl

        try:
            with self._client_settings():
                used = self._open_client().get_usage().character
            return f" ({used.count:,} of {used.limit:,} characters)" if used.valid else ""
        except (deepl.DeepLException, TypeError, AttributeError, ValueError) as error:
            _log.warning("%s: does not tell how much is used: %s", self._where(), self._hidden(str(error)))
            return ""

    @contextlib.contextmanager
    def _client_settings(self) -> Iterator[None]:
        """Set what the client takes as variables of its module; attempts are counted and spaced here, not there."""
        from deepl import http_client

        with _module_settings:
            before = http_client.max_network_retries, http_client.min_connection_timeout
            http_client.max_network_retries, http_client.min_connection_timeout = 0, self._plan.timeout_s
            try:
                yield
            finally:
                http_client.max_network_retries, http_client.min_connection_timeout = before

    def _open_client(self) -> Any:
        """Return the client. Raises MissingExtra; EngineStopped without a key."""
        if self._client is None:
            try:
                import deepl
            except ImportError as error:
                raise MissingExtra(
                    "translating with DeepL needs deepl, which is not installed; run: pip install "
                    "'clip-italian[corpus]'"
                ) from error
            self._client = deepl.DeepLClient(_key(), server_url=self._plan.server_url, send_platform_info=False)
        return self._client

    def _where(self) -> str:
        return self._plan.server_url or "DeepL"

    def _hidden(self, text: str) -> str:
        """Return what a server or library says, short, and without the key should it repeat that."""
        return shortened(text.replace(os.environ.get(KEY_VARIABLE, "").strip() or "\0", "…"))


def _answer(texts: list[str], translations: list[str]) -> Answer:
    pairs = dict(zip(texts, translations, strict=True))
    empty = [text for text, translation in pairs.items() if not translation.strip()]
    return Answer(
        {text: translation for text, translation in pairs.items() if translation.strip()},
        dict.fromkeys(empty, "DeepL gave an empty translation"),
    )


def _key() -> str:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise EngineStopped(
            f"DeepL needs a key in the environment variable {KEY_VARIABLE}, which is not set; copy it from your "
            f"account's page and run: export {KEY_VARIABLE}=…"
        )
    if not (key.isascii() and key.isprintable()):
        raise EngineStopped(f"{KEY_VARIABLE} holds characters that no key has; copy it again")
    return key
