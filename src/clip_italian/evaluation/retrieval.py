"""The paper's first task, finding a captioned picture, both ways round; and typed queries over an album.

Public names: evaluate_retrieval, evaluate_queries, read_queries, Query.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.readers import read
from ..data.sample import Sample
from ..encoder import Encoder
from ..errors import BadRecord
from ..files import sha256_parts
from .encoding import Pictures, Progress, Skip, encode_pictures, encode_texts
from .metrics import MRR_KS, RECALL_KS, found_at_k, ranked_relevance, ranks_from_vectors, reciprocal_at_k
from .report import Part, Result
from .statistics import Interval, bootstrap_means, bootstrap_median

PRECISION_KS = (1, 5, 10)


@dataclass(frozen=True)
class Query:
    """A text someone types and the files that answer it, as paths in the folder; kind: what sort of query it is."""

    text: str
    files: tuple[str, ...]
    kind: str
    line: int


def evaluate_retrieval(
    encoder: Encoder,
    samples: Sequence[Sample],
    *,
    language: str = "it",
    batch: int = 64,
    progress: Progress | None = None,
) -> Result:
    """Search every caption's picture among all pictures, and every picture's captions among all captions.

    Parts: text_to_image (a query per caption) and image_to_text (a query per picture with captions; the best of its
    captions counts). The gallery holds each picture once: records of the same bytes are one picture with all their
    captions, and pictures without a caption in `language` stay as distractors. A picture that cannot be decoded is
    left out together with its captions and listed in `skipped`. A caption that several pictures share remains a query
    for each; in the other direction its twins tie, and ties count against the model. Intervals are drawn by picture.

    Raises BadRecord when no picture, or no caption in `language`, is left; BadModel on broken vectors. Source: the
    CLIP-Italian paper's retrieval notebook, which searched in one direction and let ties fall as they may.
    """
    pictures = encode_pictures(encoder, samples, batch=batch, progress=progress)
    _, first, picture_of = np.unique(pictures.hashes, return_index=True, return_inverse=True)
    captions = [sample.texts(language) for sample in pictures.samples]
    texts = [text for of_sample in captions for text in of_sample]
    if not texts:
        raise BadRecord(f"none of the {len(pictures.samples)} pictures has a caption in {language!r}; choose another")
    text_vectors = encode_texts(encoder, texts, progress=progress)
    owner = np.repeat(picture_of, [len(of_sample) for of_sample in captions])
    captioned = np.unique(owner)
    gallery = pictures.vectors[first]

    text_ranks = ranks_from_vectors(text_vectors, gallery, owner, np.arange(len(gallery)))
    image_ranks = ranks_from_vectors(gallery[captioned], text_vectors, captioned, owner)
    parts = (
        Part("text_to_image", len(texts), _rank_metrics(text_ranks, len(gallery), owner), text_ranks, owner),
        Part(
            "image_to_text", len(captioned), _rank_metrics(image_ranks, len(texts), captioned), image_ranks, captioned
        ),
    )
    data = _identity(zip(pictures.hashes, captions, strict=True))
    settings = {"language": language}
    return Result("retrieval", encoder.name, encoder.fingerprint, data, len(gallery), parts, settings, pictures.skipped)


def evaluate_queries(
    encoder: Encoder,
    folder: Path | str,
    queries_tsv: Path | str,
    *,
    batch: int = 64,
    progress: Progress | None = None,
) -> Result:
    """Search a folder's photos with typed queries that may have several right answers.

    Parts: all, then one per kind of query. MRR@k, and MRR to the end of the list, look at the first right photo;
    recall@k is the share of the right photos among the first k, precision@k the share of the first k that are right.
    Intervals are drawn by query. Photos that cannot be decoded are left out, and so is a query that has no other
    answer; both are listed in `skipped`.

    Raises BadRecord when a query names a file the folder lacks, or nothing is left; BadModel on broken vectors.
    """
    folder = Path(folder)
    queries = read_queries(queries_tsv)
    samples = read(folder)
    _refuse_unknown_files(queries, {sample.key for sample in samples}, folder, queries_tsv)
    pictures = encode_pictures(encoder, samples, batch=batch, progress=progress)
    asked, relevant, skipped = _judge(queries, pictures, folder)
    vectors = encode_texts(encoder, [query.text for query in asked], progress=progress)
    similarity = (vectors.astype(np.float64) @ pictures.vectors.T.astype(np.float64)).astype(np.float32)
    right = ranked_relevance(similarity, relevant)

    kinds = np.array([query.kind for query in asked])
    parts = [_query_part("all", right)]
    parts += [_query_part(kind, right[kinds == kind]) for kind in dict.fromkeys(kinds.tolist()) if kind]
    answers = ((query.text, query.kind, *sorted(query.files)) for query in asked)
    data = sha256_parts(
        [_identity((digest, ()) for digest in pictures.hashes).encode(), *map(_joined, sorted(answers))]
    )
    skips = (*pictures.skipped, *skipped)
    return Result("queries", encoder.name, encoder.fingerprint, data, len(pictures.samples), tuple(parts), {}, skips)


def read_queries(path: Path | str) -> list[Query]:
    """Read lines of `query<TAB>file|file…<TAB>kind`, without a header; the kind may be missing. Raises BadRecord."""
    queries = []
    for number, raw in enumerate(Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        where = f"{path}, line {number}"
        try:
            cells = [cell.strip() for cell in raw.decode().split("\t")]
        except UnicodeDecodeError as error:
            raise BadRecord(f"{where}: not UTF-8 text; save the file as UTF-8") from error
        if cells == [""]:
            continue
        if len(cells) not in (2, 3) or not cells[0]:
            raise BadRecord(f"{where}: {len(cells)} columns; write query<TAB>file|file…<TAB>kind")
        files = tuple(dict.fromkeys(name for name in cells[1].split("|") if name))
        if not files:
            raise BadRecord(f"{where}: {cells[0]!r} has no files that answer it")
        queries.append(Query(cells[0], files, cells[2] if len(cells) == 3 else "", number))
    if not queries:
        raise BadRecord(f"{path}: no queries in it")
    return queries


def _rank_metrics(ranks: np.ndarray, gallery_size: int, groups: np.ndarray) -> dict[str, Interval]:
    """Count a direction's scores; recall@k with k past the gallery is always 1 and left out."""
    values = {f"mrr@{k}": reciprocal_at_k(ranks, k) for k in MRR_KS}
    values |= {f"recall@{k}": found_at_k(ranks, k) for k in RECALL_KS if k <= gallery_size}
    return bootstrap_means(values, groups) | {"median_rank": bootstrap_median(ranks, groups)}


