"""What the documentation names exists: commands, options, keys of study files, public names."""

import ast
import html
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

import autocompress
from autocompress.config import study_from

ROOT = Path(__file__).parents[1]
GENERATOR = ROOT / "docs" / "generate.py"
TEXTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
INCLUDES = sorted(
    {found for file in TEXTS for found in re.findall(r'--8<-- "(.*)"', file.read_text())}
)
OF_0_1 = re.compile(r"^\| 0\.1 \| now \|\n(?:\|.*\n)*", re.MULTILINE)
LEAST = {
    "study": {"name": "least"},
    "data": {"source": "digits"},
    "model": {"factory": "autocompress:vgg_small"},
    "search": {"sparsity": [0.0, 0.5]},
}


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("docs_generate", GENERATOR)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def current(file):
    """Return a text without the old names: of tables of renamed things, only the new ones."""

    def new_names(table):
        return "\n".join(row.split(" | ", 1)[1] for row in table[0].splitlines())

    return OF_0_1.sub(new_names, file.read_text())


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def by_name(files):
    return pytest.mark.parametrize("file", files, ids=lambda file: str(file.relative_to(ROOT)))


def problems_of(call, commands, options_of):
    """Return what is wrong with ``COMMAND ARGUMENT --OPTION ...``, as it stands in a text."""
    name, _, rest = call.partition(" ")
    if name == "COMMAND":
        return []
    if name not in commands:
        return [f"there is no command {name!r}"]
    known = {option for one in options_of(commands[name]) for option in one.opts} | {"--help"}
    given = re.findall(r"(?<=\s)(--?[a-z][\w-]*)", f" {rest.partition('#')[0]}")
    return [f"{name} has no option {option}" for option in given if option not in known]


def calls_in(text):
    """Yield the calls of the command line in lines of code and in code within sentences."""
    code = [
        *re.findall(r"^(?: {4,}|\t)(.*)$", text, re.MULTILINE),
        *re.findall(r"(?<!`)`([^`\n]+)`", text),
        *(line for block in blocks(text, r"\w*") for line in block.splitlines()),
    ]
    for line in code:
        yield from re.findall(
            r"(?<![\w./:\"-])(?<!import )autocompress ([a-zA-Z]+(?: [^&;]*)?)", line
        )


@by_name(TEXTS)
def test_commands_and_options_exist(file, generate):
    wrong = [
        (call, problem)
        for call in calls_in(current(file))
        for problem in problems_of(call, generate.commands(), generate.options_of)
    ]
    assert not wrong


def test_calls_are_found_and_wrong_ones_reported(generate):
    text = (
        "Try `autocompress frnt RUN`:\n\n    autocompress export runs/x --pik small -o b  # --no\n"
    )
    told = [
        problem
        for call in calls_in(text)
        for problem in problems_of(call, generate.commands(), generate.options_of)
    ]
    assert sorted(told) == ["export has no option --pik", "there is no command 'frnt'"]


def test_the_example_of_each_command_uses_its_own_options(generate):
    for name, command in generate.commands().items():
        example = command.help.partition("Example: autocompress ")[2].replace("\n", " ")
        assert example.split()[0] == name
        assert not problems_of(example, generate.commands(), generate.options_of)


@by_name([file for file in TEXTS if blocks(file.read_text(), "toml")])
def test_keys_of_study_files_are_known(file):
    for block in blocks(file.read_text(), "toml"):
        if "--8<--" in block:
            continue
        given = tomllib.loads(block)
        whole = {**LEAST, **given}
        for section in ("study", "data", "model"):
            whole[section] = {**LEAST[section], **whole[section]}
        if "plugins" in whole["study"]:
            whole["study"]["plugins"] = ["json"]  # they are imported; the texts name no real one
        study_from(whole)  # an error names the key


@by_name([file for file in TEXTS if "--set " in file.read_text()])
def test_values_that_are_replaced_exist(file):
    sections = study_from(LEAST).to_dict()
    for section, key in re.findall(r"--set (\w+)\.(\w+)=", file.read_text()):
        assert key in sections[section], f"--set {section}.{key}"


@by_name(TEXTS)
def test_public_names_exist(file):
    named = set(re.findall(r"(?<![\w.])ac\.([A-Za-z_]\w*)", current(file)))
    assert not named - set(autocompress.__all__) - {"NAME"}


@by_name([file for file in TEXTS if blocks(file.read_text(), "python")])
def test_python_in_texts_is_python(file):
    for block in blocks(file.read_text(), "python"):
        if "--8<--" not in block:
            ast.parse(block)


@by_name([file for file in TEXTS if ROOT / "docs" not in file.parents])
def test_links_to_files_lead_somewhere(file):
    """MkDocs checks those between the pages of the documentation."""
    for link in re.findall(r"\]\(([^)#]+)", file.read_text()):
        assert link.startswith("https://") or (file.parent / link).exists(), link


def test_every_example_is_shown_and_every_shown_file_exists():
    shown = {include.partition(":")[0] for include in INCLUDES}
    examples = {f"examples/{file.name}" for file in (ROOT / "examples").glob("own_*")}
    assert examples <= shown
    assert all((ROOT / path).exists() for path in shown)


@pytest.fixture(scope="module")
def rendered():
    """Renders Markdown as the build of the documentation does."""
    pytest.importorskip("mkdocs")
    markdown = importlib.import_module("markdown")
    config = importlib.import_module("mkdocs.config").load_config(str(ROOT / "mkdocs.yml"))
    options = {
        "extensions": config["markdown_extensions"],
        "extension_configs": config["mdx_configs"],
    }
    return lambda text: html.unescape(re.sub("<[^>]+>", "", markdown.markdown(text, **options)))


@pytest.mark.parametrize("include", INCLUDES)
def test_what_is_included_is_whole(include, rendered):
    shown = rendered(f'```\n--8<-- "{include}"\n```')
    assert shown.strip()
    if include.startswith("examples/"):
        (ast.parse if ".py" in include else tomllib.loads)(shown)


@pytest.mark.parametrize("include", ["examples/none.py", "examples/small.py:none"])
def test_the_build_stops_at_an_include_that_is_not_there(include, rendered):
    with pytest.raises(Exception, match=r"could not be (found|located)"):
        rendered(f'--8<-- "{include}"')


def test_every_public_name_has_its_place_in_the_reference(generate):
    subjects = [subject for topic in generate.TOPICS.values() for subject in topic.values()]
    placed = [name for names in subjects for name in names]
    assert sorted(placed) == sorted(autocompress.__all__)
    for topic in generate.TOPICS:
        assert (ROOT / "docs" / "api" / f"{topic}.md").exists()


def test_every_part_that_a_page_asks_for_is_made(generate):
    marks = {mark for file in TEXTS for mark in generate.MARK.findall(file.read_text())}
    wanted = {name for kind, name in marks if kind == "generated"}
    assert wanted <= set(generate.PARTS)
    assert {name for kind, name in marks if kind == "api"} == set(generate.TOPICS) - {"modules"}
    assert {name for kind, name in marks if kind == "module"} == set(generate.MODULES)
    for name in wanted:
        assert any("|" in line or "=" in line for line in generate.PARTS[name]())


def test_the_reference_shows_defaults_of_settings_alone():
    griffe = pytest.importorskip("griffe")
    extensions = griffe.load_extensions(str(ROOT / "docs" / "docstrings.py"))
    recipe = griffe.load("autocompress.recipe.Recipe", extensions=extensions, search_paths=[ROOT])
    assert {p.name: str(p.default) for p in recipe.parameters}["fold"] == "True"
