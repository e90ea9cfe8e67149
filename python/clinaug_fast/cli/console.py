"""What a command shows: results on stdout, everything else on stderr, errors as one sentence with an exit code.

On a terminal progress is a bar; elsewhere (a log file, a cluster) it is a plain line now and then. With `--json`
stdout gets one object at the end, also when the command fails.
"""

import contextlib
import errno
import json
import os
import re
import resource
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, TextIO

import typer

from clinaug_fast.cli.unbegun import nothing_begun
from clinaug_fast.errors import (
    ENDINGS,
    SHORTAGES,
    ClinaugError,
    InputError,
    ResourceError,
    SettingsError,
    StoppedError,
    lacks_threads,
)
from clinaug_fast.shown import shown, shown_in_json

SCHEMA_VERSION = 1
SECONDS_BETWEEN_LINES = 15.0
OUT_OF_MEMORY = {  # in the words of torch, Python and the loader of libraries
    RuntimeError: ("allocate memory", "out of memory", "ALLOC_FAILED"),
    ImportError: ("failed to map segment", "annot allocate memory"),
}
NO_USE_OF_GPU = (
    "busy or unavailable",
    "no kernel image is available",
    "invalid device function",
    "driver version is insufficient",
    "unsupported toolchain",
)  # CUDA's words
OTHER_LACKS = ("not permitted", "ermission denied", "static TLS")  # of a loader that is in want of no memory
BAR_AWAY = "\r\x1b[2K\x1b[?25h"  # and the cursor back
IMPORTING = "<frozen importlib._bootstrap>"  # as Python calls the file of it
AGAIN = {  # what the same command does after a stop, where it does not simply go on
    **dict.fromkeys(("audit", "augment", "generate", "quality", "verify"), ""),  # they begin anew
    "train": " to go on with the generator that was in hand, from its start",
    "evaluate": " to go on with the classifier that was in hand, from its start",
}
MOST_THREADS = 1024  # of torch, which starts as many as it is told

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr; warnings and errors only.")]

Threads = Annotated[
    int | None, typer.Option("--threads", "-j", min=1, help="CPU threads.", show_default="all allowed cores")
]

# Measured on two cores: small networks gain nothing from a second thread, and lose much where the cores are shared.
TorchThreads = Annotated[
    int, typer.Option("--threads", "-j", min=1, max=MOST_THREADS, help="CPU threads; more pay for wide networks only.")
]


def some_path(text: str) -> Path:
    """Not the current folder where a variable of the shell is unset, nor one that Parquet cannot be written to."""
    if not text:
        raise typer.BadParameter("it is empty; expected a path. Is a variable unset?")
    try:
        os.path.abspath(text).encode()
    except FileNotFoundError:
        raise typer.BadParameter("the current folder is gone; expected one. Change to another") from None
    except UnicodeEncodeError:
        mend = "Rename it" if sys.getfilesystemencoding() == "utf-8" else "Set a UTF-8 locale, such as LC_ALL=C.UTF-8"
        raise typer.BadParameter(f"{os.fsencode(text)!r} is not UTF-8; expected it all the way. {mend}") from None
    return Path(text)


