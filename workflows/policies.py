"""Time-outs and retries, each with a name and a reason."""

from __future__ import annotations

from datetime import timedelta

from temporalio.common import RetryPolicy

FINAL_ERRORS = ["NotFound", "IllegalTransition", "ModelRefused", "ModelUseless", "ModelMisconfigured"]
"""Trying again changes nothing."""

LINK_HEARTBEAT = timedelta(seconds=10)
"""A link or host that is silent for so long is taken for dead."""

LINK_ABSENT = timedelta(minutes=10)
"""What no link has taken for so long is looked at anew: the business may have left that connection for another."""

HOST_REST = timedelta(minutes=1)
"""A number that a host gave up although it is to be held is not tried again in a tight loop."""

_UNLINK_REST = timedelta(minutes=1)
_LONGEST_UNLINK_REST = timedelta(hours=1)


def rest_after(tries: int) -> timedelta:
    """A phone that could not be told is told again: after a minute, then two, then four."""
    return min(_UNLINK_REST * (1 << min(tries - 1, 6)), _LONGEST_UNLINK_REST)


HOLD_TIMEOUT = timedelta(days=3650)
BATCH_TIMEOUT = timedelta(minutes=10)

UNTIL_IT_WORKS = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    maximum_interval=timedelta(seconds=10),
    non_retryable_error_types=FINAL_ERRORS,
)
"""For what must happen in the end: sending, holding a number."""

MODEL_TIMEOUT = timedelta(seconds=90)
MODEL = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_interval=timedelta(seconds=60),
    maximum_attempts=16,
    non_retryable_error_types=FINAL_ERRORS,
)
"""A model that is always busy gets some ten minutes; then the turn is given up. Attempts are counted, not the time:
while no worker runs (everything was stopped for the night) nobody has asked the model, and nothing may be given up.
"""

TOOL_TIMEOUT = timedelta(seconds=30)
STORE_TIMEOUT = timedelta(seconds=60)
FIRING_TIMEOUT = timedelta(seconds=10)
"""One short transaction, safe to overlap: after a worker's death nobody waits longer for it to be tried again."""
