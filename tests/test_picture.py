"""Uploaded pictures: small and harmless whatever comes in, and still the picture."""

import io
import random
import struct
import time
import zlib
from typing import Any

import pytest
from PIL import Image, ImageDraw, PngImagePlugin

from service.picture import BOX, LARGEST, PIXELS, UPLOAD, Unusable, redrawn

SECRET = "51.5007 north, taken by Anna"


def saved(image: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def logo(size: tuple[int, int] = (600, 200), ground: Any = (255, 255, 255, 0), ink: str = "#0b5cad") -> Image.Image:
    image = Image.new("RGBA", size, ground)
    ImageDraw.Draw(image).ellipse((size[0] // 6, size[1] // 6, size[0] // 2, size[1] * 5 // 6), fill=ink)
    return image


def noise(width: int, height: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), random.Random(7).randbytes(width * height * 3))  # noqa: S311 - no secret


def opened(file: bytes) -> Image.Image:
    picture = redrawn(file)
    image = Image.open(io.BytesIO(picture.png))
    assert (image.format, image.size) == ("PNG", (picture.width, picture.height))
    assert len(picture.png) <= LARGEST
    assert image.width <= BOX[0]
    assert image.height <= BOX[1]
    return image


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_every_format_that_is_taken_becomes_a_small_png(kind: str) -> None:
    image = opened(saved(logo().convert("RGB"), kind)).convert("RGB")
    seen = image.getpixel((image.width // 3, image.height // 2))
    assert isinstance(seen, tuple)
    assert all(abs(got - drawn) < 20 for got, drawn in zip(seen, (11, 92, 173), strict=True))


def test_what_has_no_ground_of_its_own_is_seen_on_light_and_dark_pages() -> None:
    """Dark ink gets a white ground, white ink a dark one, and nothing is transparent any more."""
    for ink, ground in (("#0b5cad", (255, 255, 255)), ("#ffffff", (28, 36, 48))):
        image = opened(saved(logo(ink=ink))).convert("RGBA")
        assert image.getpixel((0, 0)) == (*ground, 255)
        assert image.getchannel("A").getextrema() == (255, 255)


def test_a_detailed_picture_is_made_smaller_until_it_fits() -> None:
    image = opened(saved(noise(480, 160)))
    assert image.width < BOX[0]


def test_of_a_file_nothing_is_kept_but_the_picture() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", SECRET)
    exif = Image.Exif()
    exif[0x010E] = SECRET
    for file in (saved(logo(), pnginfo=text), saved(logo().convert("RGB"), "JPEG", exif=exif, comment=SECRET)):
        assert SECRET.encode() in file
        png = redrawn(file + b"<script>alert(1)</script>").png
        assert SECRET.encode() not in png
        assert b"script" not in png
        assert {png[at : at + 4] for at in chunks(png)} <= {b"IHDR", b"PLTE", b"IDAT", b"IEND"}


def chunks(png: bytes) -> list[int]:
    """Where the types of a PNG's chunks stand."""
    at, found = 8, []
    while at < len(png):
        found.append(at + 4)
        at += struct.unpack(">I", png[at : at + 4])[0] + 12
    return found


def test_a_phones_picture_is_turned_as_it_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image = opened(saved(noise(90, 30), "JPEG", exif=exif))
    assert image.width < image.height


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")


MANY = "too many pixels"
UNUSABLE = {
    "empty": (b"", "no picture"),
    "cut": (b"GIF89a", "no picture"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "save the picture as a PNG"),
    "svg with a mark": (b"\xef\xbb\xbf <?xml version='1.0'?><svg/>", "save the picture as a PNG"),
    "pdf": (b"%PDF-1.7 and so on", "no picture"),
    "tiff": (saved(logo(), "TIFF"), "no picture"),
    "broken": (saved(logo())[:200], "no picture"),
    "clear": (saved(logo(ink="#ffffff00")), "nothing to see"),
    "bomb": (bomb(30_000, 30_000), MANY),
    "smaller bomb": (bomb(10_000, 10_000), MANY),
    "long bomb": (bomb(PIXELS, 2), MANY),
    "flat": (bomb(0, 10), "no picture"),
    "large": (bytes(UPLOAD + 1), "larger than 1 MB"),
}


@pytest.mark.parametrize(("file", "says"), list(UNUSABLE.values()), ids=list(UNUSABLE))
def test_what_is_unusable_is_refused_at_once_with_a_sentence(file: bytes, says: str) -> None:
    began = time.process_time()
    with pytest.raises(Unusable, match=says):
        redrawn(file)
    assert time.process_time() - began < 1


def test_a_thin_line_is_still_a_picture() -> None:
    assert opened(saved(Image.new("RGB", (5000, 1), "#0b5cad"))).size == (480, 1)
