"""timm's models by their names: built, described and downloaded."""

import difflib
import inspect

import timm
import torch
from torch import nn

from mixae.errors import ConfigError

_DESCRIBED: dict[str, nn.Module] = {}


def create(name: str, args: dict) -> nn.Module:
    """timm's model of a name, without its head and ready for images of any size.

    Raises:
        ConfigError: An unknown name, or arguments that the model does not take.
    """
    name = _checked_name(name)
    with torch.device('meta'):
        described = _build(name, {})
    accepted = inspect.signature(type(described).__init__).parameters
    options = dict(num_classes=0)
    if 'dynamic_img_size' in accepted:
        options['dynamic_img_size'] = True
    if getattr(described, 'global_pool', None) == 'map':
        options['global_pool'] = ''  # attention pooling is a head
    if 'img_size' in args and 'img_size' not in accepted:
        args = {key: value for key, value in args.items() if key != 'img_size'}
    model = _build(name, options | args)
    if not hasattr(model, 'forward_intermediates'):
        raise ConfigError(f'model={name!r} has no feature maps in timm: choose another encoder.')
    return model


def _build(name: str, options: dict) -> nn.Module:
    try:
        return timm.create_model(name, pretrained=False, **options)
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(f'model={name!r} with {options}: {error}') from error
    except OSError as error:  # hf-hub: reads the model's configuration from the network
        raise ConfigError(
            f'model={name!r} needs the network, which cannot be reached ({type(error).__name__}). '
            'Name the architecture as timm does and give a local file.'
        ) from error


def _checked_name(name: str) -> str:
    if name.startswith(('hf-hub:', 'hf_hub:')):
        return name
    name = name.removeprefix('timm:').removeprefix('timm/')
    architecture, _, tag = name.partition('.')
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.5)
        raise ConfigError(
            f'model={name!r} is no model of timm {timm.__version__}'
            + (f'; near it are {", ".join(near)}.' if near else '.')
        )
    tags = {one.partition('.')[2] for one in timm.list_pretrained(f'{architecture}.*')}
    if tag and tag not in tags:
        raise ConfigError(
            f'model={name!r}: {architecture} has no weights {tag!r}; there are '
            f'{", ".join(sorted(tags)) or "none"}.'
        )
    return name


def described(options: dict) -> nn.Module:
    """The encoder on the meta device: its sizes without its memory."""
    args = dict(options.get('model_args') or {})
    if options.get('img_size') is not None:
        args['img_size'] = options['img_size']
    if 'model' not in options:
        raise ConfigError("model.backbone: TimmEncoder needs model='...', a name of timm.")
    key = f'{options["model"]} {sorted(args.items())}'  # lists and dicts have no hash
    if key not in _DESCRIBED:
        with torch.device('meta'):
            _DESCRIBED[key] = create(options['model'], args)
    return _DESCRIBED[key]


def download(name: str) -> str:
    """The file of the weights that timm has under a name, from its cache or the network.

    Raises:
        ConfigError: No weights, or no network.
    """
    from huggingface_hub import hf_hub_download
    from timm.models._hub import download_cached_file

    name = _checked_name(name)
    with torch.device('meta'):
        cfg = _build(name, {}).pretrained_cfg
    try:
        if cfg.get('hf_hub_id'):
            # Safetensors hold no code; the reader refuses it in anything else.
            files = [cfg['hf_hub_filename']] if cfg.get('hf_hub_filename') else []
            return hf_hub_download(cfg['hf_hub_id'], (files or ['model.safetensors'])[0])
        if cfg.get('url'):
            return str(download_cached_file(cfg['url']))
    except OSError as error:
        raise ConfigError(
            f'The weights of {name} cannot be downloaded ({type(error).__name__}). Give a local '
            'file: --pretrained FILE.'
        ) from error
    raise ConfigError(f'timm has no weights for {name!r}: give a file, --pretrained FILE.')
