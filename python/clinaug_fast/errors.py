"""What can go wrong, as types: each carries the exit code that the command line ends with.

A message names the value, what was expected and the next step. Library code raises these; ``cli`` prints
the sentence and exits. What the system says (OSError, MemoryError, no threads, a GPU that cannot be used) ends in one
of these codes too, by `cli.console`. Anything else that escapes is a bug (exit code 1).
"""

import errno
import signal

SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # of the process or the machine

OF_THE_FILE = (errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.ELOOP, errno.ENAMETOOLONG)

EXIT_BUG = 1
EXIT_STOPPED = 75  # EX_TEMPFAIL: the same command goes on
EXIT_INTERRUPTED = 130
ENDINGS = {signal.SIGTERM: ("stopped by SIGTERM", EXIT_STOPPED), signal.SIGINT: ("interrupted", EXIT_INTERRUPTED)}


def is_shortage(error: BaseException) -> bool:
    """Whether the process or the machine lacks something: no fault of a file, and no verdict on it."""
    lacks = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in SHORTAGES)
    return lacks or lacks_threads(error)


def lacks_threads(error: BaseException) -> bool:
    """Whether a thread could not be started, in the words of Python and of Arrow."""
    of_python = isinstance(error, RuntimeError) and "can't start new thread" in str(error)
    return of_python or "Failed to launch worker thread" in str(error)


def is_of_the_system(error: BaseException) -> bool:
    """Whether a file could not be read for want of something, or since its disk or its rights do not let it: nothing is
    told of what it holds."""
    told = error.errno if isinstance(error, OSError) else None
    return is_shortage(error) or told not in (None, *OF_THE_FILE)


class ClinaugError(Exception):
    """Base of every error that is told to the user in a sentence."""

    exit_code = EXIT_BUG


class SettingsError(ClinaugError, ValueError):
    """An option or a setting that makes no sense, alone or beside the others."""

    exit_code = 2


class InputError(ClinaugError, ValueError):
    """A corpus, a folder or a file that is not what the stage needs."""

    exit_code = 3


class UnreadableError(InputError):
    """A file that the system does not give: nothing is told of what it holds."""


def cannot_be_read(path: object, error: Exception, mend: str) -> Exception:
    """What to raise of a file where reading it raised `error`, a shortage as it is; `mend`: what to do where the file
    is damaged."""
    if is_shortage(error):
        return error
    if is_of_the_system(error):
        return UnreadableError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}. Check its rights and its disk"
        )
    return InputError(f"{path} cannot be read: {error}. {mend}")


class RejectedError(ClinaugError):
    """More recordings were rejected than the limit allows, and the rest is done and listed; or one, that was to end the
    run."""

    exit_code = 4


class LeakageError(ClinaugError):
    """A clip that was made with knowledge of a test subject was offered for training."""

    exit_code = 5


class ResourceError(ClinaugError):
    """Out of memory or disk."""

    exit_code = 6


class StoppedError(ClinaugError):
    """Stopped by a signal; what is done is kept, and the same command goes on."""

    exit_code = EXIT_STOPPED

    def __init__(self, sentence: str, exit_code: int = EXIT_STOPPED):
        super().__init__(sentence)
        self.exit_code = exit_code
