from .disentanglement import Disentanglement

__all__ = ['Disentanglement']
