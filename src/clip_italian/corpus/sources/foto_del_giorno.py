"""La Foto del Giorno: a newspaper's photos of the day with their Italian captions, from its dated archive pages.

Public names: FotoDelGiorno.
"""

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from ...errors import BadRecord, CannotWrite, ClipItalianError
from ...files import atomic_write, lock
from ..record import OnSkip, Record, SourceCaption
from .foto_page import Page, read_page
from .polite import Get, Guest, NotFetched, page_getter
from .source import Source, caption_text

_FIELDS = ("year", "month", "day")


class FotoDelGiorno(Source):
    """One page a day from `first` to `last`, kept as a line of `state` as soon as it is read.

    A run reads what is in the state and fetches only what is missing or failed before. The newspaper's real pages could
    not be looked at when this was written: check `page` and, where photos stand on pages of their own, `follow`,
    against its archive, and its terms of use, before a large run.
    """

    kind: Literal["foto-del-giorno"] = "foto-del-giorno"
    page: str = Field(
        default="https://www.ilpost.it/foto-del-giorno/{year}/{month}/{day}/",
        description="address of a day's page: {year} of four digits, {month} and {day} of two",
    )
    follow: str = Field(
        default="", description="regular expression: links on a day's page, on the same host, that lead to photos"
    )
    first: date = Field(default=date(2011, 2, 1), description="first day")
    last: date | None = Field(
        default=None, description="last day; without it yesterday, so that a later run finds more: set it to rebuild"
    )
    state: str = Field(
        default="foto-del-giorno.jsonl", description="file with what was read, under the corpus's folder"
    )
    agent: str = Field(
        default="clip-italian-corpus",
        pattern=r"^[A-Za-z_-]+$",
        description="the name that robots.txt may address",
    )
    contact: str = Field(default="", description="address or e-mail told to the server beside the name: give yours")
    delay: float = Field(default=5.0, ge=0, description="seconds from one request to the next")
    tries: int = Field(default=3, ge=1, le=10, description="of a page that meets 429, 5xx or no answer")
    longest_wait: float = Field(default=300.0, ge=0, description="seconds that a server may ask to wait")
    timeout: float = Field(default=30.0, gt=0, description="seconds for a page")
    most_bytes: int = Field(default=4 << 20, ge=1, description="bytes of a page")
    most_links: int = Field(default=30, ge=1, description="pages followed from one day's page")
    give_up: int = Field(default=10, ge=1, description="failed days in a row after which a run ends")
    licence: str = Field(default="", description="terms of the photos, where you know them")

    @field_validator("page")
    @classmethod
    def _dated(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError("page is an http(s) address without a name and password in it")
        try:
            dated = value.format(year="2011", month="02", day="01")
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"page has braces other than {{year}}, {{month}} and {{day}} ({error})") from error
        if not all(f"{{{name}}}" in value for name in _FIELDS) or urlsplit(dated).netloc != parts.netloc:
            raise ValueError("page has {year}, {month} and {day} in it, behind the host's name")
        return value

    @field_validator("follow")
    @classmethod
    def _pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"follow is no regular expression ({error})") from error
        return value

    @model_validator(mode="after")
    def _ordered(self) -> "FotoDelGiorno":
        if self.last is not None and self.last < self.first:
            raise ValueError("last is before first")
        return self

    def records(self, root: Path, on_skip: OnSkip, *, get: Get | None = None) -> Iterator[Record]:
        """Yield the photos day by day, the same ones in every run; keys are page and picture.

        get: what fetches an address; without it pages come from `page`'s host alone. A run that is stopped or killed
        goes on where it was. Raises Busy when another run crawls, BadRecord, CannotWrite, MissingExtra.
        """
        host = urlsplit(self.page).netloc
        who = f"{self.agent}/1.0 (+{self.contact})" if self.contact else f"{self.agent}/1.0"
        get = get or page_getter(host, agent=who, most_bytes=self.most_bytes, timeout=self.timeout)
        path = root / self.state
        with lock(path.with_name(f".{path.name}.lock"), "crawling"):
            done = _read_state(path, on_skip)
            guest: Guest | None = None
            failed = 0
            with path.open("a", encoding="utf-8") as state:
                for day in self._days():
                    address = self.page.format(year=f"{day.year:04}", month=f"{day.month:02}", day=f"{day.day:02}")
                    entry = done.get(address)
                    if entry is None and failed < self.give_up:
                        guest = guest or self._guest(get)
                        try:
                            entry = self._visit(guest, address, on_skip)
                        except ClipItalianError as error:
                            failed += 1
                            on_skip(f"{error}; the next run tries it again")
                            if failed == self.give_up:
                                on_skip(
                                    f"{host}: {failed} days in a row failed, so that the rest is left for a later run"
                                )
                        else:
                            failed = 0
                            _append(state, entry, path)
                    if entry is not None:
                        yield from self._records(entry, day, on_skip)

    def _days(self) -> Iterator[date]:
        last = self.last or datetime.now(UTC).date() - timedelta(days=1)
        for i in range((last - self.first).days + 1):
            yield self.first + timedelta(days=i)

    def _guest(self, get: Get) -> Guest:
        return Guest(get, agent=self.agent, delay=self.delay, tries=self.tries, longest_wait=self.longest_wait)

    def _visit(self, guest: Guest, address: str, on_skip: OnSkip) -> dict[str, Any]:
        """Return the state's entry of a day. Raises NotFetched when it is to be tried again."""
        entry: dict[str, Any] = {"page": address, "read_at": datetime.now(UTC).isoformat(timespec="seconds")}
        page, why = _open(guest, address)
        if page is None:
            on_skip(f"{address}: {why}, so that it is left out")
            return {**entry, "status": why, "photos": []}
        pages = [(address, page)] if page.photos and not self.follow else []
        for link in self._links(page, address) if self.follow else []:
            linked, why = _open(guest, link)
            if linked is None:
                on_skip(f"{link}: {why}, so that it is left out")
            else:
                pages.append((link, linked))
        photos = [
            {**vars(photo), "page": where, "date": found.date} for where, found in pages for photo in found.photos
        ]
        if not photos:
            on_skip(f"{address}: has no photo with a caption; where it should, foto_page.py does not know its layout")
        return {**entry, "status": "read", "photos": photos}

    def _links(self, page: Page, address: str) -> list[str]:
        host, pattern = urlsplit(address).netloc, re.compile(self.follow)
        own = [link for link in page.links if urlsplit(link).netloc == host and link != address]
        return [link for link in own if pattern.search(link)][: self.most_links]

    def _records(self, entry: dict[str, Any], day: date, on_skip: OnSkip) -> Iterator[Record]:
        for photo in entry["photos"]:
            try:
                text = caption_text(photo["caption"], photo["page"], "the caption", self.longest_caption)
            except BadRecord as error:
                on_skip(str(error))
                continue
            yield Record(
                source=self.kind,
                key=f"{photo['page']} {photo['image']}",
                image=photo["image"],
                captions=(SourceCaption(text),),
                licence=self.licence,
                attribution=photo["credit"] or urlsplit(photo["page"]).netloc,
                page=photo["page"],
                extra={"date": photo["date"] or day.isoformat()},
            )