def quoted(path: Path | str) -> str:
    """As it can be pasted behind a command: a name that begins with a dash is no option."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


class Say:
    """The Progress of a command (see runs.Progress) and the printer of its result."""

    def __init__(self, command: str, as_json: bool, quiet: bool):
        self.command = command
        self.as_json = as_json
        self.quiet = quiet
        self.warnings: list[str] = []
        self._tells = False  # of lost pages, should there be any
        self.came: list[int] = []  # signals that should have ended the command
        self._bar: Any = None
        self._title, self._total, self._done, self._printed = "", 0, 0, 0.0

    def start(self, title: str, total: int) -> None:
        self.stop()
        self._title, self._total, self._done = title, total, 0
        self._begun = self._printed = time.monotonic()
        if self.quiet:
            return
        if _has_a_terminal():
            from clinaug_fast.cli.bar import bar

            self._bar = bar()
            self._task = self._bar.add_task(title, total=total, note="")
            self._bar.start()
        else:
            _line(f"{title}: {total} to do")

    def advance(self, steps: int = 1, note: str = "") -> None:
        if self.came:  # somebody has swallowed it
            raise KeyboardInterrupt
        self._done, note = self._done + steps, shown(note)
        now = time.monotonic()
        rate = f"{self._done / max(now - self._begun, 1e-3):.3g}/s"
        if self._bar is not None:
            self._bar.update(self._task, advance=steps, note=f"{rate} {note}".rstrip())
        elif not self.quiet and now - self._printed > SECONDS_BETWEEN_LINES:
            self._printed = now
            left = (now - self._begun) / self._done * (self._total - self._done)
            _line(f"{self._title}: {self._done} of {self._total}, {rate}, about {left:.0f} s left {note}".rstrip())

    def warn(self, text: str) -> None:
        self.warnings.append(text)
        if self._tells:
            self._tell()
        self.note(f"warning: {text}", even_if_quiet=True)

    def note(self, text: str, even_if_quiet: bool = False) -> None:
        """A line for the reader of stderr."""
        if self._bar is not None:
            self._bar.console.print(shown(text, "\n"), highlight=False, markup=False, emoji=False, soft_wrap=True)
        elif even_if_quiet or not self.quiet:
            _line(text)

    def stop(self) -> None:
        """Take the bar off the screen; leave one line that says how long the phase took."""
        if self._title and not self.quiet:
            took = time.monotonic() - self._begun
            if self._bar is not None:
                self._bar.stop()
                self._bar = None
            _line(f"{self._title}: {self._done} done in {took:.1f} s")
        self._title = ""

    def result(self, text: Any, exit_code: int = 0, **fields: Any) -> None:
        """The command's result: `text` (a string or a rich renderable) for a person, `fields` for a machine.

        An `exit_code` other than 0 ends the command with it: a finding, such as damage, told in full.
        """
        self.stop()
        try:
            if self.as_json:
                print(self._json("found" if exit_code else "ok", exit_code, fields))
            elif isinstance(text, str):
                print(shown(text, "\n"))
            else:
                from rich.console import Console

                Console(highlight=False, markup=False, emoji=False).print(text)
            sys.stdout.flush()
        except (BrokenPipeError, SystemExit):  # who reads has read enough, as `| head` has; the latter is rich's
            _forget(sys.stdout)
        except OSError as error:
            _forget(sys.stdout)
            told = f"stdout cannot be written: {error.strerror}. The command is done; give its output another place"
            raise ResourceError(told) from None
        if exit_code:
            raise typer.Exit(exit_code)

    def fail(self, error: ClinaugError) -> typer.Exit:
        """Tell the error; returns what to raise."""
        self.stop()
        _line(f"error: {error}")
        if self.as_json:
            try:
                print(self._failed(error))
                sys.stdout.flush()
            except OSError:  # it may be stdout that cannot be written
                _forget(sys.stdout)
        return typer.Exit(error.exit_code)

    @contextlib.contextmanager
    def tell_lost_pages(self) -> Iterator[None]:
        """Where a page of a mapped shard cannot be had, the system sends a signal that nothing returns from."""
        from clinaug_fast import _native

        self._tells = True
        self._tell()
        try:
            yield
        finally:
            self._tells = False
            _native.stop_telling()

    def _tell(self) -> None:
        from clinaug_fast import _native

        error = ResourceError(
            "a file lost a page while it was read: its disk or its share failed, or somebody cut it short. Check them, "
            "then run the same command again"
        )
        line = f"{BAR_AWAY if _has_a_terminal() else ''}error: {error}\n"
        _native.tell_of_lost_pages(line, f"{self._failed(error)}\n" if self.as_json else "", error.exit_code)

    def _failed(self, error: ClinaugError) -> str:
        return self._json("error", error.exit_code, {"error": type(error).__name__, "message": str(error)})

    def _json(self, status: str, exit_code: int, fields: dict[str, Any]) -> str:
        head = {"schema_version": SCHEMA_VERSION, "command": self.command, "status": status, "exit_code": exit_code}
        in_ascii = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
        text = json.dumps(head | fields | {"warnings": self.warnings}, ensure_ascii=in_ascii, allow_nan=False)
        return text if in_ascii else shown_in_json(text)


def _has_a_terminal() -> bool:
    """Whether stderr is one that a bar is drawn on."""
    return sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def _line(text: str) -> None:
    try:
        print(shown(text, "\n"), file=sys.stderr, flush=True)
    except OSError:  # nobody reads it, or its disk is full: the work goes on
        _forget(sys.stderr)


@contextlib.contextmanager
def stage(command: str, as_json: bool, quiet: bool) -> Iterator[Say]:
    """Run a stage: yields its Say and turns whatever goes wrong into a sentence and an exit code."""
    say = Say(command, as_json, quiet)
    try:
        with _signals_raise(say), say.tell_lost_pages():
            yield say
            say.stop()
    except typer.Exit:
        raise
    except (KeyboardInterrupt, _Terminated):
        raise say.fail(_stopped(say.came, command)) from None
    except Exception as error:
        raise say.fail(_stopped(say.came, command) if say.came else _sentence(error, command)) from None


def _sentence(error: Exception, command: str) -> ClinaugError:
    if isinstance(error, ClinaugError):
        return error
    if isinstance(error, OSError):
        return _told(error)
    if lacks_threads(error):
        return ResourceError(
            f"no more threads ({error}). Raise the limit on processes (ulimit -u, or the container's) or on memory, or "
            "lower --threads, then run the same command again"
        )
    words = [word for kind, words in OUT_OF_MEMORY.items() if isinstance(error, kind) for word in words]
    lacks_memory = any(word in str(error) for word in words) and not any(word in str(error) for word in OTHER_LACKS)
    if isinstance(error, MemoryError) or lacks_memory:
        return _out_of_memory(error)
    if isinstance(error, RuntimeError) and any(word in str(error) for word in NO_USE_OF_GPU):
        told = str(error).splitlines()[0].rstrip(".")
        return SettingsError(f"the GPU cannot be used. {told}. Mend that, or give --device cpu")
    traceback.print_exception(error)
    return ClinaugError(f"{error!r}: this is a bug in clinaug-fast {command}; please report it with the lines above")


def _stopped(came: Sequence[int], command: str) -> StoppedError:
    word, exit_code = ENDINGS[came[0] if came else signal.SIGINT]
    again = AGAIN.get(command, " to go on")
    return StoppedError(f"{word}: nothing half-written was left. Run the same command again{again}", exit_code)


class _Terminated(BaseException):
    """SIGTERM came; as KeyboardInterrupt, it is no error that code may swallow."""


def _is_loading(frame: FrameType | None) -> bool:
    """Whether a command is about to import what it needs, so that nothing is begun that would have to be left whole."""
    importer = None
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            importer = frame.f_back
        frame = frame.f_back
    return importer is not None and os.path.dirname(importer.f_code.co_filename) == os.path.dirname(__file__)


@contextlib.contextmanager
def _signals_raise(say: Say) -> Iterator[None]:
    """SIGTERM and Ctrl-C are raised where the work is, and noted in `came`: code that is being imported turns what it
    does not know into an ImportError, and destructors swallow it."""

    def stop(number: int, frame: FrameType | None) -> None:
        say.came.append(number)
        if _is_loading(frame):  # a library in C++, soxr, would abort the process where an exception meets it
            for another in (signal.SIGTERM, signal.SIGINT):
                signal.signal(another, signal.SIG_IGN)
            os._exit(say.fail(_stopped(say.came, say.command)).exit_code)
        raise KeyboardInterrupt if number == signal.SIGINT else _Terminated

    if threading.current_thread() is not threading.main_thread():  # Python allows no other to listen
        yield
        return
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in a shell's background
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():  # a process that only has to end, which takes torch half a second, ends
            signal.signal(number, signal.SIG_IGN if handler is nothing_begun else handler)


def _forget(stream: TextIO) -> None:
    """So that the flush at exit does not fail too."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def have_streams() -> None:
    """Where a stream was closed, what is written there is lost, and no file that is opened takes its place. Characters
    that a stream cannot show are escaped."""
    if not re.fullmatch("0*[1-9][0-9]{0,4}", os.environ.get("COLUMNS", "")):  # rich would believe 0, and fail at others
        os.environ.pop("COLUMNS", None)
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which takes the lowest number that is free: this one
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        getattr(sys, name).reconfigure(errors="backslashreplace")


