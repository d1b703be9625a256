from .checkpoint import CheckpointHook
from .finite import FiniteHook
from .preemption import PreemptionHook
from .provenance import ProvenanceHook
from .record import RunRecordHook
from .sanity_check import SanityCheckHook
from .seeding import SeedIterationHook
from .topk_accuracy import TopKAccuracyHook

__all__ = [
    'CheckpointHook',
    'FiniteHook',
    'PreemptionHook',
    'ProvenanceHook',
    'RunRecordHook',
    'SanityCheckHook',
    'SeedIterationHook',
    'TopKAccuracyHook',
]
