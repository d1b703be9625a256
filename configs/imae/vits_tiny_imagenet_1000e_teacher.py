# The MAE that vits_tiny_imagenet_1000e.py distils from.
_base_ = ['../mae/vits_tiny_imagenet_1000e.py']
