"""A local server of drawn pictures that misbehaves on request; what it answers depends on the path alone.

    with PictureServer() as server:          # a thread of its own, a free port of 127.0.0.1
        server.url("photo/7.jpg")            # the 7th picture; ?w=500&h=375 its size, ?o=6 its EXIF orientation
        server.counts["/photo/7.jpg"]        # how often it was asked for

or `python tests/corpus/server.py [--port N]`, which prints its address and serves until it is killed.

| path | answer |
|---|---|
| file/NAME | `server.files[NAME]`, bytes; file/NAME?flaky=TIMES fails so often with 503 before |
| photo/N.SUFFIX | picture N as jpg, png, webp, gif, bmp or tif; ?w= ?h= ?o= ?gps=1 ?gray=1 |
| header/N.jpg?NAME=VALUE | picture N with those headers |
| gzip/N.jpg, bomb.jpg | picture N packed as asked by nobody; 1 GiB of zeros after a JPEG's beginning, packed |
| packed/NAME/N.jpg | picture N, said to be packed as NAME |
| slow/SECONDS/N.jpg, drip/N.jpg, hang/N.jpg | picture N after that time; a byte every 0.05 s; nothing at all |
| endless.jpg, long/BYTES.jpg | a JPEG's beginning without an end, and with a Content-Length of that many |
| html.jpg, empty.jpg, pixels.png, tiny.gif, heic.jpg | a web page; no bytes; 60,000 × 60,000 by its header; 1 × 1; … |
| truncated/N.jpg, cut/N.jpg | half of what Content-Length says; half a JPEG with the right Content-Length |
| loop/a, hops/K/N.jpg, to?url=URL, nowhere | a circle; K redirections; a redirection there; one without Location |
| status/CODE/N, flaky/CODE/TIMES/N.jpg | that status (?after= for Retry-After); so often, then picture N |
| reset/TIMES/N.jpg | the connection is reset so often (0: always), then picture N |
| garbage | an answer that is no HTTP |
| robots.txt | what `server.robots[HOST]` says (status, text); 404 otherwise |
"""

import argparse
import asyncio
import collections
import functools
import gzip
import io
import socket
import struct
import threading
import time
import zlib
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from PIL import Image

FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tif": "TIFF"}
REASONS = {200: "OK", 302: "Found", 404: "Not Found"}


@functools.lru_cache(maxsize=2048)
def picture(number, *, w=96, h=72, suffix="jpg", o=1, gps=0, gray=0):
    """Return the bytes of a drawn picture: smooth colours by its number, a red corner at the upper left."""
    small = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((w, h), Image.Resampling.BICUBIC)
    image.paste((255, 0, 0), (0, 0, w // 4, h // 4))
    out = io.BytesIO()
    extra = {}
    if o != 1 or gps:
        exif = Image.Exif()
        exif[0x0112] = o
        if gps:
            exif[0x010F] = "Maker of cameras"
            exif.get_ifd(0x8825).update({1: "N", 2: (41.0, 53.0, 24.0), 3: "E", 4: (12.0, 29.0, 32.0)})
        extra["exif"] = exif
    (image.convert("L") if gray else image).save(
        out, FORMATS[suffix], **extra, **({"quality": 88} if suffix == "jpg" else {})
    )
    return out.getvalue()


@functools.lru_cache(maxsize=1)
def bomb():
    """Return a gibibyte of zeros after a JPEG's beginning, in about a megabyte of gzip."""
    packer = zlib.compressobj(9, wbits=31)
    beginning = packer.compress(picture(0)[:200]) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(2**24)) + packer.flush(
        zlib.Z_FULL_FLUSH
    )  # after a full flush, a block may be repeated
    return beginning + zeros * 64


def enormous():
    """Return a PNG whose header promises 3.6 thousand megapixels."""
    chunks = {b"IHDR": struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0), b"IDAT": zlib.compress(bytes(1000))}
    rows = (struct.pack(">I", len(v)) + k + v + struct.pack(">I", zlib.crc32(k + v)) for k, v in chunks.items())
    return b"\x89PNG\r\n\x1a\n" + b"".join(rows)


