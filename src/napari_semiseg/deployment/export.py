"""Write a run's model as ONNX, with its pipeline and its card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from napari_semiseg.core.text import with_version
from napari_semiseg.deployment.card import model_card
from napari_semiseg.deployment.pipeline import FILE, Pipeline
from napari_semiseg.errors import ConfigError
from napari_semiseg.imaging.sliding_window import SIGMA, STEP
from napari_semiseg.io.atomic import atomic_path, write_json, write_text
from napari_semiseg.io.images import file_sha256
from napari_semiseg.project.runs.run import newest_model

if TYPE_CHECKING:
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

Layout = Literal["plain", "monai"]


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What was written.

    Attributes
    ----------
    run : str
        Whose model it is.
    written : list of Path
    difference : float
        Largest difference of a probability between PyTorch and ONNX Runtime, of a
        window of noise.
    """

    run: str
    written: list[Path]
    difference: float


def export_model(
    project: Project,
    out: str | Path,
    *,
    run: Run | None = None,
    layout: Layout = "plain",
    licence: str = "",
) -> ModelReport:
    """Write the averaged network of a run, with what is done around it, for others.

    The network holds the method's own inference, in single precision; `run_model`
    runs it without PyTorch.

    Parameters
    ----------
    out : Path
        Folder to write to: ``model.onnx``, ``pipeline.json`` and ``model-card.md``.
    run : Run, optional
        Whose model; by default the newest.
    layout : {"plain", "monai"}
        "monai" lays the same files out as a bundle of MONAI.
    licence : str
        Terms of the model, for its card.

    Raises
    ------
    SemisegError
        There is no model, a library is missing, or the folder cannot be written.
    """
    if layout not in get_args(Layout):
        raise ConfigError(
            f"expected a layout of {', '.join(get_args(Layout))}, found {layout!r}"
        )
    chosen = run or newest_model(project.runs())
    target = Path(out)
    bundle = layout == "monai"
    network = target / ("models/model.onnx" if bundle else "model.onnx")
    pipeline_file = target / ("configs" if bundle else ".") / FILE
    card = target / ("docs/README.md" if bundle else "model-card.md")
    # The only door to PyTorch: what runs a model never passes it.
    write_onnx: Callable[..., tuple[int, list[tuple[int, ...]], bool, float]]
    write_onnx = import_module("napari_semiseg.engine").write_onnx
    with atomic_path(network) as temporary:
        step, flips, adapts, difference = write_onnx(project, chosen, temporary)
    plan = chosen.plan
    assert plan is not None
    pipeline = Pipeline(
        project=project.name,
        run=chosen.id,
        method=chosen.config.method,
        step=step,
        written_by=with_version("napari-semiseg"),
        model="../models/model.onnx" if bundle else "model.onnx",
        model_sha256=file_sha256(network),
        channels=plan.channels,
        intensities=plan.intensities,
        spacing_mm=plan.spacing_mm,
        patch_zyx=plan.patch_zyx,
        overlap=1 - STEP,
        gaussian_sigma=SIGMA,
        flips=tuple(flips),
        adapts=adapts,
        single_pieces=plan.single_pieces,
        classes=project.labels.classes,
    )
    pipeline.write(pipeline_file)
    write_text(card, model_card(project, chosen, pipeline, licence))
    written = [network, pipeline_file, card]
    if bundle:
        written += _write_bundle(target, pipeline, licence)
    return ModelReport(chosen.id, written, difference)


def _write_bundle(folder: Path, pipeline: Pipeline, licence: str) -> list[Path]:
    """Write what MONAI asks of a bundle beside the model.

    Its transforms have neither this normalisation nor this resampling, so its program
    calls `run_model`.
    """
    window = list(pipeline.patch_zyx)
    values = {"0": "background"}
    values |= {str(i): item.name for i, item in enumerate(pipeline.classes, start=1)}
    common: dict[str, Any] = {
        "num_channels": len(pipeline.channels),
        "spatial_shape": window,
        "dtype": "float32",
    }
    about = {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/"
        "download/0.8.1/meta_schema_20240725.json",
        "version": "1.0.0",
        "changelog": {"1.0.0": f"step {pipeline.step} of {pipeline.run}"},
        "monai_version": "1.3.0",
        "pytorch_version": "none needed",
        "numpy_version": metadata.version("numpy"),
        "required_packages_version": {
            name: metadata.version(name) for name in ("napari-semiseg", "onnxruntime")
        },
        "name": pipeline.project,
        "task": f"segmentation of {', '.join(item.name for item in pipeline.classes)}",
        "description": "see docs/README.md",
        "authors": "see docs/README.md",
        "copyright": licence or "not stated",
        "network_data_format": {
            "inputs": {
                pipeline.input: {
                    "type": "image",
                    "format": "magnitude",
                    "modality": "n/a",
                    "value_range": [],
                    "is_patch_data": True,
                    "channel_def": {
                        str(i): name for i, name in enumerate(pipeline.channels)
                    },
                    **common,
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "value_range": [0, 1],
                    "is_patch_data": True,
                    "channel_def": values,
                    **common,
                    "num_channels": len(values),
                }
            },
        },
    }
    program = {
        "imports": ["$import glob", "$import napari_semiseg"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/eval'",
        "images": "$sorted(glob.glob(@dataset_dir + '/*'))",
        "run": [
            "$napari_semiseg.run_model(@bundle_root, @images, @output_dir)",
        ],
    }
    paths = [folder / "configs" / f"{name}.json" for name in ("metadata", "inference")]
    for path, content in zip(paths, (about, program), strict=True):
        write_json(path, content)
    terms = folder / "LICENSE"
    write_text(terms, f"{licence or 'The terms of this model were not stated.'}\n")
    return [*paths, terms]
