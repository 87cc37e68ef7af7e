"""A terminal, and what stands on it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import termios

from PIL import Image

from tests.scanning import find_code

_BACK = re.compile(r"\x1b\[(\d+)A\x1b\[J")
_WHITE_ON_BLACK = re.compile(r"\x1b\[97;40m([ ▀▄█]+)\x1b\[0m")
_HALVES = {" ": (0, 0), "▀": (255, 0), "▄": (0, 255), "█": (255, 255)}
_DOT = 8


class Screen:
    """`terminal`: the file descriptor for a process's standard output."""

    def __init__(self, rows: int) -> None:
        self._ours, self.terminal = pty.openpty()
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 120, 0, 0))
        os.set_blocking(self._ours, False)
        self._told = b""

    def read(self) -> list[str]:
        """Its lines, with their colours; what a program has gone back over is gone."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._told += os.read(self._ours, 65536)
        lines: list[str] = []
        first, *later = _BACK.split(self._told.decode(errors="ignore"))
        for back, told in zip(["0", *later[::2]], [first, *later[1::2]], strict=True):
            lines = lines[: len(lines) - int(back)] + told.split("\r\n")[:-1]
        return lines

    async def scan(self) -> str | None:
        """What a phone reads there; None while there is no code, or a part of one."""
        rows = self.read_code()
        return find_code(_paint(rows)) if rows else None

    def read_code(self) -> list[str]:
        """The lines of it that are white on black."""
        return [found[1] for line in self.read() if (found := _WHITE_ON_BLACK.fullmatch(line))]

    def close(self) -> None:
        os.close(self._ours)
        os.close(self.terminal)


def _paint(rows: list[str]) -> Image.Image:
    """White characters on black: each is two dots, one above the other."""
    picture = Image.new("L", (len(rows[0]) * _DOT, len(rows) * 2 * _DOT), 0)
    for y, row in enumerate(rows):
        for x, character in enumerate(row):
            for half, shade in enumerate(_HALVES[character]):
                left, top = x * _DOT, (2 * y + half) * _DOT
                picture.paste(shade, (left, top, left + _DOT, top + _DOT))
    return picture
