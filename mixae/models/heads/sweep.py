"""Many linear classifiers on one frozen encoder, trained in one pass.

Shape legend: B images, N tokens, P of them before the patches, D width, C classes, R rates,
F features, K = F * R candidates.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmpretrain.models.heads import ClsHead
from torch import Tensor, nn

from mixae.errors import ConfigError
from mixae.models.layers.batch_norm import GlobalBatchNorm
from mixae.registry import MODELS

# DINOv2's, per 256 images of the effective batch (Oquab et al. 2024, Appendix B.3).
RATES = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1)
POOLS = {  # of all tokens, P of them before the patches
    'cls': lambda x_BND, P: x_BND[:, 0],
    'avg': lambda x_BND, P: x_BND[:, P:].mean(dim=1),
    'both': lambda x_BND, P: torch.cat([x_BND[:, 0], x_BND[:, P:].mean(dim=1)], dim=1),
}


@MODELS.register_module()
class SweepHead(ClsHead):
    """As DINOv2's linear evaluation: every feature at every learning rate, at the cost of one.

    A candidate is a feature (class token, average of the patch tokens, or both, of the last layer
    or of the last four side by side) behind a batch norm without affine **(ours, as MAE: features
    of masked image modelling differ in scale from channel to channel)**, and a linear layer with
    a learning rate of its own. DINOv2 has no candidate with averages alone, and takes the average
    of the last layer alone beside several class tokens.

    All run in one optimiser with one rate: the loss of a candidate is multiplied by its rate
    instead, which for SGD with momentum and without weight decay is the same. So the optimiser's
    rate must be 1 per 256 images (``base_lr = 1.0``).

    Args:
        num_classes (int): C.
        in_channels (int): D.
        rates (Sequence[float]): Per 256 images. Defaults to DINOv2's 13.
        layers (Sequence[int]): How many of the encoder's outputs, from the last, make a feature.
            Defaults to (1, 4).
        pools (Sequence[str]): Of 'cls', 'avg' and 'both'. Defaults to all three; to 'avg' where the
            encoder has no class token.
        num_extra_tokens (int): P, the encoder's class token and registers, which are no patches;
            taken from the encoder. Defaults to 1.

    Raises:
        ConfigError: An unknown pool, or rates or layers that are not positive.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        rates: Sequence[float] = RATES,
        layers: Sequence[int] = (1, 4),
        pools: Sequence[str] = tuple(POOLS),
        num_extra_tokens: int = 1,
        **kwargs,
    ) -> None:
        super().__init__(loss=dict(type='CrossEntropyLoss'), **kwargs)
        if not rates or min(rates) <= 0 or not layers or min(layers) < 1:
            raise ConfigError(f'rates={rates}, layers={layers}: all must be positive.')
        if not pools or set(pools) - POOLS.keys():
            raise ConfigError(f'pools={pools}: expected some of {", ".join(POOLS)}.')
        self.num_classes = num_classes
        self.num_extra_tokens = num_extra_tokens
        self.register_buffer('rates', torch.tensor(rates), persistent=False)
        self.features = [(count, pool) for count in layers for pool in pools]
        widths = [
            count * in_channels * (2 if pool == 'both' else 1) for count, pool in self.features
        ]
        self.norms = nn.ModuleList(GlobalBatchNorm(width) for width in widths)
        self.linears = nn.ModuleList(nn.Linear(width, len(rates) * num_classes) for width in widths)
        for linear in self.linears:
            nn.init.normal_(linear.weight, std=0.01)
            nn.init.zeros_(linear.bias)
        self.chosen: int | None = None  # the candidate that predictions are of

    @classmethod
    def derive(cls, options: dict, facts) -> None:
        """The width is the encoder's; the optimiser must be one in which a loss's factor is a rate.

        Raises:
            ConfigError: It is not, or the encoder does not return that many layers, or no class
                token.
        """
        facts.fill(options, in_channels=facts.encoder.get('width'))
        facts.tell_extra_tokens(options)
        if not facts.encoder.get('has_class_token', True):
            wanted = [pool for pool in options.get('pools', ()) if pool != 'avg']
            if wanted:
                raise ConfigError(
                    f'model.head.pools={options["pools"]}: the encoder has no class token, which '
                    f'{" and ".join(wanted)} need. Set model.head.pools=["avg"].'
                )
            options['pools'] = ['avg']
            facts.note('model.head.pools is ["avg"]: the encoder has no class token.')
        wrapper = facts.cfg.get('optim_wrapper') or {}
        optimizer = wrapper.get('optimizer') or {}
        wrong = optimizer.get('type') != 'SGD' or optimizer.get('weight_decay')
        if facts.trains and (wrong or wrapper.get('clip_grad')):
            raise ConfigError(
                f'optim_wrapper.optimizer={dict(optimizer)}: mixae.SweepHead needs SGD without '
                'weight decay and without clip_grad, where the factor of a loss is a learning rate.'
            )
        outputs = len(facts.encoder.get('out_channels') or ()) or math.inf
        if max(options.get('layers', (1, 4))) > outputs:
            raise ConfigError(
                f'model.head.layers={options.get("layers", (1, 4))}: model.backbone.out_indices '
                f'gives {outputs} layers.'
            )

    @property
    def names(self) -> list[tuple[str, float]]:
        """Feature and rate of every candidate, in their order."""
        return [
            (f'last {count if count > 1 else "layer"}, {pool}', float(f'{rate:g}'))
            for count, pool in self.features
            for rate in self.rates.tolist()
        ]

    def scores(self, feats: Sequence[Tensor]) -> Tensor:
        """Logits of every candidate, (B, K, C), from the encoder's outputs, each (B, N, D)."""
        found = []
        for (count, pool), norm, linear in zip(
            self.features, self.norms, self.linears, strict=True
        ):
            tokens = feats[-count:]
            x_BE = torch.cat([POOLS[pool](x, self.num_extra_tokens) for x in tokens], dim=1)
            found.append(linear(norm(x_BE)).unflatten(1, (-1, self.num_classes)))
        return torch.cat(found, dim=1).float()

    def loss(self, feats: Sequence[Tensor], data_samples: list, **kwargs) -> dict[str, Tensor]:
        """``loss``, of which the rates are factors, and ``lowest``, the best candidate's own."""
        labels_B = torch.cat([sample.gt_label for sample in data_samples])
        scores_BKC = self.scores(feats)
        losses_BK = F.cross_entropy(
            scores_BKC.transpose(1, 2),
            labels_B[:, None].expand(-1, scores_BKC.shape[1]),
            reduction='none',
        )
        losses_K = losses_BK.mean(dim=0)
        rates_K = self.rates.repeat(len(self.features))
        return dict(loss=(rates_K * losses_K).sum(), lowest=losses_K.detach().min())

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Logits of the chosen candidate, (B, C)."""
        return self.scores(feats)[:, self.chosen]
