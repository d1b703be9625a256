from .homologous_contrastive import HomologousContrastiveLoss

__all__ = ['HomologousContrastiveLoss']
