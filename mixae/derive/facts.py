"""What is known of a run while its components derive their options."""

from dataclasses import dataclass, field

from mmengine.config import Config

from mixae.derive.checks import check_options

AUTO = 'auto'
REQUIRED = 'required'


@dataclass
class Facts:
    """Handed to ``derive(options, facts)`` of every component of a config.

    Attributes:
        cfg (Config): The whole config.
        world_size (int): Number of processes.
        cuda (bool): Whether the run has a GPU.
        encoder (dict): ``dimensions`` of the backbone: width, depth, num_patches, patch_size and
            img_size (pixels), and ``out_channels``, the width of each feature map that it returns;
            of some also num_extra_tokens and has_class_token. Empty where the backbone's class does
            not tell.
        notes (list[str]): Lines for the log; :meth:`note` adds one.
    """

    cfg: Config
    world_size: int = 1
    cuda: bool = True
    encoder: dict = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def num_classes(self) -> int | None:
        """The config's ``num_classes``."""
        return self.cfg.get('num_classes')

    @property
    def data_root(self) -> str | None:
        """The config's ``data_root``."""
        return self.cfg.get('data_root')

    @property
    def trains(self) -> bool:
        """Whether the config has a training loop and data for it."""
        return bool(self.cfg.get('train_cfg') and self.cfg.get('train_dataloader'))

    @property
    def batch_size(self) -> int:
        """Training images per process and forward pass."""
        return self.cfg.train_dataloader.batch_size

    @property
    def accumulation(self) -> int:
        """Forward passes per optimiser step."""
        return (self.cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)

    @property
    def effective_batch(self) -> int:
        """Training images per optimiser step: per process x processes x accumulation."""
        return self.batch_size * self.world_size * self.accumulation

    def fill(self, options: dict | None, **values) -> None:
        """Set the keys of ``options`` that are there and 'auto'.

        A value of None is not known: the key stays 'auto', which ends in an error that names it.
        """
        for key, value in values.items():
            if options is not None and value is not None and options.get(key) == AUTO:
                options[key] = value

    def tell_extra_tokens(self, options: dict) -> None:
        """Give a head that reads tokens their number before the patches, where it is not 1."""
        if self.encoder.get('num_extra_tokens', 1) != 1:
            options['num_extra_tokens'] = self.encoder['num_extra_tokens']

    def check(self, options: dict, cls: type, path: str) -> None:
        """Make sure that ``options`` are arguments of ``cls``, where no ``type`` says so.

        Raises:
            ConfigError: Names the option, and those that there are.
        """
        check_options(options, cls, path)

    def note(self, text: str) -> None:
        """Say something in the log when the run starts."""
        self.notes.append(text)