def _query_part(name: str, right: np.ndarray) -> Part:
    ranks = right.argmax(axis=1) + 1
    values = {f"mrr@{k}": reciprocal_at_k(ranks, k) for k in MRR_KS} | {"mrr": 1 / ranks}
    for k in (k for k in RECALL_KS if k <= right.shape[1]):
        values[f"recall@{k}"] = right[:, :k].sum(axis=1) / right.sum(axis=1)
    for k in (k for k in PRECISION_KS if k <= right.shape[1]):
        values[f"precision@{k}"] = right[:, :k].mean(axis=1)
    return Part(name, len(right), bootstrap_means(values), ranks)


def _judge(queries: list[Query], pictures: Pictures, folder: Path) -> tuple[list[Query], np.ndarray, list[Skip]]:
    """Return the queries that still have an answer, (q, g) bool which photo answers which, and the queries left out."""
    column = {sample.key: index for index, sample in enumerate(pictures.samples)}
    asked, rows, skipped = [], [], []
    for query in queries:
        row = np.zeros(len(column), bool)
        row[[column[name] for name in query.files if name in column]] = True
        if row.any():
            asked.append(query)
            rows.append(row)
        else:
            skipped.append(Skip(query.text, f"line {query.line}: every photo that answers it was skipped"))
    if not asked:
        raise BadRecord(
            f"{folder}: every photo that answers a query is broken; the first: {pictures.skipped[0].reason}"
        )
    return asked, np.stack(rows), skipped


def _refuse_unknown_files(queries: list[Query], known: set[str], folder: Path, queries_tsv: Path | str) -> None:
    for query in queries:
        for name in query.files:
            if name not in known:
                raise BadRecord(f"{queries_tsv}, line {query.line}: {name!r} is not among the photos of {folder}")


def _identity(pictures: Iterable[tuple[str, Iterable[str]]]) -> str:
    """Hash pictures with their texts, whatever their order."""
    return sha256_parts(sorted(_joined((digest, *texts)) for digest, texts in pictures))


def _joined(texts: Iterable[str]) -> bytes:
    return sha256_parts(text.encode() for text in texts).encode()
