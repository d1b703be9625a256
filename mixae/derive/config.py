"""From a config as it is written, with its overrides, to one that can be run."""

import copy
import os

from mmengine.config import Config

from mixae.checkpoints.account import check_card
from mixae.derive.checks import (
    check_options,
    check_plain_parts,
    check_top_level,
    check_type,
    check_words,
)
from mixae.derive.components import LOADERS, Component, components
from mixae.derive.facts import AUTO, REQUIRED, Facts
from mixae.derive.schedule import derive_learning_rate, derive_schedule
from mixae.derive.third_party import TABLE, walk
from mixae.derive.values import check_complete, check_values, nodes
from mixae.errors import ConfigError, describe_error

# What the Runner reads; other top-level entries are a config's own helpers, such as pipelines.
READ = (
    'model',
    'pretrained',
    *LOADERS,
    *(f'{split}_cfg' for split in ('train', 'val', 'test')),
    *(f'{split}_evaluator' for split in ('val', 'test')),
    'default_hooks',
    'custom_hooks',
    'optim_wrapper',
    'param_scheduler',
    'visualizer',
)


def derive(cfg: Config, world_size: int = 1, cuda: bool = True) -> tuple[Config, list[str]]:
    """Fill in what follows from the rest of a config, and check what can be known at start.

    Every component takes part: a class with a classmethod ``derive(options, facts)`` by that, one
    of OpenMMLab by :data:`mixae.derive.third_party.TABLE`. ``options`` is the component's own part
    of the config, changed in place; what it checks, it raises as a :class:`ConfigError`.

    Args:
        cfg (Config): The config after ``--cfg-options``. Not changed.
        world_size (int): Number of processes.
        cuda (bool): Whether the run has a GPU; without one SyncBN becomes BN.

    Returns:
        tuple[Config, list[str]]: The derived config, and a line for each thing a person should
        know (the effective batch and learning rate among them).

    Raises:
        ConfigError: Contradictions, an option that must be given or that nothing follows for, and
            what a run would only trip over later.
    """
    cfg = copy.deepcopy(cfg)
    check_top_level(cfg)
    check_values(cfg)
    check_words(cfg)
    check_complete(cfg)
    check_card(cfg.get('encoder_card') or {})
    facts = Facts(cfg, world_size, cuda)
    _derive_start(facts)
    found = components(cfg)
    for one in found:
        check_type(one)
    for one in found:
        if one.path == 'model.backbone' and hasattr(one.cls, 'dimensions'):
            _derive_component(one, facts)  # which layers it returns is one of its dimensions
            facts.encoder = one.cls.dimensions(one.options)
    for one in found:
        _derive_component(one, facts)
    for one in components(cfg):  # again: a rule may have put another class in a place
        if one.cls is not None:
            check_options(one.options, one.cls, one.path)
    check_plain_parts(cfg)
    _derive_annotations(facts)
    _derive_loaders(facts)
    derive_schedule(facts)
    derive_learning_rate(facts)
    if not cuda:
        _fit_to_cpu(facts)
    _check_filled(cfg)
    return cfg, facts.notes


def drop_own_scope(cfg: Config) -> None:
    """Remove the ``_scope_='mixae'`` that mmengine adds to what ``mixae::`` bases bring, in place.

    Our configs name our types with their scope and leave others to ``default_scope``. With it they
    are the same config, of the same hash, as in a checkout.
    """
    for part in walk(cfg._cfg_dict):
        if part.get('_scope_') == 'mixae':
            del part['_scope_']


def _derive_component(one: Component, facts: Facts) -> None:
    facts.fill(one.options, num_classes=facts.num_classes, data_root=facts.data_root)
    if one.cls is None:
        return
    if hasattr(one.cls, 'derive'):
        try:
            one.cls.derive(one.options, facts)
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f'{one.path}: {error}') from None
        except (TypeError, AttributeError, LookupError) as error:  # a value of a kind not foreseen
            raise ConfigError(f'{one.path} cannot be derived: {describe_error(error)}.') from error
        return
    rule = next((TABLE[name] for name in one.names if name in TABLE), None)
    if isinstance(rule, dict):
        facts.fill(one.options, **{key: facts.encoder.get(name) for key, name in rule.items()})
    elif rule is not None:
        rule(one.options, facts)


def _derive_start(facts: Facts) -> None:
    """Where the encoder starts: a checkpoint, or 'scratch' said in so many words."""
    cfg = facts.cfg
    backbone = cfg.get('model', {}).get('backbone', {})
    start = cfg.get('pretrained')
    if cfg.get('resume'):  # the weights are those of the checkpoint that is resumed
        backbone.pretrained = None
        return
    if start in (REQUIRED, ''):
        raise ConfigError(
            'This config starts from a pre-training checkpoint and none was given: add '
            '--pretrained CHECKPOINT, or --pretrained scratch for random weights.'
        )
    if start == 'scratch':
        facts.note('The encoder starts from random weights (--pretrained scratch).')
        start = None
    given = backbone.get('pretrained')
    if given == AUTO:
        backbone.pretrained = start
    elif 'pretrained' in cfg and given != start:
        # The encoder would load one thing, and the record tell another.
        raise ConfigError(
            f'model.backbone.pretrained={given!r}, but the run starts from pretrained='
            f"{cfg.pretrained!r}: write model.backbone.pretrained='auto'."
        )


def _derive_annotations(facts: Facts) -> None:
    """A COCO evaluator reads the annotation file of the data set that it evaluates."""
    for split in ('val', 'test'):
        for evaluator in walk(facts.cfg.get(f'{split}_evaluator')):
            for dataset in walk(facts.cfg.get(f'{split}_dataloader')):
                root, file = dataset.get('data_root'), dataset.get('ann_file')
                if isinstance(root, str) and isinstance(file, str):
                    facts.fill(evaluator, ann_file=os.path.join(root, file))


def _derive_loaders(facts: Facts) -> None:
    """No persistent workers where there are none, no pinned memory without a GPU."""
    for name in LOADERS:
        if loader := facts.cfg.get(name):
            if loader.get('num_workers', 0) == 0:
                loader.persistent_workers = False
                loader.prefetch_factor = None
            if not facts.cuda:
                loader.pin_memory = False


def _fit_to_cpu(facts: Facts) -> None:
    """SyncBN and mmengine's float16 wrapper assert a GPU."""
    replaced = [node for node in walk(facts.cfg._cfg_dict) if node.get('type') == 'SyncBN']
    for node in replaced:
        node['type'] = 'BN'
    if replaced:
        facts.note(f'No GPU: {len(replaced)} SyncBN layers of the config run as BN.')
    wrapper = facts.cfg.get('optim_wrapper') or {}
    if wrapper.get('type') == 'AmpOptimWrapper':
        wrapper.type = 'OptimWrapper'
        for key in ('loss_scale', 'dtype', 'use_fsdp'):
            wrapper.pop(key, None)
        facts.note('No GPU: AmpOptimWrapper (float16) runs as OptimWrapper (float32).')


def _check_filled(cfg: Config) -> None:
    read = {name: cfg.get(name) for name in READ}
    for marker, problem in (
        (REQUIRED, 'must be given'),
        (AUTO, "is 'auto', and nothing in this config says what follows: give a value"),
    ):
        left = [path for path, value in nodes(read) if isinstance(value, str) and value == marker]
        if left:
            more = f' (and {len(left) - 4} more)' if len(left) > 4 else ''
            raise ConfigError(f'{", ".join(left[:4])}{more} {problem}.')
