"""``compile`` of a config: the loss of a model, computed by code that torch makes of it."""

import inspect
from collections.abc import Mapping

import torch
from mmengine.device import get_device
from torch import nn

from mixae.derive.checks import nearest
from mixae.derive.values import short
from mixae.errors import ConfigError, describe_error

# What is not to be chosen: the model is ours, graph breaks are allowed, and False turns it off.
_FIXED = {'model', 'fullgraph', 'disable'}


def compile_loss(model: nn.Module, options: bool | Mapping) -> None:
    """Let a model compute its loss, random draws and all, by code that ``torch.compile`` makes.

    mmengine compiles ``train_step`` with the optimiser in it, and draws masks by other generators
    than an uncompiled run. Here the numbers drawn are the same. Parameters keep their names, and
    evaluation stays as it is. Each size of a batch is compiled for itself unless ``dynamic`` says
    otherwise: a resumed run then meets the code that a straight run does.

    Args:
        model (nn.Module): With a ``loss``; before it is wrapped for distributed training.
        options (bool | Mapping): True, or options of ``torch.compile``: backend, mode, options,
            dynamic.

    Raises:
        ConfigError: An unknown option, or a value that torch refuses; no C++ compiler on a CPU, or
            what else keeps torch from compiling here.
    """
    given = {} if options is True else dict(options)
    known = inspect.signature(torch.compile).parameters.keys() - _FIXED
    for name in given:
        if name not in known:
            raise ConfigError(
                f'compile.{name}: torch.compile has no such option{nearest(name, known)}'
            )
    given = dict(dynamic=False) | given
    # Imported here: it takes seconds.
    from torch._inductor import config as inductor

    inductor.fallback_random = True  # draw by torch's own generators
    try:
        # Tried on something small, as torch says only at a first call what it lacks.
        with inductor.patch(fx_graph_cache=False):
            torch.compile(torch.sin, **given)(torch.zeros(64, device=get_device()))
        model.loss = torch.compile(model.loss, **given)
    except Exception as error:  # of torch's many kinds
        raise ConfigError(
            f'compile={short(options)} cannot be used: {describe_error(error)}. On a CPU torch '
            'needs a C++ compiler (g++, or the one that CXX names), on a GPU Triton and a C '
            'compiler. compile=False trains without.'
        ) from error
