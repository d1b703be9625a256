"""Efficient probing: attentive pooling with a few learnt queries.

Shape legend: B images, L patches, D width, Q queries, C classes.
"""

from collections.abc import Sequence

import torch
from mmpretrain.models.heads import ClsHead
from torch import Tensor, nn

from mixae.errors import ConfigError
from mixae.models.layers.batch_norm import GlobalBatchNorm
from mixae.registry import MODELS


@MODELS.register_module()
class EfficientProbeHead(ClsHead):
    """EP (Psomas et al. 2026, 'Attention, Please! Revisiting Attentive Probing', arXiv:2506.10178).

    Each of Q learnt queries attends to the patch tokens as they are, without projections of
    queries or keys, and gathers its own D / Q channels of the projected values. A batch norm
    without affine and a linear layer follow, as in MAE's linear probe.

    Args:
        num_classes (int): C.
        in_channels (int): D.
        num_queries (int): Q, which divides D. Defaults to 32.
        num_extra_tokens (int): The encoder's class token and registers, which are no patches;
            taken from the encoder. Defaults to 1.

    Raises:
        ConfigError: Q does not divide D.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_queries: int = 32,
        num_extra_tokens: int = 1,
        **kwargs,
    ) -> None:
        super().__init__(loss=dict(type='CrossEntropyLoss'), **kwargs)
        if num_queries < 1 or in_channels % num_queries:
            raise ConfigError(
                f'model.head.num_queries={num_queries}: expected a divisor of the width of the '
                f'encoder, {in_channels}.'
            )
        self.num_classes = num_classes
        self.num_extra_tokens = num_extra_tokens
        self.queries_QD = nn.Parameter(0.02 * torch.randn(num_queries, in_channels))
        self.values = nn.Linear(in_channels, in_channels, bias=False)
        self.norm = GlobalBatchNorm(in_channels)
        self.linear = nn.Linear(in_channels, num_classes)
        nn.init.trunc_normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    @classmethod
    def derive(cls, options: dict, facts) -> None:
        """The width and the number of tokens that are no patches are the encoder's."""
        facts.fill(options, in_channels=facts.encoder.get('width'))
        facts.tell_extra_tokens(options)

    def pool(self, tokens_BLD: Tensor) -> Tensor:
        """One feature of the patch tokens, (B, D)."""
        width = tokens_BLD.shape[-1]
        attention_BLQ = (tokens_BLD @ self.queries_QD.T * width**-0.5).softmax(dim=1)
        values_BLQd = self.values(tokens_BLD).unflatten(2, (len(self.queries_QD), -1))
        return torch.einsum('blq,blqd->bqd', attention_BLQ, values_BLQd).flatten(1)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Logits (B, C) from the encoder's last output, (B, extra tokens + L, D)."""
        tokens_BLD = feats[-1][:, self.num_extra_tokens :]
        return self.linear(self.norm(self.pool(tokens_BLD))).float()
