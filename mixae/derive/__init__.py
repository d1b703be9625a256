"""What follows from the rest of a config, and what can be known to fail.

``'auto'`` marks what is derived, ``'required'`` what must be given, ``None`` is off.
"""

from mixae.derive.config import derive
from mixae.derive.facts import AUTO, REQUIRED, Facts

__all__ = ['AUTO', 'REQUIRED', 'Facts', 'derive']
