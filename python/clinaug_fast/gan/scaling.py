"""Log-mel units to the generator's [-1, 1] and back, with limits taken from training clips alone."""

from dataclasses import dataclass

import numpy as np

from clinaug_fast.errors import InputError

QUANTILES = (0.001, 0.999)  # a few extreme bins would otherwise squeeze all others


@dataclass(frozen=True)
class Scaling:
    """`low` becomes -1 and `high` becomes 1; both are in the log-mel's own units."""

    low: float
    high: float

    @classmethod
    def fit(cls, clips: np.ndarray, classes: np.ndarray) -> "Scaling":
        """The lowest 0.1 % and the highest 99.9 % quantile of a label's clips: a rare label that is louder than others
        keeps its levels, as it is drawn as often as they are. InputError where both are the same.

        clips: (n, n_mels, n_frames); classes: (n,).
        """
        by_label = [np.quantile(clips[classes == number], QUANTILES) for number in np.unique(classes)]
        low, high = float(np.min(by_label)), float(np.max(by_label))
        if not high > low:
            raise InputError(
                f"the training clips' values are nearly all {low:g}; expected sounds. Look at the corpus, then "
                "preprocess again"
            )
        return cls(low, high)

    def to_unit(self, clips: np.ndarray) -> np.ndarray:
        """float32, clipped to [-1, 1]."""
        return np.clip((clips - self.low) * (2 / (self.high - self.low)) - 1, -1, 1).astype(np.float32)

    def to_log_mel(self, unit: np.ndarray) -> np.ndarray:
        """The inverse, float32."""
        return ((unit + 1) * ((self.high - self.low) / 2) + self.low).astype(np.float32)
