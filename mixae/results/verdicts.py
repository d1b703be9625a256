"""What run records say of the papers' claims, and the page of it.

A claim is confirmed or refuted where the 95 % interval over seeds lies on one side, and not
separable otherwise.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill

from mixae.results.claims import CLAIMS, Claim
from mixae.results.compare import build_table
from mixae.results.names import COLUMNS
from mixae.results.paired import CONFIDENCE, mean_over_seeds, paired_difference, shared_means
from mixae.results.record import RunRecord
from mixae.results.rows import key_of
from mixae.results.table import Cell, Column, Row, Table
from mixae.results.watched import watched_metrics

CONFIRMED, REFUTED = 'confirmed', 'refuted'
UNDECIDED, NOT_RUN = 'not separable at this budget', 'not yet run'


@dataclass(frozen=True)
class Finding:
    """What records say of one claim in one column at one budget."""

    claim: Claim
    verdict: str
    column: str = ''
    budget: str = ''
    value: str = ''
    could_tell: bool = False  # a difference with an interval


def judge(low: float, high: float, claim: Claim) -> str:
    """The verdict on an interval: all of it where the claim says, none of it, or neither."""
    if claim.low < low and high < claim.high:
        return CONFIRMED
    if high < claim.low or low > claim.high:
        return REFUTED
    return UNDECIDED


def findings(records: Sequence[RunRecord], claims: Sequence[Claim] = CLAIMS) -> list[Finding]:
    """Every claim with what records say of it, at least one finding for each."""
    table = _table(records, claims)
    found = []
    for claim in claims:
        own = [one for name in claim.columns if table for one in _in_column(table, claim, name)]
        found += own or [Finding(claim, NOT_RUN)]
    return found


def _table(records: Sequence[RunRecord], claims: Sequence[Claim]) -> Table | None:
    """The table of all columns that claims name and records fill; None where there is none."""
    there = {(record['task'], name) for record in records for name in record['metrics']}
    there |= {('pretrain', name) for record in records for name in watched_metrics(record)}

    def is_there(name: str) -> bool:
        if name not in COLUMNS:
            return tuple(name.split(':')) in there
        kind = COLUMNS[name]
        return any(task in kind.tasks and metric in kind.metrics for task, metric in there)

    names = [name for name in dict.fromkeys(n for c in claims for n in c.columns) if is_there(name)]
    return build_table(records, columns=names) if names else None


def _in_column(table: Table, claim: Claim, name: str) -> list[Finding]:
    found = []
    for column in (one for one in table.columns if one.kind.key == name):
        rows = [row for row in table.rows if column.id in row.cells and _is_about(claim, row)]
        # A checkpoint from before the end of a schedule is no budget of its own.
        rows = [row for row in rows if not (row.pretraining or {}).get('part')]
        for row in (row for row in rows if claim.row.fits(row)):
            cell = row.cells[column.id]
            if claim.base is None:
                found.append(_level(claim, column, row, cell))
                continue
            for base in (one for one in rows if claim.base.fits(one)):
                other = base.cells[column.id]
                same = _setting(base, claim) == _setting(row, claim)
                if same and other.protocol == cell.protocol:
                    found.append(_difference(claim, column, row, cell, other))
    return [finding for finding in found if finding is not None]


def _is_about(claim: Claim, row: Row) -> bool:
    return claim.data in ('', (row.pretraining or {}).get('dataset'))


def _setting(row: Row, claim: Claim) -> str:
    """What two rows must share to be compared: backbone, data, labels and, mostly, images seen."""
    shared = ('dataset', 'images_seen') if claim.equal_images else ('dataset',)
    pretraining = row.pretraining or {}
    return key_of(
        row.backbone, *(pretraining.get(name) for name in shared), row.labels_in_pretraining
    )


def _level(claim: Claim, column: Column, row: Row, cell: Cell) -> Finding:
    level = mean_over_seeds(cell.by_seed)
    return _finding(claim, column, row, cell, f'{level.mean:.{column.digits}f}', level)


def _difference(claim: Claim, column: Column, row: Row, cell: Cell, base: Cell) -> Finding | None:
    difference = paired_difference(cell.by_seed, base.by_seed)
    if difference is None:
        return None
    digits, (own, other) = column.digits, shared_means(cell.by_seed, base.by_seed)
    value = f'{own:.{digits}f} against {other:.{digits}f}: {difference.mean:+.{digits}f}'
    return _finding(claim, column, row, cell, value, difference)


def _finding(claim: Claim, column: Column, row: Row, cell: Cell, value: str, difference) -> Finding:
    if math.isfinite(difference.half):
        value += f' ± {difference.half:.{column.digits}f}'
    seeds = f'{difference.pairs} seed{"s" if difference.pairs > 1 else ""}'
    low, high = difference.mean - difference.half, difference.mean + difference.half
    unit = f' ({column.unit})' if column.unit else ''
    (protocol,) = json.loads(cell.protocol)
    title = f'{column.kind.header}{unit}, {column.dataset}, {protocol["name"]}'
    seen = (row.pretraining or {}).get('images_seen')
    budget = f'{row.backbone_text}; {row.pretraining_text}'
    own = ' by the run itself' if (row.pretraining or {}).get('teacher') else ''
    budget += f' ({seen:,} images seen{own})' if seen else ''
    could_tell = claim.base is not None and math.isfinite(difference.half)
    return Finding(claim, judge(low, high, claim), title, f'{budget}; {seeds}', value, could_tell)


def claims_page(records: Sequence[RunRecord]) -> str:
    """The page in Markdown: a section for each claim, after a summary."""
    found = findings(records)
    counts = Counter(one.verdict for one in found)
    not_run = counts.pop(NOT_RUN, 0)
    differences = sum(one.could_tell for one in found)
    lines = [
        '# Claims of the papers, and what was measured',
        '',
        fill(
            'Generated by `tools/analysis/claims.py` from run records; do not edit. A claim holds '
            'for a budget and a data set: small ones, here. Intervals are of '
            f"{100 * CONFIDENCE:.0f} %, over differences of runs with the same seed (Student's t). "
            '*Confirmed* and *refuted*: the whole interval lies on one side. *Not separable*: it '
            'does not, or there is one seed alone. *Test* is the command at the length meant for '
            'it; the findings are of all lengths that have been run.',
            100,
        ),
        '',
        fill(
            f'{len(CLAIMS)} claims, {not_run} of them {NOT_RUN}. {counts.total()} findings on the '
            f'others: {_counted(counts) or "none"}. {differences} of them are '
            'differences of rows with several seeds. If no row differed from another, about '
            f'{(1 - CONFIDENCE) * differences:.0f} of these would be confirmed or refuted by '
            'chance.',
            100,
        ),
        '',
        '| | Claim | Source | Findings |',
        '| ---: | --- | --- | --- |',
    ]
    sections = []
    for number, claim in enumerate(CLAIMS, start=1):
        own = [one for one in found if one.claim is claim]
        counted = _counted(Counter(one.verdict for one in own if one.verdict != NOT_RUN))
        lines.append(f'| {number} | {claim.text} | {claim.paper} | {counted or NOT_RUN} |')
        sections += _section(number, claim, own)
    return '\n'.join(lines + sections) + '\n'


def _counted(counts: Counter) -> str:
    names = (CONFIRMED, REFUTED, UNDECIDED)
    return ', '.join(f'{counts[name]} {name}' for name in names if counts[name])


def _section(number: int, claim: Claim, own: Sequence[Finding]) -> list[str]:
    lines = [
        '',
        f'## {number}. {claim.paper}',
        '',
        claim.text,
        '',
        f'Test: `{claim.command}`',
        '',
    ]
    if claim.note:
        lines += [fill(f'Note: {claim.note}.', 100), '']
    if own[0].verdict == NOT_RUN:
        return [*lines, f'**{NOT_RUN}**']
    lines += ['| Verdict | Column | Measured | Budget |', '| --- | --- | --- | --- |']
    return lines + [
        f'| **{one.verdict}** | {one.column} | {one.value} | {one.budget} |' for one in own
    ]
