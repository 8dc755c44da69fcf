"""Put the image and mask layers of one case into the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import DirectLabelColormap

from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.widgets.canvas.image_layers import ImageLayers
from napari_semiseg.widgets.canvas.mask_layer import MaskLayer
from napari_semiseg.widgets.canvas.mask_sources import direct_colours, value_names
from napari_semiseg.widgets.common.compat import at_once
from napari_semiseg.widgets.common.planes import NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.imaging.mask_encoding import MaskEncoding
    from napari_semiseg.project.cases.case import Case

MASK_NAME = "mask"
MASK_OPACITY = 0.5
BRUSH_VOXELS = 8
TOOL_STATE = ("brush_size", "selected_label", "contour", "opacity", "visible", "mode")
"""In this order: setting ``visible`` puts the tool down."""


class CaseLayers:
    """Puts the layers of a case into a viewer and takes them out again.

    The layers stay for the next case and get its voxels: to remove and add one takes
    napari longer than everything else that another case needs.

    Attributes
    ----------
    images : ImageLayers
        The channels of the case.
    mask : layer or None
        What is in the viewer now.
    encoding : MaskEncoding or None
        What the values of the mask mean.
    scheme : LabelScheme or None
        The classes of the mask.
    locked : set of int
        Classes that nothing paints over.
    show_unannotated : bool
        Whether what nobody has annotated is tinted.
    shown_again : bool or None
        While surfaces hide the mask: whether it, or the next one, is seen afterwards.
    """

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self.images = ImageLayers(viewer)
        self.mask: MaskLayer | None = None
        self.encoding: MaskEncoding | None = None
        self.locked: set[int] = set()
        self.show_unannotated = True
        self.scheme: LabelScheme | None = None
        self.shown_again: bool | None = None
        self._options: dict[str, Any] = {}
        self._tool: dict[str, Any] = {}

    @property
    def all(self) -> list[Any]:
        """Layers of the case in the viewer."""
        return [*self.images.all, *([] if self.mask is None else [self.mask])]

    def show_images(
        self, case: Case, folder: Path, voxels: Sequence[NDArray[Any]]
    ) -> None:
        """Show the images of a case in place of those before; its mask comes next.

        Parameters
        ----------
        case : Case
            Gives the spacing; obliqueness is not drawn, napari cannot slice it.
        folder : Path
            The project, noted in the layers' metadata for the writer.
        voxels : sequence of ndarray (Z, Y, X)
            A channel each; shown without a copy.
        """
        self._options = {
            "scale": case.geometry.spacing_mm,
            "units": ("mm", "mm", "mm"),
            "axis_labels": NAMES,
            "metadata": {"semiseg": {"project": str(folder), "case": case.id}},
        }
        too_many = self.images.show(case, voxels, self._options)
        if too_many:
            with at_once(self.viewer.layers):
                for layer in too_many:
                    self._remove(layer)

    def show_mask(
        self, values: NDArray[np.uint8], scheme: LabelScheme, encoding: MaskEncoding
    ) -> MaskLayer:
        """Show a mask in place of the present one, with the same tool in hand."""
        values = np.ascontiguousarray(values, dtype=np.uint8)
        if self.mask is not None and scheme == self.scheme:
            self.mask.show(values, self._options["scale"])
            self.mask.metadata = self._options["metadata"]
            return self.mask
        self.drop_mask()
        if scheme != self.scheme:
            self.locked.clear()
        self.encoding, self.scheme = encoding, scheme
        names = value_names(scheme, encoding)
        mask = MaskLayer(
            values,
            name=MASK_NAME,
            opacity=MASK_OPACITY,
            colormap=self._colours(scheme, encoding),
            properties={"index": list(names), "class": list(names.values())},
            **self._options,
        )
        self._lock(mask)
        mask.selected_label = scheme.values[0]
        mask.brush_size = BRUSH_VOXELS
        mask.events.selected_label.connect(self._keep_to_classes)
        self.mask = mask
        self.viewer.add_layer(mask)
        self.viewer.layers.selection.active = mask
        for name, value in self._tool.items():
            setattr(mask, name, value)
        return mask

    def set_locked(self, value: int, locked: bool) -> None:
        """Let nothing paint over a class, or let it again."""
        (self.locked.add if locked else self.locked.discard)(value)
        self._lock(self.mask)

    def toggle_mask(self) -> None:
        """Show or hide the mask."""
        if self.mask is not None:
            self.mask.visible = not self.mask.visible

    def toggle_unannotated(self) -> None:
        """Show or hide the tint of what nobody has annotated."""
        self.show_unannotated = not self.show_unannotated
        if self.mask is not None and self.scheme and self.encoding:
            selected = self.mask.selected_label
            self.mask.colormap = self._colours(self.scheme, self.encoding)
            self.mask.selected_label = selected

    def drop_mask(self) -> None:
        """Remove the mask; the next one is given its tool."""
        mask, self.mask = self.mask, None
        if mask is None:
            return
        mask.events.selected_label.disconnect(self._keep_to_classes)
        self._note_tool(mask)
        self._remove(mask)

    def drop(self) -> None:
        """Remove all layers."""
        with at_once(self.viewer.layers):
            self.drop_mask()
            for layer in self.images.drop():
                self._remove(layer)

    def _note_tool(self, mask: MaskLayer) -> None:
        self._tool = {name: getattr(mask, name) for name in TOOL_STATE}
        if self.shown_again is not None:
            self._tool["visible"] = self.shown_again

    def _remove(self, layer: Any) -> None:
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)

    def _colours(
        self, scheme: LabelScheme, encoding: MaskEncoding
    ) -> DirectLabelColormap:
        colours = direct_colours(
            scheme, encoding, show_unannotated=self.show_unannotated
        )
        return DirectLabelColormap(color_dict=colours)

    def _lock(self, mask: MaskLayer | None) -> None:
        if mask is not None and self.encoding is not None:
            proposed = self.encoding.proposed
            codes = {proposed[value] for value in self.locked}
            mask.protected = frozenset(self.locked | codes)

    def _keep_to_classes(self, event: Any) -> None:
        """Let nobody paint a value that is no class of the project.

        A proposal that was picked stands for its class.
        """
        mask, encoding = event.source, self.encoding
        if encoding is None:
            return
        allowed = (0, *encoding.values, UNANNOTATED)
        if mask.selected_label not in allowed:
            picked = np.array([mask.selected_label % 256], np.uint8)
            chosen = int(encoding.classes(picked)[0])
            mask.selected_label = min(allowed, key=lambda v: abs(v - chosen))
