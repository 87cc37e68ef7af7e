"""What a phone's camera reads of a picture."""

from __future__ import annotations

import io

import zxingcpp
from PIL import Image


def read_code(picture: bytes | Image.Image) -> str:
    """What the one QR code of a picture (a PNG, if bytes) says. Fails where there is none, or one light on dark."""
    image = Image.open(io.BytesIO(picture)) if isinstance(picture, bytes) else picture
    (code,) = zxingcpp.read_barcodes(image.convert("L"), formats=zxingcpp.BarcodeFormat.QRCode, try_invert=False)
    return str(code.text)
