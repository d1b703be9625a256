from .batch_norm_head import BatchNormHead

__all__ = ['BatchNormHead']
