"""The arguments and options of the command line that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer


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
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the study file."),
]
Pick = Literal["accurate", "fast", "small", "balanced"]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
MaxLatency = Annotated[float | None, typer.Option(min=0, help="Leave out slower models.")]
MaxParameters = Annotated[int | None, typer.Option(min=1, help="Leave out larger models.")]
MinAccuracy = Annotated[
    float | None, typer.Option(min=0, max=1, help="Leave out less accurate models.")
]
Controls = Annotated[
    bool,
    typer.Option("--controls", help="Then run what shows the search's worth: doubles the time."),
]