def _open(guest: Guest, address: str) -> tuple[Page | None, str]:
    """Return a page, or why it may not or cannot be had for good. Raises NotFetched when trying again may help."""
    if not guest.allowed(address):
        return None, "robots.txt forbids it"
    try:
        page = read_page(guest.fetch(address), address)
    except NotFetched as error:
        if error.status in (404, 410):
            return None, f"there is no such page ({error.status})"
        raise
    return (None, page.refusal) if page.refusal else (page, "")


def _read_state(path: Path, on_skip: OnSkip) -> dict[str, dict[str, Any]]:
    """Return the entries by their page's address; a last line cut short by a crash is removed. Raises BadRecord."""
    if not path.exists():
        return {}
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadRecord(f"{path}: cannot be read ({error.strerror}); check name and rights") from error
    whole, _, torn = content.rpartition(b"\n")
    if torn:
        with atomic_write(path) as stream:
            stream.write(whole + b"\n" if whole else b"")
    done: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            entry = json.loads(line)
            done[entry["page"]] = {**entry, "photos": [_known(photo) for photo in entry["photos"]]}
        except (ValueError, TypeError, KeyError) as error:
            on_skip(f"{path}:{number}: no entry of a page ({error!r}); the page is fetched again")
    return done


def _known(photo: dict[str, str]) -> dict[str, str]:
    return {name: str(photo[name]) for name in ("image", "caption", "credit", "page", "date")}


def _append(state: IO[str], entry: dict[str, Any], path: Path) -> None:
    try:
        state.write(json.dumps(entry, ensure_ascii=False) + "\n")
        state.flush()
        os.fsync(state.fileno())
    except OSError as error:
        raise CannotWrite(f"{path}: cannot be written ({error.strerror}); make room and run again") from error
