"""What a suite's results say, in words: named by a suite's ``checks`` with their options."""

import itertools
from collections import Counter

from mixae.results.paired import paired_difference, shared_means
from mixae.results.table import Table
from mixae.suite.state import Folder
from mixae.visualization.curves import curve_rows, final_accuracy

ISOLATES = 0.6  # TopK sampling accuracy below which homologous attention is not isolating images


def pretraining_pays(folder: Folder, table: Table, **bars: dict) -> list[str]:
    """How far is each pre-trained row above the one without pre-training, and is it enough?

    Args:
        folder (Folder): The suite's.
        table (Table): Of what is done; means over the seeds that both rows have.
        **bars (dict): By column of the table: ``gain``, the points better than the row without
            pre-training that count as clear, and ``least``, the value to reach. A method with a bar
            of its own has it by its name. Rows of one backbone and protocol are compared.
    """
    lines = []
    for column in table.columns:
        if column.kind.key not in bars:
            continue
        sign, unit = 1 if column.higher_is_better else -1, f' {column.unit}'.rstrip()
        rows = [row for row in table.rows if not row.source and column.id in row.cells]
        bases = [row for row in rows if row.pretraining is None]
        names = Counter(row.name for row in rows)
        for base, row in itertools.product(bases, (row for row in rows if row.pretraining)):
            one, other = (r.cells[column.id] for r in (row, base))
            difference = paired_difference(one.by_seed, other.by_seed)
            comparable = (row.backbone, one.protocol) == (base.backbone, other.protocol)
            if difference is None or not comparable:
                continue
            mean, without = shared_means(one.by_seed, other.by_seed)
            bar = {'least': None} | bars[column.kind.key]
            bar |= bar.get(row.method, {})
            enough, clear = sign * difference.mean >= bar['gain'], f'{bar["gain"]:g} points '
            clear += 'or more' if sign > 0 else 'lower or more'
            if bar['least'] is not None:
                enough = enough and sign * (mean - bar['least']) >= 0
                clear += f', and {bar["least"]:g}{unit} or {"more" if sign > 0 else "less"}'
            seeds = f'{difference.pairs} seed{"s" if difference.pairs > 1 else ""}'
            name = f'{row.name} ({row.pretraining_text})' if names[row.name] > 1 else row.name
            lines.append(
                f'{column.header}: {name} {mean:.1f}{unit}, {base.name} '
                f'{without:.1f}: {difference.mean:+.1f} points over {seeds}. Pre-training '
                f'{"pays" if enough else "does NOT pay clearly"} (clear: {clear}).'
            )
    return lines


def topk_isolates(folder: Folder, table: Table) -> list[str]:
    """How far is MixedAE's TopK sampling accuracy from chance at the end of pre-training?

    The paper's picture shows 70 to 80 % across layers; :data:`ISOLATES` and half of the way to it
    from chance are our marks.
    """
    lines = []
    for run in folder.suite.plan:
        if not run.is_pretraining or not folder.is_done(run):
            continue
        if run.config().model.type != 'mixae.MixedAE':
            continue
        rows = curve_rows(folder[run])
        if not rows:
            continue
        accuracy = final_accuracy(rows)
        mean, chance = sum(accuracy.values()) / len(accuracy), rows[-1]['chance']
        if mean >= ISOLATES:
            verdict = 'isolates'
        elif mean >= (chance + ISOLATES) / 2:
            verdict = 'begins to isolate'
        else:
            verdict = 'does NOT isolate'
        lines.append(
            f'Homologous attention {verdict} the images of a mixture ({run.name}): TopK sampling '
            f'accuracy {100 * mean:.1f} % (layers {100 * min(accuracy.values()):.1f} to '
            f'{100 * max(accuracy.values()):.1f} %), chance {100 * chance:.1f} %.'
        )
    return lines


CHECKS = {'pretraining_pays': pretraining_pays, 'topk_isolates': topk_isolates}
