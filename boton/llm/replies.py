"""What becomes of a model's text. The rules live in the domain, where the store may read them too."""

from boton.domain.replies import needs_no_answer, split_reply

__all__ = ["needs_no_answer", "split_reply"]
