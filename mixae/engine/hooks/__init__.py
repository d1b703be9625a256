from .finite import FiniteHook
from .provenance import ProvenanceHook
from .record import RunRecordHook
from .seeding import SeedIterationHook
from .topk_accuracy import TopKAccuracyHook

__all__ = [
    'FiniteHook',
    'ProvenanceHook',
    'RunRecordHook',
    'SeedIterationHook',
    'TopKAccuracyHook',
]
