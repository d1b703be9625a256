from .coco_metric import CocoMetric
from .features import extract_features, pool_tokens
from .loops import FeatureProbeLoop
from .probes import LinearProbe, WeightedKNN

__all__ = [
    'CocoMetric',
    'FeatureProbeLoop',
    'LinearProbe',
    'WeightedKNN',
    'extract_features',
    'pool_tokens',
]