class PictureServer:
    """Serve in a thread while the block runs. counts: requests by path; log: (time, host, path, user agent)."""

    def __init__(self, port=0):
        self.counts = collections.Counter()
        self.log = collections.deque(maxlen=100_000)
        self.robots = {}
        self.files = {}
        self.open = self.most_open = 0
        self._failed = collections.Counter()
        self._socket = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def url(self, path, host="127.0.0.1"):
        return f"http://{host}:{self.port}/{path}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self):
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connection, sock=self._socket))
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _connection(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                target = head.split(" ", 2)[1]
                headers = {
                    name.lower(): value for name, _, value in (row.partition(": ") for row in head.split("\r\n")[1:])
                }
                host = headers.get("host", "").partition(":")[0]
                path = urlsplit(target).path
                self.counts[path] += 1
                self.log.append((time.monotonic(), host, path, headers.get("user-agent", "")))
                self.open += 1
                self.most_open = max(self.most_open, self.open)
                try:
                    keep = await self._answer(path, dict(parse_qsl(urlsplit(target).query)), host, writer)
                finally:
                    self.open -= 1
                if not keep or headers.get("connection", "").lower() == "close":
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer(self, path, query, host, writer):
        """Answer one request; returns whether the connection may be used again."""
        kind, *rest = path.strip("/").split("/")
        if kind == "robots.txt":
            status, text = self.robots.get(host, (404, ""))
            if status == 302:
                return await self._send(writer, b"", status, {"Location": text})
            return await self._send(writer, text.encode(), status, {"Content-Type": "text/plain"})
        number = int(rest[-1].partition(".")[0]) if rest and rest[-1].partition(".")[0].isdigit() else 0
        jpeg = picture(number)
        match kind:
            case "file":
                data = self.files.get("/".join(rest))
                if data is None:
                    return await self._send(writer, b"no such file", 404)
                if "flaky" in query and self._fails(path, int(query["flaky"])):
                    return await self._send(writer, b"later", 503)
                return await self._send(writer, data)
            case "photo":
                sizes = {name: int(query[name]) for name in ("w", "h", "o", "gps", "gray") if name in query}
                return await self._send(writer, picture(number, suffix=rest[-1].partition(".")[2], **sizes))
            case "header":
                return await self._send(writer, jpeg, extra=query)
            case "gzip":
                return await self._send(writer, gzip.compress(jpeg), extra={"Content-Encoding": "gzip"})
            case "packed":
                return await self._send(writer, jpeg, extra={"Content-Encoding": rest[0]})
            case "bomb.jpg":
                return await self._send(writer, bomb(), extra={"Content-Encoding": "gzip"})
            case "slow":
                await asyncio.sleep(float(rest[0]))
                return await self._send(writer, jpeg)
            case "hang":
                await asyncio.sleep(3600)
            case "drip":
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode())
                for i in range(len(jpeg)):
                    writer.write(jpeg[i : i + 1])
                    await writer.drain()
                    await asyncio.sleep(0.05)
            case "endless.jpg" | "long":
                length = f"Content-Length: {number}\r\n" if number else ""
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode() + jpeg[:-2])
                while True:
                    writer.write(bytes(2**16))
                    await writer.drain()
            case "html.jpg":
                page = b"<!DOCTYPE html><html><body>This picture is gone. Please see our home page.</body></html>"
                return await self._send(writer, page)
            case "heic.jpg":
                return await self._send(writer, b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
            case "empty.jpg":
                return await self._send(writer, b"")
            case "pixels.png":
                return await self._send(writer, enormous())
            case "tiny.gif":
                return await self._send(writer, picture(0, w=1, h=1, suffix="gif"))
            case "truncated":
                await self._send(writer, jpeg[: len(jpeg) // 2], length=len(jpeg))
            case "cut":
                return await self._send(writer, jpeg[: len(jpeg) // 2])
            case "loop":
                return await self._send(writer, b"", 302, {"Location": "/loop/b" if rest == ["a"] else "/loop/a"})
            case "hops":
                where = f"/hops/{int(rest[0]) - 1}/{rest[1]}" if int(rest[0]) > 1 else f"/photo/{rest[1]}"
                return await self._send(writer, b"", 302, {"Location": where})
            case "to":
                return await self._send(writer, b"", 302, {"Location": query["url"]})
            case "nowhere":
                return await self._send(writer, b"", 302)
            case "status":
                return await self._send(
                    writer, b"" if rest[0] in ("204", "304") else b"no", int(rest[0]), self._after(query)
                )
            case "flaky":
                if self._fails(path, int(rest[1])):
                    return await self._send(writer, b"later", int(rest[0]), self._after(query))
                return await self._send(writer, jpeg)
            case "reset":
                if int(rest[0]) == 0 or self._fails(path, int(rest[0])):
                    linger = struct.pack("ii", 1, 0)  # closing then resets
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    writer.transport.abort()
                    return False
                return await self._send(writer, jpeg)
            case "garbage":
                writer.write(b"\x00\x01\x02 this is no HTTP\r\n\r\n")
            case _:
                return await self._send(writer, b"no such picture", 404)
        await writer.drain()
        return False

    def _fails(self, path, times):
        self._failed[path] += 1
        return self._failed[path] <= times

    @staticmethod
    def _after(query):
        return {"Retry-After": query["after"]} if "after" in query else {}

    @staticmethod
    async def _send(writer, body, status=200, extra=None, length=None):
        fields = {"Content-Type": "image/jpeg", "Content-Length": str(len(body) if length is None else length)}
        rows = "".join(f"{name}: {value}\r\n" for name, value in {**fields, **(extra or {})}.items())
        writer.write(f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}\r\n{rows}\r\n".encode() + body)
        await writer.drain()
        return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    server = PictureServer(parser.parse_args().port)
    print(server.url(""), flush=True)
    server._serve()


if __name__ == "__main__":
    main()
