"""A picture that somebody uploaded, drawn anew as a small PNG that holds nothing but what can be seen.

It may be made to harm: nothing is decoded before its format and its size are known, one at a time is drawn, and
what leaves are pixels of ours, so that nothing else of the file does.
"""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from PIL import Image

TOO_LARGE: Final = "The file is larger than 1 MB: save the picture smaller, 480 pixels wide is enough."
"""What is said of a file over `UPLOAD`."""
UPLOAD: Final = 1024 * 1024
"""Bytes of the largest file that is looked at."""
PIXELS: Final = 6_000_000
"""Pixels of the largest picture that is decoded: about 25 MB of memory."""
LARGEST: Final = 12 * 1024
"""Bytes of what is drawn at most: the booking's page is to stay small."""
BOX: Final = (480, 160)
"""Pixels of what is drawn at most; it is shown at half of that, so it is sharp on fine screens."""

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_EDGE = 8  # pixels around a picture that had a transparent ground
_LIGHT = 200  # of 255: what is lighter than that would not be seen on white
_WHITE, _DARK = "#ffffff", "#1c2430"
_TRIES = ((1.0, 256), (1.0, 64), (0.75, 256), (0.75, 64), (0.5, 256), (0.5, 64), (0.4, 64), (0.25, 16))

_log = structlog.get_logger(__name__)


class Unusable(Exception):
    """Nothing can be made of a file; the text is one sentence for who sent it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG and its size in pixels."""

    png: bytes
    width: int
    height: int


def redrawn(file: bytes) -> Picture:
    """The picture in a file, small enough for a page. It takes up to a second of a processor: call it in a thread.

    Raises: Unusable.
    """
    if len(file) > UPLOAD:
        raise Unusable(TOO_LARGE)
    head = file[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<svg", b"<?xml", b"<!doctype svg", b"<!--")):
        raise Unusable("An SVG can hold programs, so it is not taken: save the picture as a PNG.")
    from PIL import Image  # few processes are ever sent a picture

    seen = _seen(file)
    for scale, colours in _TRIES:
        size = max(1, round(seen.width * scale)), max(1, round(seen.height * scale))
        drawn = seen if scale == 1.0 else seen.resize(size, Image.Resampling.LANCZOS)
        few = drawn.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        out = io.BytesIO()
        few.save(out, "PNG", optimize=True)
        if out.tell() <= LARGEST:
            return Picture(out.getvalue(), *size)
    raise Unusable("The picture is too detailed to be made small enough: take a simpler one.")


def _seen(file: bytes) -> "Image.Image":
    """What the file shows, within the box, on a ground of its own where it had none."""
    from PIL import Image, ImageOps, ImageStat

    try:
        with Image.open(io.BytesIO(file), formats=_FORMATS) as opened:
            if opened.width * opened.height > PIXELS:
                raise Unusable("The picture has too many pixels: save it smaller, 480 pixels wide is enough.")
            opened.draft("RGB", (BOX[0] * 2, BOX[1] * 2))
            image = ImageOps.exif_transpose(opened).convert("RGBA")
    except Unusable:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Unusable("The picture has too many pixels: save it smaller, 480 pixels wide is enough.") from None
    except Exception as error:  # whatever a decoder stumbles over is the file's fault
        _log.info("picture_unreadable", error=type(error).__name__)
        raise Unusable("This is no picture that can be read: send a PNG, JPEG, WebP or GIF.") from None
    clear = image.getchannel("A")
    visible = clear.getbbox()
    if visible is None:
        raise Unusable("The picture is transparent all over: there is nothing to see in it.")
    edge = _EDGE if clear.getextrema() != (255, 255) else 0
    image = image.crop(visible)
    image.thumbnail((BOX[0] - 2 * edge, BOX[1] - 2 * edge), Image.Resampling.LANCZOS)
    light = bool(edge) and ImageStat.Stat(image.convert("L"), image.getchannel("A")).mean[0] > _LIGHT
    ground = Image.new("RGB", (image.width + 2 * edge, image.height + 2 * edge), _DARK if light else _WHITE)
    ground.paste(image, (edge, edge), image)
    return ground
