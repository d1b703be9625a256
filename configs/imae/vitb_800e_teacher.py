# The MAE that vitb_800e.py distils from.
_base_ = ['../mae/vitb_800e.py']
