"""The sections of a study file, with their defaults and ranges."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from autocompress.config.knobs import (
    dimension_of,
    refuse_bad_knobs,
    refuse_precisions,
    with_defaults,
)

if TYPE_CHECKING:
    from autocompress.search.space import Space

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")


def parse_duration(value: Any) -> Any:
    """Return seconds for ``"90s"``, ``"30m"``, ``"1h30m"`` or ``"2d"``; pass on anything else.

    Raises:
        ValueError: a text that is not a duration.
    """
    if not isinstance(value, str):
        return value
    parts = _DURATION.findall(value)
    if not parts or _DURATION.sub("", value).strip():
        raise ValueError(f"expected seconds or a duration such as '30m' or '1h30m', got {value!r}")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
LearningRate = Annotated[float, Field(gt=0, le=10)]
Patterns = Annotated[tuple[str, ...], BeforeValidator(_tuple)]
Means = Annotated[tuple[Fraction, ...], BeforeValidator(_tuple)]
Deviations = Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], BeforeValidator(_tuple)]


class Section(BaseModel):
    """A table of the study file: no unknown keys, no conversions, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class StudySection(Section):
    """``[study]``.

    Attributes:
        name: of the run's folder.
        seed: everything random derives from it.
        trials: how many recipes are tried.
        timeout_s: seconds after which no new trial starts; ``timeout`` in the file.
        sampler: who proposes recipes; ``"auto"`` decides by what a trial costs.
        draft: draw each recipe's structure before training, and end where it breaks a limit.
        early_stopping: end trials that can no longer enter the front.
        harvest: finish training runs in several ways, where that costs little.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    trials: Positive = 30
    timeout_s: Annotated[
        Annotated[float, Field(gt=0)] | None,
        BeforeValidator(parse_duration),
        Field(alias="timeout"),
    ] = None
    sampler: Literal["auto", "tpe", "gp", "nsga2", "random"] = "auto"
    draft: bool = True
    early_stopping: bool = True
    harvest: bool = True


class DataSection(Section):
    """``[data]``.

    Attributes:
        source: ``"digits"``, ``"fashion-mnist"``, ``"imagenette"``, ``"torchvision:NAME"``,
            ``"folder:PATH"`` or ``"package.module:function"``.
        image_size: side in pixels that images are brought to; ``None`` keeps the source's.
        mean: of each channel, of pixels scaled to [0, 1]: images are normalised by it. A model
            with weights needs what it was trained with; without ``mean`` and ``std`` they are
            those of the training images.
        std: standard deviation of each channel, in the same way.
        batch_size: images per training batch.
        augmentation: what happens to training images.
        train_limit: use at most so many training images.
        valid_limit: the same for ``valid``, which the search sees.
        test_limit: the same for ``test``, which is opened at the end.
    """

    source: Annotated[str, Field(min_length=1)]
    image_size: Positive | None = None
    mean: Means | None = None
    std: Deviations | None = None
    batch_size: Positive = 64
    augmentation: Literal["none", "shift", "shift_flip"] = "none"
    train_limit: Positive | None = None
    valid_limit: Positive | None = None
    test_limit: Positive | None = None

    @model_validator(mode="after")
    def _mean_and_std_belong_together(self) -> "DataSection":
        lengths = [None if values is None else len(values) for values in (self.mean, self.std)]
        if lengths[0] != lengths[1]:
            raise ValueError(
                "expected mean and std with one number for each channel, or neither; got "
                f"{lengths[0] or 'no'} and {lengths[1] or 'no'} numbers"
            )
        return self


class ModelSection(Section):
    """``[model]`` and ``[teacher]``.

    Attributes:
        factory: ``"torchvision:NAME"``, ``"autocompress:NAME"`` or ``"package.module:function"``.
        kwargs: arguments of the factory.
        weights: a ``.safetensors`` file, a state dict, or a name the factory knows.
        epochs: how long the model is trained before it is compressed; 0 takes it as it is.
        learning_rate: peak learning rate of that training.
    """

    factory: Annotated[str, Field(min_length=1)]
    kwargs: dict[str, Any] = Field(default_factory=dict)
    weights: str | None = None
    epochs: Annotated[int, Field(ge=0)] = 10
    learning_rate: LearningRate = 1e-3


class TrainingSection(Section):
    """``[training]`` of every trial; the knobs of the same names in ``[search]`` replace it.

    Attributes:
        epochs: length of the run that distils and sparsifies.
        recovery_epochs: length of the fine-tuning after surgery.
        learning_rate: peak learning rate of the first run.
        recovery_learning_rate: peak in the second, as a fraction of the first's.
        weight_decay: decoupled weight decay.
    """

    epochs: Annotated[int, Field(ge=0)] = 6
    recovery_epochs: Annotated[int, Field(ge=0)] = 2
    learning_rate: LearningRate = 2e-3
    recovery_learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.5
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01


class LatencySection(Section):
    """``[latency]``: where and how latency is measured.

    Attributes:
        device: ``"auto"`` is the GPU where there is one, else the CPU.
        runtime: what the model will be deployed in.
        batch_size: images per call.
        threads: of the CPU.
        budget_s: seconds that measuring one model may take.
        width: half the 95 % interval of the ratio, as a fraction, at which measuring ends.
        contention: fraction of time, in [0, 1], that other processes may take before medians
            are given up for 10th percentiles.
        channels_last: lay images and convolutions out with their channels last.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    runtime: Literal["torch", "torch-compile", "cuda-graph", "onnxruntime"] = "torch"
    batch_size: Positive = 1
    threads: Positive = 1
    budget_s: Annotated[float, Field(gt=0)] = 5.0
    width: Annotated[float, Field(gt=0)] = 0.02
    contention: Fraction = 0.1
    channels_last: bool = False


