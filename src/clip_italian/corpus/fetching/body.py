"""Read an answer's body within limits: of bytes, of what they unpack to, and of memory, all answers together.

Public names: Reader, unpacked.
"""

import asyncio
import contextlib
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from .outcome import Failure

if TYPE_CHECKING:
    from aiohttp import ClientResponse

SMALL = 2**20  # bytes that any answer may hold; beyond, one of a few places is needed
LARGE_AT_ONCE = 8
_HEAD = 64  # bytes that tell a picture's format
_STEP = 2**16  # bytes that are unpacked at a time


class Reader:
    """Read bodies, at most LARGE_AT_ONCE of them beyond a mebibyte at a time, so that memory has a bound.

    bytes_in: what was read in all.
    """

    def __init__(self) -> None:
        self.bytes_in = 0
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def read(
        self,
        response: "ClientResponse",
        limit: int,
        *,
        places: contextlib.AsyncExitStack,
        deadline: asyncio.Timeout | None = None,
        look: Callable[[bytes], object] | None = None,
        cut: bool = False,
    ) -> bytes:
        """Return a whole body, unpacked; its place in memory is kept until `places` closes.

        deadline: put off by the time spent waiting for a place. look: called with the first bytes, once there are 64 or
        all; what it raises ends the reading. cut: return the first `limit` bytes of a longer body. Raises Failure
        (too_large; http_error for an unknown packing, damaged for a broken one) and what aiohttp raises.
        """
        status, stated = response.status, response.content_length
        if stated is not None and stated > limit and not cut:
            raise Failure("too_large", f"{stated} bytes by its header, more than {limit}", http_status=status)
        unpack = unpacked(response.headers.get("Content-Encoding", ""), limit)
        data = bytearray()
        place = False
        async for piece in response.content.iter_any():
            self.bytes_in += len(piece)
            data += unpack(piece, len(data))
            if len(data) > limit:
                if cut:
                    return bytes(data[:limit])
                raise Failure("too_large", f"more than {limit} bytes; the rest was not read", http_status=status)
            if look and len(data) >= _HEAD:
                look(bytes(data[:512]))
                look = None
            if len(data) > SMALL and not place:
                place = True
                await self._take_place(places, deadline)
        if look:
            look(bytes(data))
        return bytes(data)

    async def _take_place(self, places: contextlib.AsyncExitStack, deadline: asyncio.Timeout | None) -> None:
        clock = asyncio.get_running_loop().time
        before = clock()
        await places.enter_async_context(self._large)
        if deadline and (when := deadline.when()) is not None:
            deadline.reschedule(when + clock() - before)


def unpacked(encoding: str, limit: int) -> Callable[[bytes, int], bytes]:
    """Return what unpacks one piece after another: (piece, bytes so far) → bytes, a step beyond `limit` at most.

    We ask for no packing; some servers pack all the same. Raises Failure: http_error for any but gzip and deflate.
    """
    kind = encoding.strip().lower()
    if kind in ("", "identity"):
        return lambda piece, _: piece
    if kind not in ("gzip", "x-gzip", "deflate"):
        raise Failure("http_error", f"the body is packed as {kind[:40]!r}, which was not asked for")
    decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # gzip or zlib, whichever its header says

    def unpack(piece: bytes, so_far: int) -> bytes:
        out = bytearray()
        try:
            while piece and not decoder.eof and so_far + len(out) <= limit:
                out += decoder.decompress(piece, _STEP)
                piece = decoder.unconsumed_tail
        except zlib.error as error:
            raise Failure("damaged", f"the body's packing is broken ({error})") from error
        return bytes(out)

    return unpack
