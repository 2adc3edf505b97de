import re
import tomllib
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from autocompress.config import (
    StudyConfig,
    load_study,
    parse_duration,
    template,
    to_toml,
)
from autocompress.config.places import key_lines
from autocompress.errors import ConfigurationError
from autocompress.settings import describe
from autocompress.space.parameters import ALIASES
from autocompress.techniques.criteria import CRITERIA
from autocompress.techniques.schedules import SCHEDULES

STUDIES = Path(__file__).parents[2] / "studies"
MINIMAL = """\
[study]
name = "tiny"

[data]
source = "digits"

[model]
factory = "autocompress:vgg_small"

[search]
sparsity = { low = 0.0, high = 0.9 }
"""


@pytest.fixture
def study(tmp_path):
    def write(text=MINIMAL):
        path = tmp_path / "study.toml"
        path.write_text(text)
        return path

    return write


def problems_of(path, overrides=()):
    with pytest.raises(ConfigurationError) as caught:
        load_study(path, overrides)
    return [line.removeprefix(str(path.parent) + "/") for line in caught.value.problems]


def test_defaults_are_filled_in_and_written_out(study):
    config = load_study(study())
    assert config.study.trials == 30
    assert config.search.params["sparsity"] == {"low": 0.0, "high": 0.9}
    assert config.search.params["schedule_end"] == 0.7
    assert config.search.params["precision"] == "fp32"
    written = tomllib.loads(to_toml(config))
    assert list(written) == [
        "study", "data", "model", "task", "training", "target", "search", "limits",
    ]  # fmt: skip
    for section in ("study", "data", "model", "task", "training", "target"):
        known = describe(type(getattr(config, section))).values()
        unset = {e.key for e in known if getattr(getattr(config, section), e.name) is None}
        assert set(written[section]) == {e.key for e in known} - unset
    assert set(written["search"]) == {*config.search.params, "exclude", "allocation"}


def test_the_resolved_file_reads_back_as_the_same_study(study):
    text = (
        MINIMAL + 'exclude = ["head*"]\nlearning_rate = { low = 1e-4, high = 1e-1, log = true }\n'
    )
    text += '[teacher]\nfactory = "torchvision:resnet18"\nkwargs = { width = 2 }\n'
    text += "[limits]\naccuracy_drop = 0.01\n"
    config = load_study(study(text), ["study.timeout=1h30m"])
    again = load_study(study(to_toml(config)))
    assert again == config
    assert again.study.timeout_s == 5400
    assert to_toml(again) == to_toml(config)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("mean = [0.5]", "data: expected mean and std with one number for each channel, or nei"),
        ("mean = [0.5]\nstd = [0.2, 0.2]", "got 1 and 2 numbers"),
        (
            "mean = [0.5]\nstd = [0.0]",
            "data.std: expected a list of numbers in (0, 1], got (0.0,)",
        ),
        ("mean = [128.0]\nstd = [0.2]", "data.mean: expected a list of numbers in [0, 1], got"),
    ],
)
def test_bad_normalisation_is_reported(study, lines, problem):
    text = MINIMAL.replace('source = "digits"', f'source = "digits"\n{lines}')
    assert any(problem in told for told in problems_of(study(text)))


def test_a_study_cannot_be_changed(study):
    config = load_study(study())
    with pytest.raises(FrozenInstanceError):
        config.study.trials = 3


