"""The parts of small pre-training models, with nothing left to derive."""


def mae_parts(arch: dict, img_size: int, patch_size: int, **backbone) -> dict:
    """Encoder, decoder of one layer, and head; new dicts on each call.

    Args:
        arch (dict): Of the encoder.
        img_size (int): Side of the images in pixels.
        patch_size (int): Side of a patch in pixels.
        **backbone: Further options of the encoder.
    """
    sizes = dict(arch=dict(arch), img_size=img_size, patch_size=patch_size)
    return dict(
        backbone=dict(type='mixae.MaskedViT', **sizes, **backbone),
        neck=dict(
            type='mmpretrain.MAEPretrainDecoder',
            num_patches=(img_size // patch_size) ** 2,
            patch_size=patch_size,
            embed_dim=arch['embed_dims'],
            decoder_embed_dim=16,
            decoder_depth=1,
            decoder_num_heads=2,
        ),
        head=dict(
            type='mmpretrain.MAEPretrainHead',
            norm_pix=True,
            patch_size=patch_size,
            loss=dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2'),
        ),
    )
