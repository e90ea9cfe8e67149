"""Where the console script begins: signals are told in a sentence even while the command line is still being loaded."""

import signal

from clinaug_fast.cli.unbegun import nothing_begun


def run() -> None:
    signal.signal(signal.SIGTERM, nothing_begun)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in a shell's background
        signal.signal(signal.SIGINT, nothing_begun)

    from clinaug_fast.cli.main import run as run_command

    run_command()
