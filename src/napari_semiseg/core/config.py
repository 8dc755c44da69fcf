"""Define the settings of a training."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_semiseg.errors import ConfigError

Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
Precision = Literal["fp32", "bf16"]
Optimiser = Literal["muon", "sgd"]
DEFAULT_METHOD = "auto"
DEFAULT_ARCHITECTURE = "vnet"
DEFAULT_MINUTES = 20.0


class TrainingConfig(BaseModel):
    """A training as asked for; unset values are planned from data and machine.

    Attributes
    ----------
    method : str
        Name of a training method, see ``semiseg methods``.
    params : dict
        Parameters of the method; unknown names are refused when the run starts.
    minutes, steps : float or int, optional
        Budget, one of the two; 20 minutes by default.
    device : {"auto", "cpu", "cuda", "cuda:1", "mps"}
        Where to train; "auto" takes the best that is there.
    seed : int
        With the step it determines every batch.
    spacing_mm, patch_zyx : optional
        Working voxel size (z, y, x) in mm, and crop size in working voxels.
    labelled_batch, unlabelled_batch : int, optional
        Crops of labelled and unlabelled volumes per step.
    width : int, optional
        Feature maps at the finest level of the network.
    architecture : str
        Name of the network, such as "vnet" or "resenc_unet".
    optimiser : {"muon", "sgd"}, optional
        Momentum that is made orthogonal (`engine.training.optimisers`), as by default,
        or as it is.
    learning_rate : float, optional
        Peak of the schedule; what is usual for the optimiser by default.
    gradient_ratio : float, optional
        Gradient of the terms on unlabelled crops over that of the labelled ones, to
        which the former are scaled; weighted as published by default.
    precision : {"fp32", "bf16"}, optional
        Of the forward pass; the faster one by default.
    checkpoint_seconds : float
        Longest time between two checkpoints.
    validate_every : int, optional
        Steps between two validations, where there are validation cases.
    start_from : str, optional
        Id of a run of the project whose weights to begin with; from scratch by
        default.
    shrink, perturb : float
        The first weights are ``shrink`` times those of that run plus ``perturb``
        times random ones (Ash and Adams, NeurIPS 2020).
    look_seconds : float
        Shortest time between two looks for labels that have changed, s.
    fresh_weight : int
        How many times as often as the others a label is drawn that came in while the
        training ran.
    fresh_steps : int
        For how many steps.
    refresh_seconds : float
        Time after which the case that is open in the panel, and the first ones of its
        queue, are predicted anew while the training runs, s.
    untrusted : float
        Share of the labelled crops that are of scans with nothing but a mask that
        another program proposed; it falls to 0 over two thirds of the steps.
    feature_maps : bool
        Store the decoder's maps with predictions, some MB a case, by which
        corrections spread.
    single_pieces : bool
        Predict the largest piece alone of each structure that is one piece in every
        labelled scan, of which there are four or more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str = DEFAULT_METHOD
    params: dict[str, bool | int | float | str] = Field(default_factory=dict)
    minutes: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, ge=1)
    device: Device = "auto"
    seed: int = Field(default=0, ge=0)
    spacing_mm: tuple[float, float, float] | None = None
    patch_zyx: tuple[int, int, int] | None = None
    labelled_batch: int | None = Field(default=None, ge=1)
    unlabelled_batch: int | None = Field(default=None, ge=0)
    width: int | None = Field(default=None, ge=4)
    architecture: str = DEFAULT_ARCHITECTURE
    optimiser: Optimiser | None = None
    learning_rate: float | None = Field(default=None, gt=0)
    gradient_ratio: float | None = Field(default=None, gt=0)
    precision: Precision | None = None
    checkpoint_seconds: float = Field(default=30.0, ge=0)
    validate_every: int | None = Field(default=None, ge=1)
    start_from: str | None = None
    shrink: float = Field(default=0.8, gt=0, le=1)
    perturb: float = Field(default=0.05, ge=0, le=1)
    look_seconds: float = Field(default=2.0, ge=0)
    fresh_weight: int = Field(default=4, ge=1)
    fresh_steps: int = Field(default=200, ge=0)
    refresh_seconds: float = Field(default=60.0, ge=0)
    untrusted: float = Field(default=0.0, ge=0, le=1)
    feature_maps: bool = True
    single_pieces: bool = True

    @model_validator(mode="before")
    @classmethod
    def _default_budget(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("minutes") is None and values.get("steps") is None:
            return {**values, "minutes": DEFAULT_MINUTES}
        return values

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.minutes is not None and self.steps is not None:
            raise ValueError("give minutes or steps, not both")
        if self.spacing_mm is not None and min(self.spacing_mm) <= 0:
            raise ValueError("spacing_mm must be positive")
        if self.patch_zyx is not None and min(self.patch_zyx) < 8:
            raise ValueError("patch_zyx needs at least 8 voxels along each axis")
        return self

    @classmethod
    def build(cls, settings: dict[str, str] | None = None, **values: Any) -> Self:
        """Make a config from typed values and from ``--set`` texts.

        A key of ``settings`` is a field of this class or else a parameter of the
        method; the text is read as JSON where it is JSON ("0.5", "[1, 1, 1]"), also
        without the brackets ("1,1,1").

        Raises
        ------
        ConfigError
            A value is out of range, or a field does not exist.
        """
        from json import JSONDecodeError, loads

        fields = {key: value for key, value in values.items() if value is not None}
        params = dict(fields.pop("params", {}))
        for key, text in (settings or {}).items():
            target = fields if key in cls.model_fields else params
            target[key] = text
            for json in (text, f"[{text}]") if "," in text else (text,):
                with suppress(JSONDecodeError):
                    target[key] = loads(json)
                    break
        try:
            return cls(**fields, params=params)
        except ValidationError as error:
            raise ConfigError(describe(error, "training settings")) from error


def describe(error: ValidationError, what: str) -> str:
    """One line for a pydantic error: which key, what was expected and found."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    found = "" if not key else f" (found {first['input']!r})"
    return f"{what}: {f'{key}: ' if key else ''}{message}{found}"
