"""Rows of tab-separated files with quoted fields, as Python's csv module reads them, several times as fast.

Public names: rows, split_row.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from ..record import OnSkip
from .source import MAX_LINE
from .streams import Damaged, blocks, split_lines

_FAST = 1 << 19  # bytes of an unfinished row from which on rows are looked for line by line
_FIELD = rb'(?:"(?:[^"]++|"")*+"|[^"\t\n]*+)'
_SOUND = re.compile(rb"%s(?:\t%s)*+\r?" % (_FIELD, _FIELD))
_TAB, _NEWLINE, _QUOTE = b'\t\n"'


def rows(path: Path, *, first: Collection[str], on_skip: OnSkip) -> Iterator[tuple[int, list[bytes]]]:
    """Yield line number and fields of the first row, then of every row whose first field is one of `first`.

    A field that begins with a quote ends at the next single quote; tabs and newlines in it belong to it, and a doubled
    quote is one. Quotes elsewhere are letters. Empty lines are no rows. This is the csv module's reading (delimiter a
    tab, else its defaults), but for a lone carriage return outside quotes, which the module refuses and is kept here.
    Of other rows only the first bytes and the quotes are looked at.

    A quote that is never closed would swallow what follows: the row goes to `on_skip` when it exceeds MAX_LINE bytes,
    reaches the end of the file, or holds the beginning of a wanted row and either has not as many columns as the first
    row or a quote where no writer puts one. Reading goes on with the wanted row in it. Raises BadRecord and
    MissingExtra as `streams.blocks` does.
    """
    wanted = frozenset(name.encode() for name in first)
    header = True
    for number, row in _whole_rows(path, wanted, on_skip):
        if len(row) > MAX_LINE:
            on_skip(f"{path}:{number}: a row of more than {MAX_LINE} bytes was passed over; mend or remove it")
            continue
        fields = split_row(row)
        if header or fields[0] in wanted:
            header = False
            yield number, fields


def split_row(row: bytes) -> list[bytes]:
    """Return the fields of one row, given without its last newline."""
    row = row.removesuffix(b"\r")
    if b'"' not in row:
        return row.split(b"\t")
    fields: list[bytes] = []
    start = 0
    while True:
        if row.startswith(b'"', start):
            field, end = _quoted(row, start + 1)
        else:
            field, end = b"", start
        stop = row.find(b"\t", end)
        if stop < 0:
            return [*fields, field + row[end:]]
        fields.append(field + row[end:stop])
        start = stop + 1


def _quoted(row: bytes, start: int) -> tuple[bytes, int]:
    """Return a quoted field's content, whose first byte is at `start`, and the place after its closing quote."""
    parts: list[bytes] = []
    while (end := row.find(b'"', start)) >= 0:
        if not row.startswith(b'"', end + 1):
            return b"".join([*parts, row[start:end]]), end + 1
        parts.append(row[start : end + 1])
        start = end + 2
    return b"".join([*parts, row[start:]]), len(row)


def _whole_rows(path: Path, wanted: Collection[bytes], on_skip: OnSkip) -> Iterator[tuple[int, bytes]]:
    """Yield the first row and those that may begin with a wanted field, newlines in quoted fields included."""
    splitter = _Splitter(path, wanted, on_skip)
    tail = b""
    try:
        for block in blocks(path):
            if splitter.between_rows and len(tail) < _FAST:
                found, length = splitter.scan(buffer := tail + block)
                if length:
                    yield from found
                    tail = buffer[length:]
                    continue
            if b"\n" in tail:  # a row that `scan` left unfinished
                tail, block = b"", tail + block
            lines, tail = split_lines(tail, block)
            yield from splitter.feed(lines)
    except Damaged as error:
        on_skip(f"{error} ({splitter.read} lines before that were read)")
        return
    yield from splitter.feed(tail.removesuffix(b"\n").split(b"\n"))
    yield from splitter.finish()


