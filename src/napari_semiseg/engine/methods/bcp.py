"""Bidirectional copy-paste."""

from __future__ import annotations

from napari_semiseg.engine.methods.base import register
from napari_semiseg.engine.methods.copy_paste import CopyPasteMethod


@register
class BCP(CopyPasteMethod):
    """Labelled and unlabelled crops are pasted into each other.

    Bai et al., "Bidirectional copy-paste for semi-supervised medical image
    segmentation", CVPR 2023. With a box M: x = M a + (1 - M) b, once with a
    labelled and once with b labelled; (CE + Dice) / 2 on the labelled voxels, and
    w times the same on the others, whose labels are the teacher's. At first,
    labelled crops are pasted into each other. Departures: no largest component
    per crop, which can delete a true second part; the SDM head is trained on the
    labelled voxels, as far as a crop shows their surroundings.
    """

    name = "bcp"
    title = "BCP: bidirectional copy-paste"
    cite = "Bai et al., CVPR 2023"
