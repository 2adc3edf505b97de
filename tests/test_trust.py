"""Nothing that a run or bundle from elsewhere names is called unasked."""

import json
import shutil

import pytest
import torch
import typer

import autocompress as ac
from autocompress.cli.permission import allowed_by
from autocompress.errors import UntrustedError
from autocompress.events import ignore
from autocompress.runs import Run
from autocompress.study.controls import run_controls
from autocompress.study.remeasure import remeasure
from autocompress.study.run import resume_run
from autocompress.trust import not_allowed, references, require_trust, state_folder, trust

IMAGES = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
STUDY_TABLES = {"model": {"factory": "mine:net", "kwargs": {"width": 3}}, "study": {"seed": 1}}


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder with a module that leaves a file behind when it is imported."""
    home = tmp_path / "home"
    home.mkdir()
    touched = home / "touched"
    (home / "mine.py").write_text(
        f"import pathlib, torch\npathlib.Path({str(touched)!r}).touch()\n"
        "def net(**kwargs):\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
    )
    monkeypatch.chdir(home)
    monkeypatch.setenv("AUTOCOMPRESS_STATE", str(tmp_path / "state"))
    return home


def test_what_would_be_called_is_found_wherever_it_stands():
    study = {
        "study": {"plugins": ["more.of_it"], "objectives": ["accuracy", "mine:energy"]},
        "data": {"source": "folder:a/b"},
        "model": {"factory": "torchvision:resnet18", "kwargs": {"block": "os:system"}},
        "task": {"name": "classification"},
        "target": {"runtime": "python:Mine"},
        "search": {"allocation": "mine:even", "criterion": ["taylor", "other.module:best"]},
    }
    expected = {"mine:energy", "os:system", "mine:even", "other.module:best", "more.of_it"}
    assert set(references(study)) == expected


@pytest.mark.parametrize(
    "document", [None, [], "mine", {"study": None}, {"study": {"plugins": 3}}]
)
def test_what_names_nothing_has_no_references(document):
    assert references(document) == ()


def test_packages_are_allowed_whole_and_the_standard_library_never():
    names = ("mine:net", "mine.nets:net", "miner:net", "os:system", "autocompress.trust:trust")
    assert not_allowed(names, ["mine"]) == ("miner:net", "os:system", "autocompress.trust:trust")
    assert not_allowed(names, ["os", "mine.nets"])[1:] == names[2:]


def test_what_was_trusted_is_trusted_again_wherever_the_run_lies(mine):
    with pytest.raises(UntrustedError, match=r"runs/x names mine:net .*allow=\['mine'\]"):
        require_trust(STUDY_TABLES, "runs/x")
    require_trust(STUDY_TABLES, "runs/x", ["mine"])
    trust(STUDY_TABLES)
    require_trust(STUDY_TABLES, "elsewhere")
    trust(STUDY_TABLES)
    assert len(json.loads((state_folder() / "trusted.json").read_text())) == 1
    assert not (mine / "touched").exists()


@pytest.mark.parametrize(
    "changed",
    [
        {"model": {"factory": "mine:net", "kwargs": {"width": 4}}},
        {"model": {"factory": "mine:other"}},
        {"study": {"plugins": ["mine"]}},
        {"data": {"source": "mine:data"}},
    ],
)
def test_other_functions_and_other_arguments_are_not(mine, changed):
    trust(STUDY_TABLES)
    with pytest.raises(UntrustedError):
        require_trust({**STUDY_TABLES, **changed}, "it")
    require_trust({**STUDY_TABLES, "limits": {"accuracy_drop": 0.1}}, "it")


def test_another_module_of_that_name_is_not(mine, tmp_path, monkeypatch):
    trust(STUDY_TABLES)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(mine / "mine.py", elsewhere)
    monkeypatch.chdir(elsewhere)
    with pytest.raises(UntrustedError):
        require_trust(STUDY_TABLES, "it")


def test_a_damaged_note_trusts_nothing(mine):
    trust(STUDY_TABLES)
    for text in ("{", '{"a": 1}', "3"):
        (state_folder() / "trusted.json").write_text(text)
        with pytest.raises(UntrustedError):
            require_trust(STUDY_TABLES, "it")


@pytest.fixture
def strange(copied, mine):
    """A run from elsewhere that names a function of the module."""
    study = copied / "study.toml"
    text = study.read_text().replace('"autocompress:vgg_small"', '"mine:net"')
    assert "mine:net" in text
    study.write_text(text)
    return Run.open(copied)


@pytest.mark.parametrize(
    "call",
    [
        lambda run, folder: ac.export_trial(run, 0, folder / "bundle"),
        lambda run, folder: resume_run(run.path),
        lambda run, folder: remeasure(run, [], ignore),
        lambda run, folder: run_controls(run),
        lambda run, folder: allowed_by(None, run),
        lambda run, folder: allowed_by(["other"], run),
    ],
)
def test_the_code_of_a_run_from_elsewhere_is_not_called(strange, mine, call):
    with pytest.raises(UntrustedError, match="names mine:net to be called"):
        call(strange, mine)
    assert not (mine / "touched").exists()


def test_a_run_from_elsewhere_can_be_read(strange, mine):
    assert strange.front()
    assert strange.status().to_dict()
    assert not (mine / "touched").exists()


@pytest.mark.parametrize("answer", [True, False])
def test_whoever_can_answer_is_asked(strange, monkeypatch, answer):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: answer)
    if answer:
        allowed_by(None, strange)
        require_trust(strange.config, "it")
    else:
        with pytest.raises(UntrustedError):
            allowed_by(None, strange)


def test_neither_the_code_of_a_bundle_nor_the_standard_library_is_called(mine):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    ac.export(net, mine / "bundle", factory="mine:net", example=IMAGES)
    (mine / "touched").unlink(missing_ok=True)
    with pytest.raises(UntrustedError, match=r"names mine:net .* or give the function itself"):
        ac.load(mine / "bundle")
    with pytest.raises(UntrustedError):
        ac.load(mine / "bundle", allow=["min"])
    assert not (mine / "touched").exists()
    assert ac.load(mine / "bundle", factory=lambda: net) is not None
    assert not (mine / "touched").exists()
    loaded = ac.load(mine / "bundle", allow=["mine"])
    assert loaded[1].weight.equal(net[1].weight)
    assert (mine / "touched").exists()
    index = mine / "bundle" / "bundle.json"
    index.write_text(index.read_text().replace('"mine:net"', '"os:system"'))
    with pytest.raises(UntrustedError, match="os:system"):
        ac.load(mine / "bundle", allow=["os"])
