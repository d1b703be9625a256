"""Linear separability of i-MAE's features: Table 4 of the paper."""

from .command import format_table, name_rows, table_4
from .lasso import NORMALIZERS, Moments, RegressionScores, fit_lasso
from .measure import linear_separability
from .protocol import Protocol

__all__ = [
    'NORMALIZERS',
    'Moments',
    'Protocol',
    'RegressionScores',
    'fit_lasso',
    'format_table',
    'linear_separability',
    'name_rows',
    'table_4',
]