class LimitsSection(Section):
    """``[limits]``: what a model of the front must keep; a limit that is left out is none.

    Attributes:
        accuracy_drop: fraction of accuracy that may be lost against the baseline, in [0, 1].
        latency_ms: milliseconds per batch.
        latency_ratio: latency as a fraction of the baseline's.
        parameters: number of parameters.
        parameter_ratio: parameters as a fraction of the baseline's.
    """

    accuracy_drop: Fraction | None = None
    latency_ms: Annotated[float, Field(gt=0)] | None = None
    latency_ratio: Annotated[float, Field(gt=0)] | None = None
    parameters: Positive | None = None
    parameter_ratio: Annotated[float, Field(gt=0)] | None = None


class SearchSection(Section):
    """``[search]``: one key per knob, each a constant, a list, or ``{low, high, step, log}``.

    Knobs that the file does not name get their default as a constant.

    Attributes:
        exclude: patterns (``fnmatch``) of layers that no technique touches.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any] = Field(init=False)

    exclude: Patterns = ()

    @property
    def knobs(self) -> Mapping[str, Any]:
        """Every knob with its constant, list of choices, or table ``{low, high, step, log}``."""
        return dict(self.__pydantic_extra__)

    @model_validator(mode="before")
    @classmethod
    def _write_defaults_out(cls, data: Any) -> Any:
        return with_defaults(data) if isinstance(data, Mapping) else data

    @model_validator(mode="after")
    def _knobs_are_valid(self) -> "SearchSection":
        refuse_bad_knobs(self.__pydantic_extra__, type(self).__name__)
        return self


class StudyConfig(Section):
    """A whole study file, checked; every default is filled in."""

    study: StudySection
    data: DataSection
    model: ModelSection
    teacher: ModelSection | None = None
    training: TrainingSection = Field(default_factory=TrainingSection)
    latency: LatencySection = Field(default_factory=LatencySection)
    search: SearchSection
    limits: LimitsSection = Field(default_factory=LimitsSection)

    @model_validator(mode="after")
    def _precisions_can_run(self) -> "StudyConfig":
        refuse_precisions(self.search.knobs, self.latency.runtime, self.latency.device)
        return self

    def space(self, *, conditional: bool = True) -> "Space":
        """Return the search space that ``[search]`` and ``[training]`` describe.

        Args:
            conditional: leave out knobs without effect, instead of sampling all of them.
        """
        from autocompress.search.space import Space
        from autocompress.training.fitting import Training

        return Space(
            dimensions={name: dimension_of(value) for name, value in self.search.knobs.items()},
            training=Training(**self.training.model_dump()),
            exclude=self.search.exclude,
            conditional=conditional,
        )