def lost_output(error: OSError) -> SystemExit:
    """What to raise where something printed outside a stage has no place: help, the version, a wrong option."""
    _forget(sys.stdout)
    _line(f"error: the output cannot be written: {error.strerror}. Give it another place")
    return SystemExit(ResourceError.exit_code)


def closed_output(ended: SystemExit) -> SystemExit:
    """`ended`, or what it would have been had the reader of help, the version or what was wrong with the options not
    closed the output, which typer and rich call a failure."""
    if not isinstance(ended.__context__, BrokenPipeError):
        return ended
    _forget(sys.stdout)
    _forget(sys.stderr)
    if {"--help", "-h", "--version"} & {*sys.argv}:
        return SystemExit(0)
    return SystemExit(SettingsError.exit_code)


def _told(error: OSError) -> ClinaugError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        where = f" ({error.filename})" if error.filename and str(error.filename) not in str(error.strerror) else ""
        mend = "Make room"
        if error.errno == errno.EFBIG:
            is_limited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
            mend = "Raise the limit on a file's size (ulimit -f)" if is_limited else "Name an output on another disk"
        return ResourceError(f"{error.strerror}{where}. {mend}, then run the same command again")
    if error.errno == errno.ENOMEM:
        return _out_of_memory(error)
    if error.errno in SHORTAGES:
        told = _words(error)
        return ResourceError(f"{told}. Raise the limit on open files (ulimit -n), then run the same command again")
    if error.errno == errno.EXDEV:  # of a folder in a lower layer
        told = "It may have come with a container's image: remove it, or put a copy in its place"
        return InputError(f"{_words(error)}. {told}")
    return InputError(f"{_words(error)}. Check the path, its rights and its disk")


def _words(error: OSError) -> str:
    """As Python has them, but of names that are bytes or Paths the names."""
    named = [
        repr(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, bytes | Path | str)
    ]
    return f"[Errno {error.errno}] {error.strerror}: {' -> '.join(named)}" if named and error.errno else str(error)


def _out_of_memory(error: BaseException) -> ResourceError:
    return ResourceError(
        f"out of memory ({error}). Lower what is done at once: the batch, the width, the clips' length or the threads"
    )