def test_all_problems_are_reported_at_once_with_place_and_hint(study):
    text = """\
[study]
name = "tiny"
trails = 3

[data]
source = "digits"
batch_size = "64"
augmentation = "shift_flop"

[model]
factory = "autocompress:vgg_small"
trials = 3

[trainig]
epochs = 1

[latency]
threads = 0

[search]
sparsity = { low = 0.5, high = 0.1 }
critereon = "taylor"
sparsification.schedule = ["agp", "cosin"]
criterion = ["taylor", "larg_final"]
fold = "yes"
round_to = []
"""
    assert problems_of(study(text)) == [
        "study.toml:3: study.trails: unknown key 'trails' (did you mean 'trials'?); "
        "allowed: name, seed, trials, timeout, trial_timeout, trial_memory_gb, sampler, "
        "objectives, plugins, estimate, early_stopping, derive",
        "study.toml:7: data.batch_size: expected a whole number of at least 1, got '64'",
        "study.toml:8: data.augmentation: expected one of none, shift, shift_flip, crop, "
        "crop_flip, got 'shift_flop' (did you mean 'shift_flip'?)",
        "study.toml:12: model.trials: unknown key 'trials' (did you mean 'study.trials'?); "
        "allowed: factory, kwargs, weights, epochs, learning_rate",
        "study.toml:18: latency.threads: expected a whole number in [1, 1024], got 0",
        "study.toml:21: search.sparsity: low 0.5 is above high 0.1 "
        "(fraction of the convolutions' groups to zero)",
        "study.toml:22: search.critereon: unknown parameter 'critereon' (did you mean "
        f"'criterion'?); allowed: {', '.join(ALIASES)}, exclude, allocation, and any path into "
        "the recipe, such as sparsification.start",
        "study.toml:23: search.sparsification.schedule: expected one of "
        f"{', '.join(SCHEDULES)}, got 'cosin' (did you mean 'cosine'?) "
        "(how sparsity grows in training)",
        f"study.toml:24: search.criterion: expected one of {', '.join(CRITERIA)}, got "
        "'larg_final' (did you mean 'large_final'?) (what counts as unimportant)",
        "study.toml:25: search.fold: expected true or false, got 'yes' "
        "(whether batch norms are folded)",
        "study.toml:26: search.round_to: an empty list leaves nothing to choose; "
        "expected a whole number of at least 1 (widths stay multiples of this)",
        "study.toml:14: trainig: unknown key 'trainig' (did you mean 'training'?); "
        "allowed: study, data, model, teacher, task, training, target, search, limits",
    ]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("1.5", "search.sparsity: expected a number in [0, 1], got 1.5"),
        ("true", "search.sparsity: expected a number in [0, 1], got True"),
        ("[0.1, 0.1]", "search.sparsity: a value is listed twice in [0.1, 0.1]"),
        ("{ low = 0.1 }", "search.sparsity: a range needs 'high'"),
        ("{ low = -1, high = 0.5 }", "search.sparsity.low: expected a number in [0, 1]"),
        ("{ low = 0.1, hihg = 0.5 }", "search.sparsity.hihg: unknown key 'hihg' (did you mean"),
        ("{ low = 0.1, high = 0.5, step = 0 }", "search.sparsity.step: expected a number above 0"),
        ("{ low = 0.0, high = 0.5, log = true }", "search.sparsity.log: a logarithmic range must"),
        (
            "{ low = 0.1, high = 0.5, log = true, step = 0.1 }",
            "search.sparsity.step: step and log exclude each other",
        ),
        ("{ low = 0.1, high = 0.5, log = 1 }", "search.sparsity.log: expected true or false"),
    ],
)
def test_a_bad_parameter_is_reported(study, value, problem):
    text = MINIMAL.replace("{ low = 0.0, high = 0.9 }", value)
    assert any(problem in line for line in problems_of(study(text)))


def test_a_name_cannot_be_a_range(study):
    text = MINIMAL + "criterion = { low = 0, high = 1 }\n"
    assert "search.criterion: cannot be a range" in problems_of(study(text))[0]


@pytest.mark.parametrize("value", ["0.5", "[0.5]", "{ low = 0.5, high = 0.5 }"])
def test_an_empty_search_space_is_refused(study, value):
    text = MINIMAL.replace("{ low = 0.0, high = 0.9 }", value)
    [problem] = problems_of(study(text))
    assert problem.startswith("study.toml:10: search: the search space is empty")


def test_missing_sections_and_keys_are_reported(study):
    assert problems_of(study('[model]\nepochs = 1\n[data]\nsource = ""')) == [
        "study.toml: study: missing; expected a table with name, seed, trials, timeout, "
        "trial_timeout, trial_memory_gb, sampler, "
        "objectives, plugins, estimate, "
        "early_stopping, derive",
        "study.toml:4: data.source: expected a text that is not empty, got ''",
        "study.toml:1: model.factory: missing",
        "study.toml: search: missing; expected a table of parameters, such as sparsity = "
        "{ low = 0.0, high = 0.9 }; `autocompress init` writes them all",
    ]


def test_a_syntax_error_is_reported_with_its_line(study):
    [problem] = problems_of(study('[study]\nname = "a\n'))
    assert problem.startswith("study.toml:2: not valid TOML")


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_reported(tmp_path, content):
    path = tmp_path / "study.toml"
    if content:
        path.write_bytes(content)
    assert problems_of(path)[0].startswith("study.toml: ")


def test_a_section_that_is_no_table_is_reported(study):
    text = 'model = "vgg16"\n' + MINIMAL.replace(
        '[model]\nfactory = "autocompress:vgg_small"\n', ""
    )
    assert problems_of(study(text)) == [
        "study.toml:1: model: expected a table of keys, got 'vgg16'"
    ]


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("study.trials=3", "trials", 3),
        ("study.name=fast_one", "name", "fast_one"),
        ('study.name="quoted"', "name", "quoted"),
        ("study.timeout=90s", "timeout_s", 90.0),
    ],
)
def test_overrides_replace_values(study, override, key, value):
    assert getattr(load_study(study(), [override]).study, key) == value


def test_overrides_of_parameters_are_lists_tables_or_parts_of_a_range(study):
    path = study()
    assert load_study(path, ["search.sparsity=[0.2,0.8]"]).search.params["sparsity"] == [0.2, 0.8]
    wide = load_study(path, ["search.sparsity={low=0.1, high=0.2}"])
    assert wide.search.params["sparsity"] == {"low": 0.1, "high": 0.2}
    part = load_study(path, ["search.sparsity.high=0.5"])
    assert part.search.params["sparsity"] == {"low": 0.0, "high": 0.5}


