"""Models on this machine, through CTranslate2.

Public names: LocalModel.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...errors import BadModel, MissingExtra
from ...files import sha256_file, sha256_parts
from .engine import Answer, EngineStopped
from .layouts import Layout, model_files, recognise
from .plan import TranslationPlan


class LocalModel:
    """An engine that costs nothing. The model is read when the first text is translated.

    name: holds a hash of the model's files, and the settings that change translations. A folder that is moved or
    renamed keeps its name.
    """

    paid = False

    def __init__(self, plan: TranslationPlan, folder: Path):
        """Hash the model. Raises BadModel when it is incomplete."""
        self._plan, self._folder = plan, folder
        self._layout: Layout | None = None
        self._translator: Any = None
        self._source: Any = None
        self._target: Any = None
        parts = (part for file in model_files(folder) for part in (file.name.encode(), sha256_file(file).encode()))
        settings = [plan.layout, plan.target_token, str(plan.max_tokens)]
        digest = sha256_parts([*parts, *map(str.encode, settings)])[:16]
        numbers = "" if plan.compute_type == "default" else f":{plan.compute_type}"
        self.name = f"ctranslate2:{plan.source}-{plan.target}:{digest}:beam{plan.beam}{numbers}"

    def batches(self, texts: Sequence[str]) -> Iterator[list[str]]:
        """Cut texts into what is stored at once; the model sorts each of these by length and cuts it again."""
        for start in range(0, len(texts), self._plan.texts_per_commit):
            yield list(texts[start : start + self._plan.texts_per_commit])

    def translate(self, texts: list[str]) -> Iterator[Answer]:
        """Translate a batch. Raises BadModel, MissingExtra, EngineStopped: the memory does not suffice."""
        layout = self._open()
        owners, sources = self._sources(layout, texts)
        try:
            results = self._translator.translate_batch(
                sources,
                [list(layout.begins)] * len(sources) if layout.begins else None,
                max_batch_size=self._batch_size(sources),
                batch_type="tokens",
                beam_size=self._plan.beam,
                max_input_length=0,
                max_decoding_length=self._plan.max_tokens,
            )
        except (RuntimeError, ValueError) as error:
            raise EngineStopped(
                f"{self._folder}: the model stopped ({error}); lower batch_tokens if memory is short, or max_tokens if "
                "it reads fewer, and run again"
            ) from error
        said: list[list[str]] = [[] for _ in texts]
        for owner, result in zip(owners, results, strict=True):
            tokens = [token for token in result.hypotheses[0] if token not in layout.special]
            said[owner].append(self._target.decode_pieces(tokens).strip())
        translations = {text: " ".join(filter(None, parts)) for text, parts in zip(texts, said, strict=True)}
        yield Answer(
            {text: translation for text, translation in translations.items() if translation},
            {text: "the model gave nothing" for text, translation in translations.items() if not translation},
        )

    def _sources(self, layout: Layout, texts: list[str]) -> tuple[list[int], list[list[str]]]:
        """Return the model's inputs and which text each belongs to; one longer than max_tokens is cut."""
        spoken = self._source.encode(layout.spoken, out_type=str) if layout.spoken else []
        owners, sources = [], []
        for owner, pieces in enumerate(self._source.encode(texts, out_type=str)):
            for start in range(0, len(pieces), self._plan.max_tokens):
                some = pieces[start : start + self._plan.max_tokens]
                owners.append(owner)
                sources.append([*spoken, *layout.before, *some, *layout.after])
        return owners, sources

    def _batch_size(self, sources: list[list[str]]) -> int:
        """Return how many tokens are computed at once: as the plan says, or fewer, so that every thread gets some."""
        lengths = [len(tokens) for tokens in sources]
        return max(1, *lengths, min(self._plan.batch_tokens, -(-sum(lengths) // self._workers())))

    def _open(self) -> Layout:
        if self._layout is not None:
            return self._layout
        try:
            import ctranslate2
            from sentencepiece import SentencePieceProcessor
        except ImportError as error:
            raise MissingExtra(
                f"a local translation model needs {error.name}, which is not installed; run: pip install "
                "'clip-italian[corpus]'"
            ) from error
        layout = recognise(self._folder, self._plan)
        self._source = SentencePieceProcessor(model_file=str(layout.source_pieces))
        self._target = SentencePieceProcessor(model_file=str(layout.target_pieces))
        try:
            self._translator = ctranslate2.Translator(
                str(self._folder),
                device=self._plan.device,
                compute_type=self._plan.compute_type,
                inter_threads=self._workers(),
                intra_threads=1,
            )
        except (RuntimeError, ValueError) as error:
            raise BadModel(
                f"{self._folder}: CTranslate2 cannot open the model ({error}); convert it again, or change device or "
                "compute_type"
            ) from error
        self._layout = layout
        return layout

    def _workers(self) -> int:
        """Return how many batches are computed at once: one a processor thread, on a GPU one."""
        import ctranslate2

        if self._plan.device == "cuda" or (self._plan.device == "auto" and ctranslate2.get_cuda_device_count()):
            return 1
        return self._plan.threads or len(os.sched_getaffinity(0))
