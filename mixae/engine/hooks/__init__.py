from .finite import FiniteHook
from .provenance import ProvenanceHook
from .record import RunRecordHook
from .sanity_check import SanityCheckHook
from .seeding import SeedIterationHook
from .topk_accuracy import TopKAccuracyHook

__all__ = [
    'FiniteHook',
    'ProvenanceHook',
    'RunRecordHook',
    'SanityCheckHook',
    'SeedIterationHook',
    'TopKAccuracyHook',
]
