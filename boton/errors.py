"""What can go wrong, named for what went wrong. No HTTP and no Temporal in here.

Every error carries ids, never a message's text: errors end up in logs and in workflow histories.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boton.domain.connections import ConnectionStatus


class BotonError(Exception):
    """The base of every error of our own. `code` is stable and machine-readable, `detail` says what to change."""

    code = "error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotFound(BotonError):
    """The thing does not exist, or belongs to another business (which is the same to the asker)."""

    code = "not_found"

    def __init__(self, thing: str, id: str) -> None:
        super().__init__(f"There is no {thing} {id}.")


class Conflict(BotonError):
    """The request contradicts what the store holds."""

    code = "conflict"


class Invalid(BotonError):
    """The request cannot be carried out as it is. `errors` names the fields: (path, what to change)."""

    code = "invalid"

    def __init__(self, detail: str, errors: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.errors = errors


class InvalidRecipient(Invalid):
    """Not a person that WhatsApp could reach."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class EventsGone(BotonError):
    """The events after this `seq` are no longer kept (30 days)."""

    code = "events_gone"

    def __init__(self, after: int, oldest: int) -> None:
        super().__init__(f"Events after {after} are no longer kept; the oldest kept is {oldest}. Read anew from there.")
        self.oldest = oldest


class IllegalTransition(BotonError):
    """A state machine was asked for a step it does not have."""

    code = "illegal_transition"

    def __init__(self, current: str, wanted: str) -> None:
        super().__init__(f"A message that is {current} cannot become {wanted}.")


class StaleEpoch(BotonError):
    """This process no longer owns the phone number: a newer link has started. It must stop at once."""

    code = "stale_epoch"

    def __init__(self, connection_id: str, epoch: int) -> None:
        super().__init__(f"Epoch {epoch} of connection {connection_id} is stale.")


class GatewayAbsent(BotonError):
    """The connection is on a gateway that does not exist here."""

    code = "gateway_absent"


class StoreTooNew(BotonError):
    """The store was migrated by a newer version of BOTON."""

    code = "store_too_new"


# What a gateway answers to `send_text` when it did not simply work.


class SendError(BotonError):
    """The gateway did not confirm the message. `definitely_not_sent` tells whether the attempt is dead for good."""

    definitely_not_sent = False


class ConnectionAway(SendError):
    """The phone is not connected. The attempt never reached the wire and never will: the message is due again."""

    code = "connection_away"
    definitely_not_sent = True


class RecipientRefused(SendError):
    """Permanent for this recipient: not on WhatsApp, blocked, malformed."""

    code = "recipient_refused"
    definitely_not_sent = True

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class NumberRefused(SendError):
    """WhatsApp refuses this *business number* for a while (463, 429, ban). `until` is known for a ban only."""

    code = "number_refused"
    definitely_not_sent = True

    def __init__(self, reason: int, detail: str, until: datetime | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.until = until


class RefusedForNow(SendError):
    """WhatsApp did not take this message, for a reason that passes. Worth a few tries more."""

    code = "refused_for_now"
    definitely_not_sent = True


class OutcomeUnknown(SendError):
    """The message may or may not have left (lost ack, time-out). Ask `find_outcome`."""

    code = "outcome_unknown"


class SessionReplaced(SendError):
    """A newer session for the same number exists; this one is closed for good."""

    code = "session_replaced"
    definitely_not_sent = True


class NumberLost(BotonError):
    """The number cannot be held any more (logged out, banned, replaced, outdated): `detail` says what to do.

    ban: closes the slow lane, too.
    """

    code = "number_lost"

    def __init__(self, status: ConnectionStatus, detail: str, ban: NumberRefused | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.ban = ban


class ProcessSpent(BotonError):
    """This process has reconnected so often that what the library leaks adds up: a fresh one must go on."""

    code = "process_spent"


# What a language model answers when it did not simply work.


class ModelError(BotonError):
    """The language model gave no usable answer."""

    code = "model_error"


class ModelBusy(ModelError):
    """429, 5xx, time-out or no connection: worth another try, not before `retry_after` seconds where it said so."""

    code = "model_busy"

    def __init__(self, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class ModelMalformed(ModelError):
    """The answer is of no use: not what the protocol promises, empty, cut off or withheld by the server's filter.

    Tokens as the server counted them, which are paid for all the same; 0 where it does not say.
    """

    code = "model_malformed"

    def __init__(self, detail: str, *, tokens_in: int = 0, tokens_out: int = 0) -> None:
        super().__init__(detail)
        self.tokens_in = tokens_in
        self.tokens_out = tokens_out


class ModelContextTooLong(ModelError):
    """The prompt is longer than the model's window: worth another try with a smaller budget."""

    code = "model_context_too_long"


class ModelRefused(ModelError):
    """A request that the server does not accept: trying again changes nothing."""

    code = "model_refused"


class ModelUseless(ModelRefused):
    """An answer that was paid for was of no use, and so was the one that was asked for instead: another one would cost
    as much.
    """

    code = "model_useless"


class ModelMisconfigured(ModelRefused):
    """A wrong key, an unknown model, no credit: nothing works until a setting is changed, which `detail` names."""

    code = "model_misconfigured"
