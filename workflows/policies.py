"""Time-outs and retries, each with a name and a reason."""

from __future__ import annotations

from datetime import timedelta

from temporalio.common import RetryPolicy

FINAL_ERRORS = ["NotFound", "IllegalTransition", "ModelRefused"]
"""Trying again changes nothing."""

LINK_HEARTBEAT = timedelta(seconds=10)
"""A link or host that is silent for so long is taken for dead."""

HOLD_TIMEOUT = timedelta(days=3650)
BATCH_TIMEOUT = timedelta(minutes=10)

UNTIL_IT_WORKS = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    maximum_interval=timedelta(seconds=10),
    non_retryable_error_types=FINAL_ERRORS,
)
"""For what must happen in the end: sending, holding a number."""

MODEL_TIMEOUT = timedelta(seconds=90)
MODEL_PATIENCE = timedelta(minutes=10)
MODEL = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    maximum_interval=timedelta(seconds=60),
    non_retryable_error_types=FINAL_ERRORS,
)
"""A model gets MODEL_PATIENCE in all; then the turn is given up."""

STORE_TIMEOUT = timedelta(seconds=60)
