from .multi_scale import MultiScaleSegmentor

__all__ = ['MultiScaleSegmentor']
