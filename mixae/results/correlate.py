"""Does one quantity predict another over runs: rank correlation with its interval."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mixae.errors import TableError
from mixae.results.compare import build_table
from mixae.results.paired import CONFIDENCE, mean_over_seeds
from mixae.results.record import RunRecord
from mixae.results.table import Table

LEAST = 5  # runs


@dataclass(frozen=True)
class Pairs:
    """Values of two columns for the same pre-training runs.

    Attributes:
        titles: Of the two columns, with units.
        points: By the name of the row: (x, y) of each of its runs.
    """

    titles: tuple[str, str]
    points: Mapping[str, list[tuple[float, float]]]

    @property
    def all(self) -> list[tuple[float, float]]:
        """The runs of all rows."""
        return [point for points in self.points.values() for point in points]


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho of `runs` runs, with its 95 % interval."""

    rho: float
    low: float
    high: float
    runs: int


def pair_columns(records: Sequence[RunRecord], x: str, y: str) -> Pairs:
    """Two columns of the leaderboard, run by run: runs pair by their row and seed.

    Raises:
        TableError: A column that is not there, or there with several data sets or protocols; no
            run has both.
    """
    table = build_table(records, columns=[x, y])
    columns = [only_column(table, name) for name in (x, y)]
    points = defaultdict(list)
    for row in table.rows:
        one, other = (row.cells.get(column.id) for column in columns)
        if one and other:
            shared = [seed for seed in one.by_seed if seed in other.by_seed]
            points[row.name] += [(one.by_seed[seed], other.by_seed[seed]) for seed in shared]
    if not any(points.values()):
        raise TableError(f'no run has both {x!r} and {y!r}: give the records of one study.')
    return Pairs(tuple(column.title for column in columns), dict(points))


def only_column(table: Table, name: str):
    """The one column of a name.

    Raises:
        TableError: None, or several data sets or protocols.
    """
    found = [column for column in table.columns if column.kind.key == name]
    if len(found) != 1:
        told = '; '.join(f'{one.dataset}: {one.note}' for one in found) or 'none'
        raise TableError(
            f'column {name!r}: expected one data set and protocol, not {len(found)} ({told}). Give '
            'the records of one.'
        )
    return found[0]


def rank_correlation(points: Sequence[tuple[float, float]]) -> RankCorrelation:
    """Spearman's rho with an interval by Fisher's z, whose variance is 1.06/(n - 3) (Fieller 1957).

    Raises:
        TableError: Fewer than 5 runs, or a quantity that is the same in all of them.
    """
    from scipy.special import ndtri  # here: slow to import, and seldom needed
    from scipy.stats import spearmanr

    runs = len(points)
    if runs < LEAST:
        raise TableError(f'{runs} runs have both: a rank correlation needs {LEAST} or more.')
    if any(len(set(values)) == 1 for values in zip(*points, strict=True)):
        raise TableError('one of the two is the same in all runs: it has no ranks.')
    rho = float(spearmanr(*zip(*points, strict=True)).statistic)
    z = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, rho)))
    half = float(ndtri((1 + CONFIDENCE) / 2)) * math.sqrt(1.06 / (runs - 3))
    return RankCorrelation(rho, math.tanh(z - half), math.tanh(z + half), runs)


def half_interval(by_seed: Mapping[str, float]) -> float | None:
    """Half of the 95 % interval (Student's t) of a mean over seeds.

    None where the seeds say nothing of their scatter: a single one, or equal results.
    """
    half = mean_over_seeds(by_seed).half
    return half if math.isfinite(half) else None
