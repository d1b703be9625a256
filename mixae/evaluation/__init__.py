import contextlib
import io

# mmdet prints, when it is imported, that an optional back-end of its is absent.
with contextlib.redirect_stdout(io.StringIO()):
    import mmdet.evaluation  # noqa: F401

from .accuracy import Accuracy
from .coco_metric import CocoMetric
from .features import extract_features, pool_tokens
from .iou_metric import IoUMetric
from .knn import WeightedKNN
from .loops import FeatureProbeLoop
from .probes import LinearProbe, LogisticRegression
from .robustness import CorruptionError, SubsetAccuracy
from .sweep import SweepLoop
from .watching import WatchHook

__all__ = [
    'Accuracy',
    'CocoMetric',
    'CorruptionError',
    'FeatureProbeLoop',
    'IoUMetric',
    'LinearProbe',
    'LogisticRegression',
    'SubsetAccuracy',
    'SweepLoop',
    'WatchHook',
    'WeightedKNN',
    'extract_features',
    'pool_tokens',
]
