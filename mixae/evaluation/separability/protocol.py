"""What Table 4 of the i-MAE paper leaves open, settled."""

from dataclasses import dataclass

from mixae.derive.values import check_number, check_seed
from mixae.errors import ConfigError
from mixae.evaluation.separability.lasso import RegressionScores
from mixae.models.layers.masking import count_visible
from mixae.models.layers.mixture import MixingWeight


@dataclass(frozen=True)
class Protocol:
    """How Table 4 is measured; the paper leaves all of it open but the lasso **(ours)**.

    Attributes:
        alpha (float): The lasso's strength, as scikit-learn counts it.
        fit_part (float): Share of the training split that the regressor is fitted on, in (0, 1].
        subordinate (float): A constant share of the subordinate image, in [0, 0.5]: every image
            is the subordinate one once. The paper finds its separation best near 0.3.
        beta (float, optional): Draw the weights from Beta(b, b) instead.
        mask_ratio (float): Share of masked patches, in [0, 1); only visible ones are compared.
        same_class_ratio (float, optional): How pairs are drawn; None is uniform.
        normalizer (str): See :class:`RegressionScores`.
        seed (int): Of pairs, masks and drawn weights: every row sees the same.

    Raises:
        ConfigError: A value outside its range.
    """

    alpha: float = 1e-3
    fit_part: float = 1.0
    subordinate: float = 0.3
    beta: float | None = None
    mask_ratio: float = 0.75
    same_class_ratio: float | None = None
    normalizer: str = 'rms'
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.fit_part <= 1:
            raise ConfigError(f'fit_part={self.fit_part} is outside (0, 1].')
        check_number('alpha', self.alpha, float, '[0, inf)')
        if self.same_class_ratio is not None:
            check_number('same_class_ratio', self.same_class_ratio, float, '[0, 1]')
        check_seed(self.seed)
        count_visible(1, self.mask_ratio)
        RegressionScores(self.normalizer)
        self.weight()

    def weight(self) -> MixingWeight:
        """The mixing weight, as :class:`IMAE` takes it."""
        if self.beta is None:
            return MixingWeight(dict(subordinate=self.subordinate))
        return MixingWeight(dict(beta=self.beta))

    def __str__(self) -> str:
        factor = (
            f"a constant subordinate's share {self.subordinate}"
            if self.beta is None
            else f'weights from Beta({self.beta}, {self.beta})'
        )
        pairs = (
            'pairs uniform over the other images of the split'
            if self.same_class_ratio is None
            else f'a share {self.same_class_ratio} of same-class pairs'
        )
        return (
            f'Visible patches of the subordinate image, mask ratio {self.mask_ratio}, {factor}, '
            f'{pairs}; lasso alpha {self.alpha} fitted on a share {self.fit_part} of the training '
            f'split; NRMSE over the {self.normalizer} of the targets, R^2 averaged over outputs '
            f'(uniform_average), cosine averaged over patches; seed {self.seed}'
        )
