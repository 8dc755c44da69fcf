"""The image and mask layers of one case, and the tool the user holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_semiseg.widgets.planes import NAMES
from napari_semiseg.widgets.sources import contrast_of, direct_colours

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.project.cases import Case

MASK_NAME = "mask"
MASK_OPACITY = 0.5
BRUSH_VOXELS = 8
TOOL_STATE = ("brush_size", "selected_label", "contour", "opacity", "visible", "mode")
"""In this order: setting ``visible`` puts the tool down."""


class CaseLayers:
    """Puts the layers of a case into a viewer and takes them out again.

    Every case and every prediction gets layers of its own: napari keeps the undo
    history of a layer whose data is replaced, and Ctrl+Z would then write voxels of
    one mask into another.

    Attributes
    ----------
    image, mask : layer or None
        What is in the viewer now.
    """

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self.image: Image | None = None
        self.mask: Labels | None = None
        self._options: dict[str, Any] = {}
        self._tool: dict[str, Any] = {}
        self._values: tuple[int, ...] = ()

    def show_image(self, case: Case, folder: Path, voxels: NDArray[Any]) -> None:
        """Show the image of a case in place of the layers of the one before.

        The old layers go last: without any, napari would take its slider away and
        draw in the middle of that.

        Parameters
        ----------
        case : Case
            Gives the spacing; obliqueness is not drawn, napari cannot slice it.
        folder : Path
            The project, noted in the layers' metadata for the writer.
        voxels : ndarray (Z, Y, X)
            Shown without a copy.
        """
        self._options = {
            "scale": case.geometry.spacing_mm,
            "units": ("mm", "mm", "mm"),
            "axis_labels": NAMES,
            "metadata": {"semiseg": {"project": str(folder), "case": case.id}},
        }
        before, held = self.image, self.mask
        # napari takes the tool away from a layer that is no longer the active one.
        if held is not None:
            self._tool = {name: getattr(held, name) for name in TOOL_STATE}
        image = self.viewer.add_layer(
            Image(
                voxels,
                name=case.id,
                colormap="gray",
                contrast_limits=contrast_of(voxels),
                **self._options,
            )
        )
        self.mask = None
        self.image = image
        if held is not None:
            held.events.selected_label.disconnect(self._keep_to_classes)
            self._remove(held)
        self._remove(before)

    def show_mask(self, values: NDArray[np.uint8], scheme: LabelScheme) -> Labels:
        """Add a mask in place of the present one, with the same tool in hand."""
        self.drop_mask()
        self._values = (0, *scheme.values)
        mask = Labels(
            np.ascontiguousarray(values, dtype=np.uint8),
            name=MASK_NAME,
            opacity=MASK_OPACITY,
            colormap=DirectLabelColormap(color_dict=direct_colours(scheme)),
            **self._options,
        )
        mask.selected_label = scheme.values[0]
        mask.brush_size = BRUSH_VOXELS
        mask.events.selected_label.connect(self._keep_to_classes)
        self.mask = self.viewer.add_layer(mask)
        self.viewer.layers.selection.active = mask
        for name, value in self._tool.items():
            setattr(mask, name, value)
        return mask

    def drop_mask(self) -> None:
        """Remove the mask; the next one is given its tool."""
        mask, self.mask = self.mask, None
        if mask is None:
            return
        mask.events.selected_label.disconnect(self._keep_to_classes)
        self._tool = {name: getattr(mask, name) for name in TOOL_STATE}
        self._remove(mask)

    def drop(self) -> None:
        """Remove both layers."""
        self.drop_mask()
        image, self.image = self.image, None
        self._remove(image)

    def _remove(self, layer: Any) -> None:
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)

    def _keep_to_classes(self, event: Any) -> None:
        """Let nobody paint a value that is no class of the project."""
        mask = event.source
        if mask.selected_label not in self._values:
            chosen = mask.selected_label
            mask.selected_label = min(self._values, key=lambda v: abs(v - chosen))
