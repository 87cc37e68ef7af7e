"""What link and pairing processes print."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

import pytest

from workers.masking import pass_on


async def printed_by(code: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    await pass_on(process.stderr)
    assert await process.wait() is not None


async def test_numbers_are_masked_and_the_rest_passes(capfd: pytest.CaptureFixture[str]) -> None:
    words = "06:51:15.542Z con_01M8DX12345678 0xc00012345678 to 5491138620812:7@s.whatsapp.net (+12025550123)"
    await printed_by(f"import sys; print({words!r}, file=sys.stderr)")
    assert capfd.readouterr().err == ("06:51:15.542Z con_01M8DX12345678 0xc00012345678 to …:7@s.whatsapp.net (+…)\n")


async def test_line_that_is_too_long_does_not_stop_what_follows(capfd: pytest.CaptureFixture[str]) -> None:
    await printed_by("import sys; print('x' * 300_000 + '\\nlast', file=sys.stderr)")
    assert capfd.readouterr().err.endswith("last\n")


async def test_full_disk_does_not_stop_who_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    """All links of a host print to one pipe: they would stand still once it is full."""
    full = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
    monkeypatch.setattr(sys, "stderr", full)
    await asyncio.wait_for(printed_by("import sys; print('x\\n' * 300_000, file=sys.stderr)"), 20)
    with contextlib.suppress(OSError):
        full.close()


async def test_words_of_a_process_that_aborts_come_through(capfd: pytest.CaptureFixture[str]) -> None:
    await printed_by("import os, sys; os.write(2, b'panic: 5491138620812'); os.abort()")
    assert capfd.readouterr().err.startswith("panic: …")
