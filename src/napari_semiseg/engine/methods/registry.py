"""Find training methods, and list their names and parameters without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from napari_semiseg.core.config import DEFAULT_ARCHITECTURE, describe
from napari_semiseg.engine.methods.base import METHODS, Progress, Task
from napari_semiseg.engine.networks import registry as architectures
from napari_semiseg.errors import ConfigError

if TYPE_CHECKING:
    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.core.plan import Plan
    from napari_semiseg.engine.methods.base import Method, MethodParams


PARTS = 100
"""Of a training that are told apart when asked what it learns from."""
LONG = 1_000_000
"""Steps of a training in which only parts of it matter, and no number of steps."""


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """What a user needs to know to choose a method.

    Attributes
    ----------
    name, title, cite : str
        Identifier, what a person reads, and the paper.
    params : dict
        JSON schema of the parameters, with defaults and descriptions.
    learns_from_unlabelled : bool
        Whether it learns from scans without a label as well.
    """

    name: str
    title: str
    cite: str
    params: dict[str, Any]
    learns_from_unlabelled: bool = True


def method_specs() -> list[MethodSpec]:
    """List all training methods by name; PyTorch is neither needed nor loaded."""
    return [
        MethodSpec(
            name,
            kind.title,
            kind.cite,
            kind.Params.model_json_schema(),
            kind.unlabelled > 0,
        )
        for name, kind in methods().items()
    ]


def methods() -> dict[str, type[Method]]:
    """All methods by name: this package's and those of installed plug-ins."""
    return dict(sorted(METHODS.entries().items()))


def build(name: str, params: dict[str, Any], task: Task) -> Method:
    """Make a method from its name and untyped parameters.

    Raises
    ------
    ConfigError
        Unknown method, unknown parameter, or a value out of range.
    """
    kind = METHODS.find(name)
    return kind(check_params(kind, params), task)


def check_params(kind: type[Method], params: dict[str, Any]) -> MethodParams:
    """Validate parameters; raises ``ConfigError`` that names the known ones."""
    params = {name: params[name] for name in params if name not in kind.retired}
    unknown = sorted(set(params) - set(kind.Params.model_fields))
    if unknown:
        raise ConfigError(
            f"{kind.name} has no parameter {unknown[0]!r}; it has "
            f"{', '.join(kind.Params.model_fields)}"
        )
    try:
        return kind.Params(**params)
    except ValidationError as error:
        raise ConfigError(describe(error, f"parameters of {kind.name}")) from error


def unlabelled_from(name: str, params: dict[str, Any]) -> float | None:
    """Fraction of a training after which unlabelled scans take part; None if never.

    PyTorch is neither needed nor loaded; parameters and errors as of `build`.
    """
    kind = METHODS.find(name)
    if not kind.unlabelled:
        return None
    learner = build(name, params, Task(2, 1.0, 1, ()))
    places = (Progress(n * LONG // PARTS, LONG) for n in range(PARTS))
    return next((at.fraction for at in places if learner.takes_unlabelled(at)), None)


def weighs_entropy(name: str, params: dict[str, Any], steps: int = PARTS) -> bool:
    """Whether unlabelled scans take part only if networks are less sure of them.

    PyTorch is neither needed nor loaded; parameters and errors as of `build`.
    ``steps`` are those of the training; by default it is a short one.
    """
    learner = build(name, params, Task(2, 1.0, 1, ()))
    sure, unknown = Progress(steps - 1, steps, 0.0), Progress(steps - 1, steps)
    return learner.takes_unlabelled(unknown) > learner.takes_unlabelled(sure)


def check(config: TrainingConfig) -> type[Method]:
    """Find the method of a training, and refuse settings that it cannot work with.

    Raises
    ------
    ConfigError
        Unknown method, parameter or architecture, or one that does not fit the method.
    """
    kind = METHODS.find(config.method)
    check_params(kind, config.params)
    for name, found, least in (
        ("labelled", config.labelled_batch, kind.least_labelled),
        ("unlabelled", config.unlabelled_batch or None, kind.least_unlabelled),
    ):
        if found is not None and found < least:
            raise ConfigError(
                f"expected at least {least} {name} crops a step for {kind.name!r}, "
                f"found {name}_batch={found}; leave it out, or use "
                f"--method mean_teacher"
            )
    lacking = kind.needs - architectures.find(config.architecture).offers
    if lacking:
        raise ConfigError(
            f"expected a network with {' and '.join(sorted(lacking))} for "
            f"{kind.name!r}, found that {config.architecture!r} has none; use --set "
            f"architecture={DEFAULT_ARCHITECTURE}, or another method"
        )
    return kind


def check_shares(
    batches: TrainingConfig | Plan, devices: int, kind: type[Method]
) -> None:
    """Refuse a batch that so many devices cannot share.

    Parameters
    ----------
    batches : TrainingConfig or Plan
        Holds their sizes; one that is not asked for grows with the devices.

    Raises
    ------
    ConfigError
        It is no multiple of them, or the share of one is less than the method needs.
    """
    unlabelled = batches.unlabelled_batch if kind.unlabelled else 0
    for name, crops, least in (
        ("labelled", batches.labelled_batch or 0, kind.least_labelled),
        ("unlabelled", unlabelled or 0, kind.least_unlabelled),
    ):
        if crops % devices or 0 < crops < least * devices:
            raise ConfigError(
                f"expected {name} crops that {devices} devices share evenly, at least "
                f"{least} each, found {name}_batch={crops}; use another --devices, or "
                f"train anew with --set {name}_batch={max(2, least) * devices}"
            )
