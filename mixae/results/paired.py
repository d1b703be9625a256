"""How surely one row is better than another: differences of pairs of runs, one pair for each seed.

Rows are compared by Student's t on the differences (the paired t test), as their scatter over seeds
is what the rows have in common least. With the three to five seeds of a study a bootstrap has too
few resamples for an interval of 95 %; the price of t is that it takes the differences for normal.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

CONFIDENCE = 0.95
POWER = 0.8
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Difference:
    """The mean of `pairs` differences; its interval is `mean` ± `half`.

    `half` is infinite where the differences say nothing of their spread: a single pair, or pairs
    that all differ by the same. `spread` is their sample standard deviation.
    """

    mean: float
    half: float
    spread: float
    pairs: int

    @property
    def seeds_needed(self) -> int | None:
        """How many seeds would show a difference of this mean and spread, with a power of 80 %.

        None where the mean or the spread is zero, or more than `MOST_SEEDS` would be needed.
        """
        from scipy.special import nctdtr, stdtrit  # here: slow to import, and seldom needed

        def would_show(seeds: int) -> bool:
            limit = stdtrit(seeds - 1, (1 + CONFIDENCE) / 2)
            # The chance that the t of such pairs, which is noncentral, stays below the limit.
            return nctdtr(seeds - 1, effect * math.sqrt(seeds), limit) <= 1 - POWER

        if not self.mean or not self.spread:
            return None
        effect = abs(self.mean) / self.spread
        seeds = 2 + bisect_left(range(2, MOST_SEEDS + 1), True, key=would_show)
        return seeds if seeds <= MOST_SEEDS else None


def mean_over_seeds(by_seed: Mapping[str, float]) -> Difference | None:
    """The mean of a row's results with its interval: that of their differences from nothing."""
    return paired_difference(by_seed, dict.fromkeys(by_seed, 0.0))


def shared_means(one: Mapping[str, float], other: Mapping[str, float]) -> tuple[float, float]:
    """The means of two rows over the seeds that both have, at least one."""
    shared = one.keys() & other.keys()
    return tuple(fmean(by_seed[seed] for seed in shared) for by_seed in (one, other))


def paired_difference(one: Mapping[str, float], other: Mapping[str, float]) -> Difference | None:
    """The mean difference of the results that two rows have for the same seeds, with its interval.

    Args:
        one: results by seed.
        other: those that are subtracted.

    Returns:
        None where they have no seed in common.
    """
    from scipy.special import stdtrit

    differences = [one[seed] - other[seed] for seed in one if seed in other]
    pairs = len(differences)
    if not pairs:
        return None
    mean = math.fsum(differences) / pairs
    squares = math.fsum((difference - mean) ** 2 for difference in differences)
    spread = math.sqrt(squares / (pairs - 1)) if pairs > 1 else 0.0
    # What is left by the rounding of sums is no spread.
    if spread <= 1e-9 * max(map(abs, [*one.values(), *other.values()])):
        return Difference(mean, math.inf, 0.0, pairs)
    half = float(stdtrit(pairs - 1, (1 + CONFIDENCE) / 2)) * spread / math.sqrt(pairs)
    return Difference(mean, half, spread, pairs)
