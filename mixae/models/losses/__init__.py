from .homologous_contrastive import HomologousContrastiveLoss
from .patch_distillation import PatchDistillationLoss

__all__ = ['HomologousContrastiveLoss', 'PatchDistillationLoss']
