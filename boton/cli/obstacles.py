"""What stands in the way of starting, told in one line that says what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from boton.errors import BotonError

OBSTACLE_EXIT = 2


class Obstacle(Exception):
    """Nothing was started, or what was has been stopped. `line` is for the terminal."""

    def __init__(self, line: str, exit_code: int = OBSTACLE_EXIT) -> None:
        super().__init__(line)
        self.line = " ".join(line.split())
        self.exit_code = exit_code


@contextmanager
def obstacles_told() -> Iterator[None]:
    """Ends the process with one line on stderr where something stands in the way; other errors are bugs and pass."""
    try:
        yield
    except Exception as error:
        obstacle = to_obstacle(error)
        if obstacle is None:
            raise
        print(obstacle.line, file=sys.stderr)
        raise SystemExit(obstacle.exit_code) from None


def to_obstacle(error: Exception) -> Obstacle | None:
    """The obstacle behind an error, None for a bug. Values of settings and passwords are never part of it."""
    match error:
        case Obstacle():
            return error
        case BotonError():
            return Obstacle(error.detail)
        case ModuleNotFoundError():
            return Obstacle(
                f"The library {error.name} is missing: run `make run`, or pip install it into this environment."
            )
        case PermissionError() | NotADirectoryError() | FileExistsError() | FileNotFoundError() if error.filename:
            return Obstacle(f"{error.filename} cannot be used ({error.strerror}): change it or set BOTON_DATA_DIR.")
    return _store_obstacle(error)


def _store_obstacle(error: Exception) -> Obstacle | None:
    """Recognises SQLAlchemy's errors by name: whoever raised one has imported it, nobody else has to."""
    if not any(kind.__module__ == "sqlalchemy.exc" and kind.__name__ == "DBAPIError" for kind in type(error).__mro__):
        return None
    reason = str(getattr(error, "orig", None) or type(error).__name__).strip().splitlines()[0]
    return Obstacle(f"The store cannot be used, check BOTON_DATABASE_URL and BOTON_DATA_DIR: {reason[:200]}")
