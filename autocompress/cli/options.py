"""The arguments and options of the command line that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autocompress.errors import UsageError
from autocompress.registry import did_you_mean

if TYPE_CHECKING:
    from autocompress.metrics import Metric
    from autocompress.runs import Run


def _duration(text: str) -> float:
    from autocompress.config import parse_duration

    try:
        return float(parse_duration(text if not text.isdigit() else int(text)))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder: runs/NAME.")]
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study file.")]
Trials = Annotated[int | None, typer.Option(min=1, help="Trials in all, instead of the study's.")]
Timeout = Annotated[
    float | None,
    typer.Option(parser=_duration, metavar="30m", help="Start no new trial after this time."),
]
Workers = Annotated[int, typer.Option(min=1, help="Processes that run trials side by side.")]
RunsFolder = Annotated[
    Path, typer.Option("--runs", metavar="DIR", help="Where the folder of the run is made.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the study file."),
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="PACKAGE",
        help="Call functions of this package that a run or bundle from elsewhere names.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Most = Annotated[
    list[str] | None,
    typer.Option(
        "--max", metavar="METRIC=VALUE", help="Leave out models above it, of any metric."
    ),
]
Least = Annotated[
    list[str] | None,
    typer.Option(
        "--min", metavar="METRIC=VALUE", help="Leave out models below it, of any metric."
    ),
]
MaxLatency = Annotated[float | None, typer.Option(min=0, help="Short for --max latency_ms=VALUE.")]
MaxParameters = Annotated[
    int | None, typer.Option(min=1, help="Short for --max parameters=VALUE.")
]
MinAccuracy = Annotated[
    float | None, typer.Option(min=0, max=1, help="Short for --min accuracy=VALUE.")
]
WithControls = Annotated[
    bool,
    typer.Option("--controls", help="Then run what shows the search's worth: doubles the time."),
]


def bounds_of(
    most: Sequence[str] | None,
    least: Sequence[str] | None,
    max_latency_ms: float | None,
    max_parameters: int | None,
    min_accuracy: float | None,
) -> list[tuple[str, str, str]]:
    """Return the bounds that options give, each as its option, metric and value.

    Raises:
        UsageError: one is not written as METRIC=VALUE.
    """
    short = (
        ("--max", "latency_ms", max_latency_ms),
        ("--max", "parameters", max_parameters),
        ("--min", "accuracy", min_accuracy),
    )
    found = [(option, name, str(value)) for option, name, value in short if value is not None]
    for option, given in (("--max", most or ()), ("--min", least or ())):
        for text in given:
            name, equals, value = text.partition("=")
            if not equals:
                raise UsageError(f"{option} {text}: expected METRIC=VALUE")
            found.append((option, name.strip(), value.strip()))
    return found


def budget_of(run: "Run", bounds: Sequence[tuple[str, str, str]]) -> dict[str, float]:
    """Return a budget of a run: by name of a metric the most, or the least, that is asked for.

    Raises:
        UsageError: the run has no such metric, it is bounded from the other side, or a value is
            not a number.
    """
    budget: dict[str, float] = {}
    for option, name, text in bounds:
        if name not in run.metrics:
            there = f"{did_you_mean(name, run.metrics)}; it has {', '.join(run.metrics)}"
            raise UsageError(f"{option} {name}: {run.path} has no such metric{there}")
        metric = run.metrics[name]
        if option != _option(metric):
            raise UsageError(
                f"{option} {name}: {name} is {metric.direction}d: use {_option(metric)} {name}="
            )
        try:
            value = float(text)
        except ValueError:
            raise UsageError(f"{option} {name}={text}: expected a number") from None
        tightest = min(metric.sign * value, metric.sign * budget.get(name, value))
        budget[name] = metric.sign * tightest
    return budget


def _option(metric: "Metric") -> str:
    return "--max" if metric.direction == "minimize" else "--min"