class _Splitter:
    """Finds rows, and gives out the first one and those that may begin with a wanted field.

    There are two ways with the same outcome. `feed` goes line by line and knows every rule. `scan` looks at a whole
    block, of which most rows are in other languages, with a few calls; it is for blocks whose quotes are as writers of
    such files make them, and leaves others to `feed`.
    """

    def __init__(self, path: Path, wanted: Collection[bytes], on_skip: OnSkip) -> None:
        self.path, self.on_skip = path, on_skip
        self.begins = (b'"', *wanted)
        self.restarts = tuple(name + b"\thttp" for name in wanted)
        names = b"|".join(map(re.escape, wanted))
        end = rb"(?=[\t\r\n])"
        self.first_field = re.compile(rb"(?:%s)%s" % (names, end))
        self.later_row = re.compile(rb"\n(?:%s)%s" % (names, end))
        self.read = self.columns = 0  # lines before the block at hand; fields of the first row
        self.open: list[bytes] = []  # the lines of a row whose last field is quoted and not yet closed
        self.size, self.restart = 0, 0  # bytes of these lines; which of them begins a wanted row, 0 when none does

    @property
    def between_rows(self) -> bool:
        """Whether a row begins where the next block begins, and the first row is known."""
        return not self.open and self.columns > 0

    def scan(self, block: bytes) -> tuple[list[tuple[int, bytes]], int]:
        """Return the wanted rows of a block that begins with a row, and the length of its whole rows.

        The length is 0 when nothing was done: no row ends, or a quote stands where only `feed` knows its meaning.
        """
        content = np.frombuffer(block, np.uint8)
        quotes = np.flatnonzero(content == _QUOTE)
        # Where a quote always opens a field, is doubled in it, or closes it, every second one opens: after a tab, or as
        # the second of two that are one.
        opening = quotes[::2]
        before = content[opening - 1]
        if (opening.size and not opening[0]) or not np.all((before == _TAB) | (before == _QUOTE)):
            return [], 0
        length = block.rfind(b"\n") + 1
        while quotes.searchsorted(length) % 2:
            length = block.rfind(b"\n", 0, length - 1) + 1
        starts = [0] if self.first_field.match(block, 0, length) else []
        starts += [match.start() + 1 for match in self.later_row.finditer(block, 0, length)]
        if np.any(quotes.searchsorted(starts) % 2):
            return [], 0  # within quotes: text, or a quote before it was never closed
        newline = content[:length] == _NEWLINE
        found, lines, counted = [], self.read, 0
        for start in starts:
            lines += int(np.count_nonzero(newline[counted:start]))
            end = block.find(b"\n", start)
            while block.count(b'"', start, end) % 2:
                end = block.find(b"\n", end + 1)
            found.append((lines + 1, block[start:end]))
            counted = start
        self.read = lines + int(np.count_nonzero(newline[counted:]))
        return found, length

    def feed(self, block: list[bytes]) -> Iterator[tuple[int, bytes]]:
        """Yield number of first line and content of the rows that end in this block."""
        begins, restarts = self.begins, self.restarts
        for place, line in enumerate(block):
            if not self.open:
                if b'"' in line and _ends_inside(line, inside=False):
                    self.open, self.size, self.restart = [line], len(line), 0
                elif line.startswith(begins) or not (self.columns or line in (b"", b"\r")):
                    self.columns = self.columns or len(split_row(line))
                    yield self.read + place + 1, line
                continue
            if not self.restart and line.startswith(restarts):
                self.restart = len(self.open)
            self.open.append(line)
            self.size += len(line) + 1
            inside = b'"' not in line or _ends_inside(line, inside=True)
            if inside and self.size <= MAX_LINE:
                continue
            number = self.read + place + 2 - len(self.open)
            if inside or (self.restart and not self._sound(b"\n".join(self.open))):
                again = self._give_up(number)
                # They are read once more, behind this line: a list's iterator goes on with what is put in.
                block[place + 1 : place + 1] = again
                self.read -= len(again)
            else:
                if self.open[0].startswith(begins) or not self.columns:
                    row = b"\n".join(self.open)
                    self.columns = self.columns or len(split_row(row))
                    yield number, row
                self.open = []
        self.read += len(block)

    def finish(self) -> Iterator[tuple[int, bytes]]:
        """Yield the rows in what an unclosed quote holds at the end of the file."""
        while self.open:
            again = self._give_up(self.read + 1 - len(self.open))
            self.read -= len(again)
            yield from self.feed(again)

    def _sound(self, row: bytes) -> bool:
        """Tell whether a row has its columns and each of its quotes opens a field, closes it, or is doubled in it."""
        return _SOUND.fullmatch(row) is not None and len(split_row(row)) == self.columns

    def _give_up(self, number: int) -> list[bytes]:
        """Pass over the open row; returns those of its lines that are to be read again."""
        again = self.open[self.restart :] if self.restart else []
        where = f"; reading goes on at line {number + self.restart}" if again else ""
        self.on_skip(
            f"{self.path}:{number}: a quote opens a field in this row and is not closed within it{where}; mend the row"
        )
        self.open = []
        return again


def _ends_inside(line: bytes, *, inside: bool) -> bool:
    """Tell whether a quoted field is open at a line's end, given whether one is open at its beginning."""
    if inside:
        start = 0
    elif line.startswith(b'"'):
        start = 1
    else:
        start = line.find(b'\t"') + 2
        if start == 1:
            return False
    while True:
        start = line.find(b'"', start) + 1
        if not start:
            return True
        if line.startswith(b'"', start):
            start += 1  # a doubled quote
            continue
        start = line.find(b'\t"', start) + 2
        if start == 1:
            return False
