"""Ask an nnInteractive server, over its own client, which needs no PyTorch."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import ndimage

from napari_semiseg.assistants.prompts import crop_around
from napari_semiseg.assistants.registry import register
from napari_semiseg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.assistants.prompts import Crop, Kind, Prompt

URL, KEY = "NN_INTERACTIVE_URL", "NN_INTERACTIVE_API_KEY"
MOST_VOXELS = 16_000_000
"""Of the crop that is sent."""
AROUND_MM = 100.0
"""How far it reaches beyond all marks."""
CONNECT_S = 5.0


@register
class NnInteractive:
    """A network for prompts in 3D on a server.

    nnInteractive (Isensee et al., nnInteractive: Redefining 3D Promptable
    Segmentation, arXiv:2503.08373). All marks are sent, and the answer to all is taken.
    """

    name = "nninteractive"
    title = "nnInteractive"
    hint = "A click, stroke or box; a server answers with a network for any structure."
    takes: frozenset[Kind] = frozenset({"point", "scribble", "box"})
    needs_background = False
    settings: ClassVar = {
        URL: "Address of the server, such as http://gpu-box:1527",
        KEY: "Its key, where it asks for one",
    }

    def propose(
        self,
        image: NDArray[Any],
        spacing_mm: tuple[float, ...],
        prompts: Sequence[Prompt],
        current: NDArray[Any],
    ) -> NDArray[np.bool_]:
        """Mask that the server answers with."""
        url = os.environ.get(URL, "")
        if not url:
            raise ConfigError(
                "nnInteractive: expected the address of a server, found none; set "
                f"{URL}"
            )
        connect = _client()
        crop = crop_around(image, spacing_mm, prompts, MOST_VOXELS, AROUND_MM)
        target = np.zeros(crop.image.shape, np.uint8)
        try:
            with connect(url, connect_timeout=CONNECT_S) as session:
                session.set_image(crop.image[None], {"spacing": crop.spacing_mm})
                session.set_target_buffer(target)
                for number, prompt in enumerate(prompts, start=1):
                    _add(session, crop, prompt, run_prediction=number == len(prompts))
        except Exception as error:
            raise ConfigError(f"nnInteractive: {_explained(url, error)}") from error
        return crop.enlarged(target.astype(np.float32) - 0.5)


def _client() -> Callable[..., Any]:
    """Class of a session; it is loaded without PyTorch, which it only looks for."""
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession
    except ImportError as error:
        raise ConfigError(
            "nnInteractive: expected its client, found none; "
            "pip install 'napari-semiseg[nninteractive]'"
        ) from error
    finally:
        if hidden:
            del sys.modules["torch"]
    session: Callable[..., Any] = nnInteractiveRemoteInferenceSession
    return session


def _add(session: Any, crop: Crop, prompt: Prompt, *, run_prediction: bool) -> None:
    """Send a prompt; the answer, if any, is written into the target of the session."""
    places = crop.places(prompt.voxels)
    low, high = places.min(axis=0), places.max(axis=0) + 1
    options = {
        "include_interaction": prompt.foreground,
        "run_prediction": run_prediction,
    }
    if prompt.kind == "point":
        session.add_point_interaction(places[0].tolist(), **options)
    elif prompt.kind == "box":  # boxes of one slice are what it knows best
        middle = (low[0] + high[0] - 1) // 2
        low[0], high[0] = middle, middle + 1
        session.add_bbox_interaction(np.stack([low, high], axis=1).tolist(), **options)
    else:
        low = np.maximum(low - 1, 0)
        high = np.minimum(high + 1, crop.image.shape)
        line = np.zeros(high - low, np.uint8)
        line[tuple((places - low).T)] = 1
        thick = ndimage.binary_dilation(line).astype(np.uint8)
        box = np.stack([low, high], axis=1).tolist()
        session.add_scribble_interaction(thick, interaction_bbox=box, **options)


def _explained(url: str, error: Exception) -> str:
    """Say what is wrong with a server, and what to do, in one line."""
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        if status in (401, 403):
            return f"expected the key of {url}, found another or none; set {KEY}"
        text = " ".join(error.response.text.split())[:200]
        return f"expected an answer of {url}, found {status} {text}; see its log"
    if isinstance(
        error, httpx.TimeoutException | httpx.RequestError | httpx.InvalidURL
    ):
        return (
            f"expected a server at {url}, found none that answers ({error}); start "
            f"it, or correct {URL}"
        )
    if isinstance(error, RuntimeError):  # full, or the session has expired
        return f"expected a free session of {url}, found '{error}'; try again later"
    return (
        f"expected an nnInteractive server at {url}, found {type(error).__name__}: "
        f"{error}; correct {URL}"
    )