def test_problems_of_overrides_name_the_override(study):
    assert problems_of(study(), ["study.trails=3", "trials=4", "training.epochs.low=1"]) == [
        "--set study.trails=3: study.trails: unknown key 'trails' (did you mean 'trials'?); "
        "allowed: name, seed, trials, timeout, trial_timeout, trial_memory_gb, sampler, "
        "objectives, plugins, estimate, early_stopping, derive",
        "--set training.epochs.low=1: training.epochs: expected a whole number in "
        "[0, 10000], got {'low': 1}",
        "--set trials=4: trials: unknown key 'trials' (did you mean 'study.trials'?); "
        "allowed: study, data, model, teacher, task, training, target, search, limits",
    ]


def test_a_bad_end_of_an_overridden_range_names_the_override(study):
    override = "search.sparsity={low = 0.0, high = 1.2}"
    (told,) = problems_of(study(), [override])
    assert told.startswith(f"--set {override}: search.sparsity.high: expected a number in [0, 1]")


@pytest.mark.parametrize("override", ["study.trials", "=3", "study.name=[1", "study.seed=1\nb=2"])
def test_a_malformed_override_is_reported(study, override):
    assert problems_of(study(), [override])[0].startswith(f"--set {override}: ")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("2d", 172800), (5, 5)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5", "5 weeks", "3m later"])
def test_what_is_no_duration_is_reported(text):
    with pytest.raises(ValueError, match="duration such as"):
        parse_duration(text)


def test_lines_of_keys_survive_every_way_to_write_them():
    text = '''# comment
a = 1

[b.c]  # header
d = [
  1, # "
  2,
]
e = """
[not.a.header]
f = 3
"""
g.h = { i = 1, j = { k = 2 } }
[b."l.m"]
n = 'x = 1'
[[o]]
p = 1
'''
    assert key_lines(text) == {
        ("a",): 2,
        ("b",): 4,
        ("b", "c"): 4,
        ("b", "c", "d"): 5,
        ("b", "c", "e"): 9,
        ("b", "c", "g"): 13,
        ("b", "c", "g", "h"): 13,
        ("b", "c", "g", "h", "i"): 13,
        ("b", "c", "g", "h", "j"): 13,
        ("b", "c", "g", "h", "j", "k"): 13,
        ("b", "l.m"): 14,
        ("b", "l.m", "n"): 15,
        ("o",): 16,
        ("o", "p"): 17,
    }


def precise(precision, runtime, device):
    search, latency = f"precision = {precision}", f'runtime = "{runtime}"\ndevice = "{device}"'
    return f"{MINIMAL}{search}\n[latency]\n{latency}\n"


@pytest.mark.parametrize(
    ("precision", "runtime", "device"),
    [
        ('["fp32", "int8"]', "onnxruntime", "auto"),
        ('"int8"', "onnxruntime", "cpu"),
        ('["fp32", "fp16"]', "torch-compile", "cuda"),
    ],
)
def test_precisions_that_the_runtime_has_are_allowed(study, precision, runtime, device):
    load_study(study(precise(precision, runtime, device)))


@pytest.mark.parametrize(
    ("precision", "runtime", "device", "needed"),
    [
        (
            '["fp32", "int8"]',
            "torch",
            "cpu",
            ["'int8' needs target.runtime = 'onnxruntime'; 'torch"],
        ),
        (
            '"fp16"',
            "onnxruntime",
            "cpu",
            ["'fp16' needs target.device = 'cuda'; 'onnxruntime' wi"],
        ),
        (
            '["int8", "fp16"]',
            "torch",
            "cpu",
            ["'int8' needs target.runtime = 'onnxruntime'", "'fp16' needs target.device = 'cuda'"],
        ),
    ],
)
def test_a_precision_that_can_not_run_names_both_settings(
    study, precision, runtime, device, needed
):
    path = study(precise(precision, runtime, device))
    with pytest.raises(ConfigurationError) as caught:
        load_study(path)
    told = caught.value.problems
    assert len(told) == len(needed)
    for line, setting in zip(told, needed, strict=True):
        assert f":12: search.precision: {setting}" in line


def test_the_template_is_valid_and_names_every_key(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(template())
    load_study(path)
    everything = tmp_path / "everything.toml"  # with its commented keys too
    everything.write_text(
        re.sub(r"^# (?=\[?[\w.]+\]? *(=|#|$))", "", template(), flags=re.MULTILINE)
    )
    named = set(key_lines(everything.read_text()))
    for section, entry in describe(StudyConfig).items():
        if section in ("search", "limits"):
            continue
        keys = {known.key for known in describe(entry.nested).values()}
        written = {path[1] for path in named if len(path) == 2 and path[0] == section}
        optional = {"kwargs", "learning_rate"} if section == "teacher" else set()
        assert keys - written <= optional, section


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_shipped_studies_are_valid(tmp_path, path):
    config = load_study(path)
    resolved = tmp_path / "study.toml"
    resolved.write_text(to_toml(config))
    assert load_study(resolved) == config
    assert config.study.name == path.stem
    assert set(config.space().dimensions) == set(config.search.params)
