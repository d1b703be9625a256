"""Multi-scale test of a segmentor.

Shape legend: K classes, H x W the original image.
"""

from mmengine.structures import PixelData
from mmseg.models import EncoderDecoder

from mixae.registry import MODELS


@MODELS.register_module()
class MultiScaleSegmentor(EncoderDecoder):
    """mmseg's ``EncoderDecoder`` whose test averages over several views of an image.

    Training, validation and parameter names are those of ``EncoderDecoder``, so that a checkpoint
    of the single-scale config is tested as it is. mmseg's ``SegTTAModel`` gives the same
    predictions (of one channel it takes the sigmoid twice), but renames every parameter and keeps
    the logits of all views: 12 views of 512x683 pixels are 2.5 GB at 150 classes, where this class
    keeps one sum.
    """

    def test_step(self, data: dict) -> list:
        """Predict one image from the views that ``TestTimeAug`` made of it.

        Args:
            data (dict): ``inputs`` and ``data_samples``, each a list over views of lists of one.

        Returns:
            list: One data sample, with ``pred_sem_seg`` (1, H, W) and the first view's truth.

        Raises:
            ValueError: More than one image a batch.
        """
        if len(data['inputs'][0]) != 1:
            raise ValueError(
                'A multi-scale test takes one image a batch: test_dataloader.batch_size=1, got '
                f'{len(data["inputs"][0])}.'
            )
        result, total_KHW = None, 0
        for i in range(len(data['inputs'])):
            (view,) = super().test_step({key: value[i] for key, value in data.items()})
            result = view if result is None else result
            logits_KHW = view.seg_logits.data
            # One channel is a probability already.
            total_KHW += logits_KHW.softmax(0) if len(logits_KHW) > 1 else logits_KHW
        if len(total_KHW) > 1:
            prediction = total_KHW.argmax(0, keepdim=True)
        else:
            prediction = (total_KHW / len(data['inputs']) > self.decode_head.threshold).long()
        del result.seg_logits
        result.pred_sem_seg = PixelData(data=prediction)
        return [result]
