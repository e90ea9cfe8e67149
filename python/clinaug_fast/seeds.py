"""Seeds: whatever is drawn has a stream of its own, named by its purpose."""

import threading

import numpy as np

# Held while layers draw their first weights: from torch's global generator, which is one for all threads.
FIRST_WEIGHTS = threading.Lock()


def derived_seed(purpose: str, *numbers: int) -> int:
    """A seed of 32 bits for torch; the numbers are the user's seed, then the fold, the label, ...

    The purpose comes first: numpy pads entropy with zeros, so that (seed, fold) alone were also (seed, fold, 0), and a
    generator would be asked for clips with the very numbers that it was trained on.
    """
    entropy = [int.from_bytes(purpose.encode(), "little"), *numbers]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
