"""What Ctrl-C leaves behind."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def interruptible(verb: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """The same function, of which Ctrl-C leaves a line and not the way through the package."""

    @wraps(verb)
    def called(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
        try:
            return verb(*args, **kwargs)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"`{verb.__name__}` was interrupted; nothing was changed") from None

    return called
