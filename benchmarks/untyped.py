"""How much of the package passes plain dictionaries around, and how do its modules import?

    python -m benchmarks.untyped . /path/of/another/checkout

Counts by syntax tree, without importing anything: dictionaries of anything (``dict[str, Any]``,
``Mapping[str, Any]`` and their kin) in annotations: in all, in signatures of public functions,
and there without ``to_dict`` and ``from_dict``, whose purpose is JSON; files and lines; and the
imports between the top modules and packages of ``autocompress``: cycles and layers. Imports for
annotations only (``TYPE_CHECKING``) are left out.
"""

import argparse
import ast
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "autocompress"
SERIAL = {"to_dict", "from_dict"}
DICTIONARIES = {"dict", "Mapping", "MutableMapping", "Dict"}
Graph = Mapping[str, frozenset[str]]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What was counted in a checkout.

    Attributes:
        files: modules of the package.
        lines: of them.
        longest: lines of the longest.
        untyped: top module or package to dictionaries of anything in its annotations.
        public: the same, in signatures of public functions and methods.
        between: of those, without ``to_dict`` and ``from_dict``.
        imports: top module or package to those it imports when it is imported.
        all_imports: the same, imports inside functions included.
    """

    files: int
    lines: int
    longest: int
    untyped: Mapping[str, int]
    public: Mapping[str, int]
    between: Mapping[str, int]
    imports: Graph
    all_imports: Graph


def counts_of(checkout: Path) -> Counts:
    """Count in the package of a checkout."""
    home = checkout / PACKAGE
    files = sorted(home.rglob("*.py"))
    if not files:
        raise SystemExit(f"{home} has no Python files")
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in files}
    lines = [len(file.read_text(encoding="utf-8").splitlines()) for file in files]
    tops = {_top(file, home) for file in files}
    return Counts(
        files=len(files),
        lines=sum(lines),
        longest=max(lines),
        untyped=_by_top(trees, home, _annotations),
        public=_by_top(trees, home, lambda tree: _signatures(tree, frozenset())),
        between=_by_top(trees, home, lambda tree: _signatures(tree, SERIAL)),
        imports=_graph(trees, home, tops, lazy=False),
        all_imports=_graph(trees, home, tops, lazy=True),
    )


def _annotations(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield the annotations of arguments, results and variables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            yield node.returns


def _signatures(tree: ast.Module, without: Set[str]) -> Iterator[ast.expr]:
    """Yield the annotations in signatures of public functions, and of public classes' methods."""
    for function in _public_functions(tree):
        if function.name not in without:
            arguments = function.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            every += [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
            yield from (found.annotation for found in every if found.annotation is not None)
            if function.returns is not None:
                yield function.returns


def _public_functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("_"):
            continue
        for function in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and (
                not function.name.startswith("_") or function.name == "__init__"
            ):
                yield function


def _by_top(
    trees: Mapping[Path, ast.Module],
    home: Path,
    annotations: Callable[[ast.Module], Iterator[ast.expr]],
) -> Counter[str]:
    found: Counter[str] = Counter()
    for file, tree in trees.items():
        found[_top(file, home)] += sum(map(_untyped, annotations(tree)))
    return +found


def _untyped(annotation: ast.expr) -> int:
    """Return how many dictionaries of anything an annotation names; those in texts too."""
    found = 0
    for node in ast.walk(annotation):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                found += _untyped(ast.parse(node.value, mode="eval").body)
            except SyntaxError:
                continue
        if isinstance(node, ast.Subscript) and _name(node.value) in DICTIONARIES:
            arguments = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            found += [_name(argument) for argument in arguments] == ["str", "Any"]
    return found


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _top(file: Path, home: Path) -> str:
    return file.relative_to(home).parts[0].removesuffix(".py")


def _graph(trees: Mapping[Path, ast.Module], home: Path, tops: set[str], *, lazy: bool) -> Graph:
    found: dict[str, set[str]] = {top: set() for top in tops}
    for file, tree in trees.items():
        here = _top(file, home)
        for name in _imported(tree, lazy=lazy):
            parts = name.split(".")
            if parts[0] == PACKAGE and len(parts) > 1 and parts[1] in tops - {here}:
                found[here].add(parts[1])
    del found["__init__"]  # it names everything, and loads what is used
    return {top: frozenset(others - {"__init__"}) for top, others in found.items()}


def _imported(node: ast.AST, *, lazy: bool) -> Iterator[str]:
    """Yield the names that a module imports, but for annotations."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.If) and _name(child.test) == "TYPE_CHECKING":
            continue
        elif lazy or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _imported(child, lazy=lazy)


def cycles(graph: Graph) -> list[list[str]]:
    """Return the groups of modules that import each other, over others too; each sorted."""
    reached = {top: _reachable(top, graph) for top in graph}
    groups = {
        frozenset(other for other in reached[top] if top in reached[other])
        for top in graph
        if top in reached[top]
    }
    return sorted(map(sorted, groups))


def _reachable(start: str, graph: Graph) -> set[str]:
    found: set[str] = set()
    left = list(graph[start])
    while left:
        top = left.pop()
        if top not in found:
            found.add(top)
            left += graph[top]
    return found


def layers(graph: Graph) -> list[list[str]]:
    """Return modules from the bottom up: each imports only from layers before its own.

    Those of a cycle share a layer with each other.
    """
    group = {top: frozenset([top]) for top in graph}
    for cycle in cycles(graph):
        group |= dict.fromkeys(cycle, frozenset(cycle))
    found: list[list[str]] = []
    below: set[str] = set()
    while below != graph.keys():
        layer = {
            top
            for top in graph.keys() - below
            if all(graph[other] <= below | group[top] for other in group[top])
        }
        found.append(sorted(layer))
        below |= layer
    return found


def report(checkout: Path, counts: Counts) -> str:
    """Return the counts of a checkout as text."""
    lines = [
        f"{checkout.resolve()}",
        f"  dictionaries of anything in annotations: {_numbers(counts.untyped)}",
        f"  in signatures of public functions: {_numbers(counts.public)}",
        f"  there, without to_dict and from_dict: {_numbers(counts.between)}",
        f"  files: {counts.files}, lines: {counts.lines}, longest file: {counts.longest}",
        f"  import cycles: {_listed(cycles(counts.imports))}; "
        f"with imports inside functions: {_listed(cycles(counts.all_imports))}",
        "  layers, from the bottom, imports inside functions included:",
    ]
    rows = enumerate(layers(counts.all_imports), 1)
    return "\n".join([*lines, *(f"    {number}. {', '.join(row)}" for number, row in rows)])


def _numbers(found: Mapping[str, int]) -> str:
    most = sorted(found.items(), key=lambda item: -item[1])
    return f"{sum(found.values())} ({', '.join(f'{top} {count}' for top, count in most)})"


def _listed(groups: list[list[str]]) -> str:
    return "; ".join(", ".join(group) for group in groups) or "none"


def main() -> None:
    """Print the counts of each checkout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkouts", type=Path, nargs="*", default=[Path()])
    for checkout in parser.parse_args().checkouts:
        sys.stdout.write(report(checkout, counts_of(checkout)) + "\n")


if __name__ == "__main__":
    main()
