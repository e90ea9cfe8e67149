"""SIGTERM and Ctrl-C during a long run: the first asks to finish the blocks in hand, the second stops at once."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from clinaug_fast.errors import ENDINGS, StoppedError

FINISHING = "finishing the blocks in hand"  # what progress notes meanwhile
CAME = f"a signal came: {FINISHING}; one more stops at once"  # of which it warns


class Stopper:
    """While it is entered, a signal is remembered instead of ending the process. `Stopper()` tells whether one came."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        return self._signal is not None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python allows no other
            heard = [number for number in ENDINGS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._remember) for number in heard}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            raise self._error(number)
        self._signal = number

    def refuse(self) -> None:
        """Raise StoppedError if a signal came."""
        if self._signal is not None:
            raise self._error(self._signal)

    def _error(self, number: int) -> StoppedError:
        word, exit_code = ENDINGS[number]
        return StoppedError(
            f"{word}: nothing half-written was left, and what is done is kept. Run the same command again to go on",
            exit_code,
        )
