"""How numbers and recipes are written for people, alike in the terminal and in the report."""

from collections.abc import Mapping, Sequence
from typing import Any

UNKNOWN = "-"  # where there is no number
_PREFIXES = (("G", 1e9), ("M", 1e6), ("k", 1e3))


def count(number: float | None, unit: str = "") -> str:
    """Return a count with three digits and a prefix: ``61.4 M``, ``980``; bytes with ``"B"``."""
    if number is None:
        return UNKNOWN
    for prefix, size in _PREFIXES:
        if abs(number) >= 0.9995 * size:
            return f"{_three_digits(number / size)} {prefix}{unit}"
    return f"{number:.0f} {unit}".rstrip()


def milliseconds(value: float | None) -> str:
    """Return a latency with three digits and its unit: ``1.23 ms``."""
    return UNKNOWN if value is None else f"{_three_digits(value)} ms"


def percent(fraction: float | None, digits: int = 2) -> str:
    """Return a fraction as a percentage: ``98.24 %``."""
    return UNKNOWN if fraction is None else f"{100 * fraction:.{digits}f} %"


def ratio(value: float | None) -> str:
    """Return a ratio to the baseline: ``0.46x``."""
    if value is None:
        return UNKNOWN
    return f"{value:.2f}x" if value >= 0.1 else f"{value:.3f}x"


def ratio_interval(metrics: Mapping[str, Any]) -> str:
    """Return the latency ratio with its 95 % interval: ``0.46x (0.44 to 0.48)``."""
    value = ratio(metrics.get("latency_ratio"))
    low, high = metrics.get("latency_ratio_low"), metrics.get("latency_ratio_high")
    return value if low is None or high is None else f"{value} ({low:.2f} to {high:.2f})"


def duration(seconds: float | None) -> str:
    """Return a time span: ``48 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds is None:
        return UNKNOWN
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def in_one_line(text: str | None) -> str:
    """Return a text's first line, with dots where more follows; ``show`` has it whole."""
    first, *more = (text or "").splitlines() or [""]
    return f"{first} ..." if more else first


def recipe_in_short(recipe: Mapping[str, Any]) -> str:
    """Return the stages of a recipe (nested, as JSON) in one line; ``nothing`` for no stage."""
    parts = [
        *_sparsification(recipe.get("sparsification")),
        *_factorization(recipe.get("factorization")),
        *(f"late {part}" for part in _factorization(recipe.get("late_factorization"))),
        *_distillation(recipe.get("distillation")),
        *(["fold"] if recipe.get("fold") else []),
        *_precision(recipe.get("precision")),
        *_training(recipe.get("training")),
    ]
    return " · ".join(parts) or ("nothing" if recipe else "")


def recipe_in_words(recipe: Mapping[str, Any]) -> list[str]:
    """Return what a recipe (nested, as JSON) does, one sentence for each stage, in order."""
    told = {
        "distillation": _distil_in_words,
        "sparsification": _sparsify_in_words,
        "pruning": lambda _: "Prune: physically remove every unit that is zero.",
        "factorization": _factorize_in_words,
    }
    sentences = [say(recipe[stage]) for stage, say in told.items() if recipe.get(stage)]
    training = recipe.get("training") or {}
    sentences += [_train_in_words(training)] if training else []
    late = _factorization(recipe.get("late_factorization"))
    if late:
        sentences.append(f"Factorize once more after that, untrained: keep {', '.join(late)}.")
    sentences += ["Fold batch norms into their neighbours."] if recipe.get("fold") else []
    return [sentence for sentence in sentences if sentence]


def _distil_in_words(settings: Mapping[str, Any]) -> str:
    weight, temperature = settings.get("weight"), settings.get("temperature")
    loss = str(settings.get("loss")).replace("_", " ")
    parts = [f"weight {weight:.2g}"] if weight is not None else []
    parts += [f"temperature {temperature:.2g}"] if temperature is not None else []
    return f"Distil: learn from the teacher by {loss}" + (
        f" ({', '.join(parts)})." if parts else "."
    )


def _sparsify_in_words(settings: Mapping[str, Any]) -> str:
    what = []
    if _any(settings.get("sparsity")):
        what.append(f"{_fractions(settings['sparsity'])} ({settings.get('granularity')})")
    if _any(settings.get("linear_sparsity")):
        fractions = _fractions(settings["linear_sparsity"])
        what.append(f"linear layers {fractions} ({settings.get('linear_granularity')})")
    if not what:
        return ""
    scope = {"local": "each layer on its own", "global": "one ranking over all layers"}
    ranking = scope.get(str(settings.get("scope")), str(settings.get("scope")))
    return (
        f"Sparsify: {' and '.join(what)}, chosen by {settings.get('criterion')}, {ranking}, "
        f"following the {settings.get('schedule')} schedule."
    )


def _factorize_in_words(settings: Mapping[str, Any]) -> str:
    kept = ", ".join(_factorization(settings))
    return f"Factorize: singular value decomposition keeps {kept}." if kept else ""


def _train_in_words(settings: Mapping[str, Any]) -> str:
    epochs, recovery = settings.get("epochs", 0), settings.get("recovery_epochs", 0)
    rate = settings.get("learning_rate")
    told = f"Train {epochs} epochs" + (f", then recover for {recovery}" if recovery else "")
    stop = _training(settings)
    ending = f"; {stop[0]}" if stop else ""
    return told + (f" (learning rate {rate:.2g})" if rate is not None else "") + ending + "."


def _sparsification(settings: Mapping[str, Any] | None) -> list[str]:
    if not settings:
        return []
    parts = []
    if _any(settings.get("sparsity")):
        parts.append(f"{settings.get('granularity')} {_fractions(settings['sparsity'])}")
    if _any(settings.get("linear_sparsity")):
        fractions = _fractions(settings["linear_sparsity"])
        parts.append(f"linear {settings.get('linear_granularity')} {fractions}")
    how = [settings.get(key) for key in ("scope", "criterion", "schedule")]
    if settings.get("rewind") is not None:
        how.append(f"rewound to {settings['rewind']:.2g}")
    return [*parts, " ".join(str(word) for word in how if word)] if parts else []


def _factorization(settings: Mapping[str, Any] | None) -> list[str]:
    keys = ("rank", "energy", "convolution_rank", "convolution_energy")
    values = {key.replace("_", " "): (settings or {}).get(key) for key in keys}
    return [f"{words} {value:.2g}" for words, value in values.items() if value is not None]


def _distillation(settings: Mapping[str, Any] | None) -> list[str]:
    if not settings:
        return []
    text = str(settings.get("loss"))
    weight = settings.get("weight")
    return [text if weight is None else f"{text} {weight:.2g}"]


def _precision(name: str | None) -> list[str]:
    return [] if name in (None, "fp32") else [str(name)]


def _training(settings: Mapping[str, Any] | None) -> list[str]:
    left = (settings or {}).get("stop_after")
    if settings is None or left is None:
        return []
    return [f"left after epoch {left} of {settings.get('epochs')}"]


def _any(value: float | Sequence[float] | None) -> bool:
    return any(value) if isinstance(value, Sequence) else bool(value)


def _fractions(value: float | Sequence[float]) -> str:
    values = value if isinstance(value, Sequence) else [value]
    return "/".join(f"{100 * number:.0f}" for number in values) + " %"


def _three_digits(number: float) -> str:
    digits = 2 if abs(number) < 9.995 else 1 if abs(number) < 99.95 else 0
    return f"{number:.{digits}f}" if abs(number) >= 0.1 or number == 0 else f"{number:.3g}"
