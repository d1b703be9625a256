import contextlib
import io

# mmpretrain registers the classes that ours inherit and that our configs name. The mm* packages
# print, each at import, that an optional back-end of theirs is absent.
with contextlib.redirect_stdout(io.StringIO()):
    import mmpretrain.models  # noqa: F401

from .backbones import *  # noqa: F403
from .decode_heads import *  # noqa: F403
from .heads import *  # noqa: F403
from .layers import *  # noqa: F403
from .losses import *  # noqa: F403
from .necks import *  # noqa: F403
from .segmentors import *  # noqa: F403
from .selfsup import *  # noqa: F403
