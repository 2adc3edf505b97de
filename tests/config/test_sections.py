"""What is new since release 0.1: names, plugins, paths, limits on any metric, Python objects."""

import sys
import tomllib
from pathlib import Path

import pytest

from autocompress.config import load_study, study_from, to_toml
from autocompress.errors import ConfigurationError
from autocompress.recipe import EXTRA_SETTINGS
from autocompress.space import Choices, Range
from autocompress.techniques.criteria import CRITERIA

STUDIES = Path(__file__).parents[2] / "studies"
OLD = Path(__file__).parent / "release_0_1"
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


@pytest.mark.parametrize("path", sorted(OLD.glob("*.toml")), ids=lambda path: path.stem)
def test_study_files_of_release_0_1_keep_their_meaning(study, path):
    config, written = load_study(path), tomllib.loads(path.read_text())
    for key, value in written["latency"].items():
        assert getattr(config.target, key) == value
    for name, value in written["search"].items():
        if name != "exclude":
            assert config.search.params[name] == value
    assert config.limits == written.get("limits", {})
    assert config.study.derive is written["study"].get("harvest", True)
    again = load_study(study(to_toml(config)))
    assert again == config
    new = STUDIES / path.name
    if new.exists():
        assert load_study(new) == config


def test_old_and_new_names_exclude_each_other_and_an_override_replaces_either(study):
    text = MINIMAL + "[latency]\nthreads = 2\n"
    assert problems_of(study(text + "[target]\nthreads = 3\n")) == [
        "study.toml:12: latency: given twice: target is its name now"
    ]
    assert load_study(study(text), ["target.threads=4"]).target.threads == 4
    assert load_study(study(text), ["latency.threads=4"]).target.threads == 4


def test_a_setting_is_searched_by_its_path_however_toml_writes_it(study):
    for line in ("sparsification.start = [0.0, 0.2]", '"sparsification.start" = [0.0, 0.2]'):
        config = load_study(study(MINIMAL + line))
        assert config.search.params["sparsification.start"] == [0.0, 0.2]
        assert "sparsification.start" in config.search.paths
        assert load_study(study(to_toml(config))) == config
        [problem] = problems_of(study(MINIMAL + line.replace("0.2", "1.2")))
        assert problem.startswith("study.toml:12: search.sparsification.start: expected a number")


def test_an_override_replaces_a_parameter_by_any_of_its_names(study):
    text = MINIMAL + "schedule_end = 0.4\nsparsification.scope = 'global'\n"
    overrides = ["search.sparsification.end=[0.5, 0.6]", "search.scope=local"]
    params = load_study(study(text), overrides).search.params
    assert params["sparsification.end"] == [0.5, 0.6]
    assert params["scope"] == "local"
    assert not {"schedule_end", "sparsification.scope"} & params.keys()


def test_limits_may_be_on_any_metric(study):
    text = MINIMAL + "[limits]\naccuracy = 0.9\nmacs_ratio = 0.5\nsize_bytes = 100000\n"
    assert load_study(study(text)).limits == {
        "accuracy": 0.9, "macs_ratio": 0.5, "size_bytes": 100000,
    }  # fmt: skip
    [problem] = problems_of(study(MINIMAL + "[limits]\naccuracy_dorp = 0.1\n"))
    assert problem.startswith(
        "study.toml:13: limits.accuracy_dorp: unknown key 'accuracy_dorp' (d"
    )
    [problem] = problems_of(study(MINIMAL + "[limits]\nlatency_ms = 'fast'\n"))
    assert problem == "study.toml:13: limits.latency_ms: expected a number, got 'fast'"


