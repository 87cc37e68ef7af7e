"""Passwords as they may be kept: scrypt with a salt of its own, never the clear text."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

_COST, _BLOCK, _LANES = 2**14, 8, 1
"""16 MB and some 50 ms for a guess."""


def hash_password(password: str) -> str:
    """`scrypt$cost$block$lanes$salt$hash`: all that `verify_password` needs, even after the costs were raised."""
    salt = secrets.token_bytes(16)
    parts = (_COST, _BLOCK, _LANES, _text(salt), _text(_derive(password, salt, _COST, _BLOCK, _LANES)))
    return "$".join(("scrypt", *map(str, parts)))


def verify_password(password: str, hashed: str) -> bool:
    """Whether this is the password behind the hash. Anything that is not such a hash is simply wrong."""
    try:
        scheme, cost, block, lanes, salt, expected = hashed.split("$")
        found = _derive(password, base64.b64decode(salt), int(cost), int(block), int(lanes))
        return scheme == "scrypt" and hmac.compare_digest(found, base64.b64decode(expected))
    except ValueError:
        return False


def new_password() -> str:
    """A password for a person to paste: 80 bits, no letters that are easily taken for each other."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(4)) for _ in range(4))


def _derive(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"), salt=salt, n=cost, r=block, p=lanes, maxmem=64 * 2**20, dklen=32
    )


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
