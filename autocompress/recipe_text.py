"""Recipes in words, from their plain data: nothing here loads torch.

The package's own stages have words of their own; any other stage is written as its settings are.
Recipes come from files of runs of any release: what has no words is left out or written as it is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Settings = Mapping[str, Any]
SEPARATOR = " · "
_TABLES = (
    "distillation",
    "sparsification",
    "pruning",
    "factorization",
    "late_factorization",
    "training",
    "extra",
)
_SCOPES = {"local": "each layer on its own", "global": "one ranking over all layers"}


def recipe_in_short(recipe: Settings) -> str:
    """Return a recipe in one line; ``nothing`` for one without a stage.

    Args:
        recipe: nested, as ``Recipe.to_dict`` writes it.

    Example:
        >>> recipe_in_short({"sparsification": {"sparsity": 0.5, "granularity": "filter"}})
        'filter 50 %'
    """
    recipe = _with_tables(recipe)
    parts = [
        *_start(recipe),
        *_sparsification(recipe.get("sparsification")),
        *_factorization(recipe.get("factorization")),
        *(f"late {part}" for part in _factorization(recipe.get("late_factorization"))),
        *_distillation(recipe.get("distillation")),
        *(
            " ".join([_words(name), *_values(settings)])
            for name, settings in _others(recipe).items()
        ),
        *(["fold"] if recipe.get("fold") else []),
        *_precision(recipe.get("precision")),
        *_training(recipe.get("training")),
    ]
    return SEPARATOR.join(parts) or ("nothing" if recipe else "")


def recipe_in_words(recipe: Settings) -> list[str]:
    """Return what a recipe does, one sentence for each stage, in order.

    Args:
        recipe: nested, as ``Recipe.to_dict`` writes it.
    """
    recipe = _with_tables(recipe)
    sentences = [f"Start {part}." for part in _start(recipe)]
    write: Mapping[str, Callable[[Settings], str]] = {
        "distillation": _distil_in_words,
        "sparsification": _sparsify_in_words,
        "pruning": lambda _: "Prune: physically remove every unit that is zero.",
        "factorization": _factorize_in_words,
    }
    sentences += [say(recipe[stage]) for stage, say in write.items() if recipe.get(stage)]
    for name, settings in _others(recipe).items():
        values = ", ".join(_values(settings))
        sentences.append(f"{_words(name).capitalize()}{f': {values}' if values else ''}.")
    training = recipe.get("training") or {}
    sentences += [_train_in_words(training)] if training else []
    late = _factorization(recipe.get("late_factorization"))
    if late:
        sentences.append(f"Factorize once more after that, untrained: keep {', '.join(late)}.")
    sentences += ["Fold batch norms into their neighbours."] if recipe.get("fold") else []
    sentences += [f"Deploy in {part}." for part in _precision(recipe.get("precision"))]
    return [sentence for sentence in sentences if sentence]


def _with_tables(recipe: Settings) -> Settings:
    """Leave out stages whose settings are no table."""
    return {
        name: value
        for name, value in recipe.items()
        if name not in _TABLES or isinstance(value, Mapping)
    }


def _distil_in_words(settings: Settings) -> str:
    weight, temperature = settings.get("weight"), settings.get("temperature")
    loss = _words(str(settings.get("loss")))
    parts = [f"weight {_brief(weight)}"] if weight is not None else []
    parts += [f"temperature {_brief(temperature)}"] if temperature is not None else []
    return f"Distil: learn from the teacher by {loss}" + (
        f" ({', '.join(parts)})." if parts else "."
    )


def _sparsify_in_words(settings: Settings) -> str:
    what = []
    if _any(settings.get("sparsity")):
        what.append(f"{_fractions(settings['sparsity'])} ({settings.get('granularity')})")
    if _any(settings.get("linear_sparsity")):
        fractions = _fractions(settings["linear_sparsity"])
        what.append(f"linear layers {fractions} ({settings.get('linear_granularity')})")
    if not what:
        return ""
    scope = str(settings.get("scope"))
    return (
        f"Sparsify: {' and '.join(what)}, chosen by {settings.get('criterion')}, "
        f"{_SCOPES.get(scope, scope)}, following the {settings.get('schedule')} schedule."
    )


def _factorize_in_words(settings: Settings) -> str:
    kept = ", ".join(_factorization(settings))
    return f"Factorize: singular value decomposition keeps {kept}." if kept else ""


def _train_in_words(settings: Settings) -> str:
    epochs, recovery = settings.get("epochs", 0), settings.get("recovery_epochs", 0)
    rate = settings.get("learning_rate")
    sentence = f"Train {epochs} epochs" + (f", then recover for {recovery}" if recovery else "")
    sentence += f" (learning rate {_brief(rate)})" if rate is not None else ""
    return "; ".join([sentence, *_training(settings)]) + "."


def _start(recipe: Settings) -> list[str]:
    start = recipe.get("start")
    return [] if start is None else [f"from trial {start}"]


def _sparsification(settings: Settings | None) -> list[str]:
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
        how.append(f"rewound to {_brief(settings['rewind'])}")
    known = " ".join(str(word) for word in how if word)
    return [*parts, *([known] if known else [])] if parts else []


def _factorization(settings: Settings | None) -> list[str]:
    keys = ("rank", "energy", "convolution_rank", "convolution_energy")
    values = {_words(key): (settings or {}).get(key) for key in keys}
    return [f"{words} {_brief(value)}" for words, value in values.items() if value is not None]


def _distillation(settings: Settings | None) -> list[str]:
    if not settings:
        return []
    text = str(settings.get("loss"))
    weight = settings.get("weight")
    return [text if weight is None else f"{text} {_brief(weight)}"]


def _precision(name: str | None) -> list[str]:
    return [] if name in (None, "fp32") else [str(name)]


def _training(settings: Settings | None) -> list[str]:
    left = (settings or {}).get("stop_after")
    if settings is None or left is None:
        return []
    return [f"left after epoch {left} of {settings.get('epochs')}"]


def _others(recipe: Settings) -> dict[str, Settings]:
    """Return the settings of stages that a user added."""
    extra = recipe.get("extra") or {}
    return {name: settings for name, settings in extra.items() if isinstance(settings, Mapping)}


def _values(settings: Settings) -> list[str]:
    """Return settings by name; what is not set is left out, and of switches that are on the name.

    Numbers have two digits.
    """
    found = []
    for name, value in settings.items():
        if value is True:
            found.append(_words(name))
        elif value not in (None, False, [], {}, ""):
            text = _brief(value) if isinstance(value, float) else str(value)
            found.append(f"{_words(name)} {text}")
    return found


def _words(name: str) -> str:
    return name.replace("_", " ")


def _any(value: float | Sequence[float] | Mapping[str, float] | None) -> bool:
    return any(_listed(value)) if value is not None else False


def _fractions(value: float | Sequence[float] | Mapping[str, float]) -> str:
    """Return a share, three shares, or the range of the shares that groups have."""
    if isinstance(value, Mapping):
        ends = dict.fromkeys(
            f"{100 * end:.0f}" for end in (min(_listed(value)), max(_listed(value)))
        )
        return f"{' to '.join(ends)} % by layer"
    return "/".join(f"{100 * number:.0f}" for number in _listed(value)) + " %"


def _listed(value: float | Sequence[float] | Mapping[str, float]) -> list[float]:
    values = value.values() if isinstance(value, Mapping) else value
    listed = list(values) if isinstance(values, Iterable) else [values]
    return [number for number in listed if isinstance(number, int | float)]


def _brief(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, int | float) else str(value)