PLUGIN = """
from dataclasses import dataclass
import autocompress as ac
from autocompress.recipe import EXTRA_SETTINGS

@dataclass(frozen=True)
class Quantization:
    bits: int = ac.setting(8, help="of a weight", low=2, high=8)

def near_zero(weight):
    return weight.abs()

ac.CRITERIA.register(near_zero)
EXTRA_SETTINGS.register(Quantization, "quantize_weights")
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "my_plugin.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    yield "my_plugin"
    sys.modules.pop("my_plugin", None)
    if "near_zero" in CRITERIA:
        CRITERIA.unregister("near_zero")
        EXTRA_SETTINGS.unregister("quantize_weights")


def test_plugins_are_imported_before_the_names_that_they_register_are_checked(study, plugin):
    text = MINIMAL.replace('name = "tiny"', f'name = "tiny"\nplugins = ["{plugin}"]')
    text += 'criterion = ["near_zero", "taylor"]\nextra.quantize_weights.bits = [4, 8]\n'
    config = load_study(study(text))
    recipe = config.space().recipe({"extra.quantize_weights.bits": 4, "sparsity": 0.5})
    assert recipe.extra["quantize_weights"].bits == 4
    assert (
        "expected a whole number in [2, 8], got 1"
        in problems_of(study(text.replace("4,", "1,")))[0]
    )


def test_what_is_wrong_with_plugins_is_reported_with_everything_else(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = MINIMAL.replace('name = "tiny"', 'name = "tiny"\nplugins = ["no_such", "nor_this"]')
    told = problems_of(study(text + "extra.mine.bits = 4\n"))
    assert told[0].startswith("study.toml:3: study.plugins: plugin 'no_such': no module named")
    assert told[1].startswith("study.toml:3: study.plugins: plugin 'nor_this': no module named")
    assert told[2].startswith("study.toml:13: search.extra.mine.bits: no stage 'mine' was added")


def test_names_of_python_objects_are_written_and_cannot_be_built_again(study):
    tables = tomllib.loads(MINIMAL)
    assert study_from(tables).rebuildable
    for section, key in (("data", "source"), ("model", "factory"), ("task", "name"),
                         ("target", "runtime")):  # fmt: skip
        config = study_from({**tables, section: {key: "python:Mine"}})
        assert not config.rebuildable
        assert load_study(study(to_toml(config))) == config


def test_a_space_of_python_values_is_written_as_a_file_has_it(study):
    tables = tomllib.loads(MINIMAL)
    search = {"sparsity": (0.0, 0.9), "rank": Range(0.1, 1.0, log=True), "fold": Choices((True,))}
    config = study_from({**tables, "search": search})
    assert config.search.params["sparsity"] == {"low": 0.0, "high": 0.9}
    assert config.search.params["rank"] == {"low": 0.1, "high": 1.0, "log": True}
    assert config.search.params["fold"] == [True]
    assert load_study(study(to_toml(config))) == config


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            'allocation = "unifrom"',
            "search.allocation: expected one of uniform, 'package.module:f",
        ),
        ('exclude = "head"', "search.exclude: expected a list of texts, got 'head'"),
    ],
)
def test_a_bad_key_beside_the_parameters_is_reported(study, line, problem):
    assert f":12: {problem}" in problems_of(study(MINIMAL + line))[0]


def test_an_allocation_may_be_a_function(study):
    config = load_study(
        study(MINIMAL + 'allocation = "mine:by_width"\ncoefficients.slope = [1, 2]')
    )
    assert config.space().allocation == "mine:by_width"
    assert config.search.params["coefficients.slope"] == [1, 2]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "[limits]\nparameter = 1\n",
            "study.toml:13: limits.parameter: unknown key 'parameter' (di",
        ),
        ("[limits]\nlatency_ratio = -1\n", "study.toml:13: limits.latency_ratio: must be above 0"),
        (
            "[limits]\naccuracy_drop = 2\n",
            "study.toml:13: limits.accuracy_drop: must be at least 0",
        ),
        ('[limits]\nparameters = "few"\n', "study.toml:13: limits.parameters: expected a number"),
        (
            '[target]\nruntime = "torhc"\n',
            "study.toml:13: target.runtime: expected one of torch, ",
        ),
        (
            '[task]\nname = "clasification"\n',
            "study.toml:13: task.name: expected one of classific",
        ),
        (
            'allocation = "even"\n',
            "study.toml:12: search.allocation: expected one of uniform, 'pack",
        ),
        ('exclude = "head"\n', "study.toml:12: search.exclude: expected a list of texts"),
    ],
)
def test_limits_targets_tasks_and_allocations_are_checked(study, text, problem):
    [found] = problems_of(study(MINIMAL + text))
    assert found.startswith(problem)


def test_unknown_objectives_are_reported(study):
    text = MINIMAL.replace('"tiny"', '"tiny"\nobjectives = ["accuracy", "latency"]')
    [found] = problems_of(study(text))
    assert found.startswith("study.toml:3: study.objectives: unknown metric 'latency'")


def test_limits_on_metrics_of_ones_own_are_left_to_the_study(study):
    text = MINIMAL.replace('"tiny"', '"tiny"\nobjectives = ["accuracy", "mine.metrics:energy"]')
    config = load_study(study(text + "[limits]\nenergy_mj = 5.0\n"))
    assert config.limits == {"energy_mj": 5.0}


OLD_NAMES = """\
[study]
name = "tiny"
draft = false
harvest = false

[data]
source = "digits"

[model]
factory = "autocompress:vgg_small"

[latency]
threads = 2

[search]
sparsity = { low = 0.0, high = 0.9 }
"""


def test_names_of_release_0_1_are_read(study):
    config = load_study(study(OLD_NAMES), ["latency.batch_size=4"])
    assert (config.study.estimate, config.study.derive) == (False, False)
    assert (config.target.threads, config.target.batch_size) == (2, 4)
    assert "[latency]" not in to_toml(config)
    assert load_study(study(OLD_NAMES), ["target.threads=3"]).target.threads == 3
    wrong = OLD_NAMES.replace("draft = false", "draft = 1").replace("threads = 2", "threads = 0")
    assert [line.partition(": expected")[0] for line in problems_of(study(wrong))] == [
        "study.toml:3: study.draft",
        "study.toml:13: latency.threads",
    ]
