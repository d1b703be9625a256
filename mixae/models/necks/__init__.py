from .disentanglement import Disentanglement
from .simple_feature_pyramid import SimpleFeaturePyramid

__all__ = ['Disentanglement', 'SimpleFeaturePyramid']
