import contextlib
import io

# mmdet prints, when it is imported, that an optional back-end of its is absent.
with contextlib.redirect_stdout(io.StringIO()):
    import mmdet.evaluation  # noqa: F401

from .accuracy import Accuracy
from .coco_metric import CocoMetric
from .features import extract_features, pool_tokens
from .iou_metric import IoUMetric
from .loops import FeatureProbeLoop
from .probes import LinearProbe, WeightedKNN
from .robustness import CorruptionError, SubsetAccuracy
from .watching import WatchHook

__all__ = [
    'Accuracy',
    'CocoMetric',
    'CorruptionError',
    'FeatureProbeLoop',
    'IoUMetric',
    'LinearProbe',
    'SubsetAccuracy',
    'WatchHook',
    'WeightedKNN',
    'extract_features',
    'pool_tokens',
]
