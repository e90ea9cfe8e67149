"""How far a mean over the folds of a cross-validation can be trusted."""

import math

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95
ALIKE = 1e-9  # equal scores, but for rounding


def corrected_interval(values: np.ndarray, n_folds: int) -> list[float] | None:
    """[low, high], the 95 % interval of the mean of `values`, one a fold of a cross-validation of `n_folds`; None where
    they show no spread to judge it by: of one fold, or all alike.

    Folds share most of their training clips, so their values vary less than those of independent repetitions would. The
    corrected resampled t (Nadeau and Bengio 2003, Inference for the generalization error, Machine Learning 52) takes
    1 / n + n_test / n_train for 1 / n in the variance of the mean, here with n_test / n_train = 1 / (n_folds - 1).
    """
    n = len(values)
    if n < 2 or np.ptp(values) < ALIKE:
        return None
    error = values.std(ddof=1) * math.sqrt(1 / n + 1 / (n_folds - 1))
    half = error * stdtrit(n - 1, (1 + CONFIDENCE) / 2)
    return [float(values.mean() - half), float(values.mean() + half)]
