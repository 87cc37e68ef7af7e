"""What a phone's camera reads of a picture."""

from __future__ import annotations

import io

import zxingcpp
from PIL import Image


def read_code(picture: bytes) -> str:
    """What the one QR code of a PNG says. Fails where there is none, or one light on dark."""
    code = find_code(Image.open(io.BytesIO(picture)))
    assert code is not None
    return code


def find_code(image: Image.Image) -> str | None:
    """What its one QR code says; None where there is none, or one light on dark."""
    found = zxingcpp.read_barcodes(image.convert("L"), formats=zxingcpp.BarcodeFormat.QRCode, try_invert=False)
    return str(found[0].text) if len(found) == 1 else None
