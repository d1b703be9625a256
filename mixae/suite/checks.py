"""What a suite's results say, in words: named by a suite's ``checks``."""

from mixae.results.record import read_record
from mixae.suite.plan import SCRATCH
from mixae.suite.state import Folder
from mixae.visualization.curves import curve_rows, final_accuracy

ISOLATES = 0.6  # TopK sampling accuracy below which homologous attention is not isolating images
MARGIN = 5.0  # points of linear probe over a random encoder from which pre-training pays


def pretraining_pays(folder: Folder, margin: float = MARGIN) -> list[str]:
    """Does each pre-trained linear probe beat the one on a random encoder, seed by seed?

    Args:
        folder (Folder): The suite's; runs that are not done are passed over.
        margin (float): Points of accuracy that count as clear. Defaults to :data:`MARGIN`.
    """
    done = [run for run in folder.suite.evaluations if folder.is_done(run)]
    probes = [run for run in done if run.name.endswith('/linear')]
    records = {run.name: read_record(folder.output(run)) for run in probes}
    top1 = {name: record['metrics']['accuracy/top1']['value'] for name, record in records.items()}
    lines = []
    for run in probes:
        row, seed = run.name.removesuffix('/linear').rsplit('_seed', 1)
        base = top1.get(f'{SCRATCH}_seed{seed}/linear')
        if run.start == SCRATCH or base is None:
            continue
        gain = top1[run.name] - base
        verdict = 'pays' if gain >= margin else 'does NOT pay clearly'
        lines.append(
            f'Pre-training {verdict}: the linear probe of {row} (seed {seed}) is at '
            f'{top1[run.name]:.1f} %, on a random encoder at {base:.1f} % ({gain:+.1f} points; '
            f'clear from {margin:g}).'
        )
    return lines


def topk_isolates(folder: Folder) -> list[str]:
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
