"""Measurements of the names and docstrings in the package; ``make names`` prints them.

The numbers are a thermometer: a name is good when a reader guesses right what it stands for, and a
rename that only pleases this script is worse than none.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[2] / "plugin" / "bundle_fix"

VERBS = frozenset(Path(__file__).with_name("verbs.txt").read_text(encoding="utf-8").split())
"""First words that count as a verb; the third person only where it reads as a question."""

QUESTION = re.compile(r"(What|Whether|Where|How|Who|Whose|Why|When)\b")
CLICK = frozenset({"command", "group", "option", "argument"})

LIMITS = {
    "function names that begin with a verb": (">=", 60.0),
    "function names of one word": ("<=", 25.0),
    "function names in three modules or more": ("<=", 10.0),
    "docstrings that begin with What/Whether/Where/How/Who": ("<=", 3.0),
    "class names that occur twice": ("<=", 0.0),
    "module names in more than two packages": ("<=", 0.0),
}
"""The bar of each measure: percent, or a number of names for the last two and the third."""


class Function(NamedTuple):
    """A function or method whose name was chosen freely, and the module that it is in."""

    name: str
    module: str

    @property
    def words(self) -> list[str]:
        """The words of the name, without the underscores of a private one."""
        return self.name.strip("_").split("_")


class Source(NamedTuple):
    """The names and docstrings of one module."""

    module: str
    functions: list[Function]
    classes: list[str]
    docstrings: list[str]


class Measure(NamedTuple):
    """One measured number, what it counts, and the names behind it."""

    title: str
    value: float
    examples: list[str]

    @property
    def passed(self) -> bool:
        """Return whether the number is within its bar."""
        relation, bar = LIMITS[self.title]
        return self.value >= bar if relation == ">=" else self.value <= bar


def read_sources(package: Path = PACKAGE) -> list[Source]:
    """Parse every module below ``package``."""
    return [read_source(path, package) for path in sorted(package.rglob("*.py"))]


def read_source(path: Path, package: Path) -> Source:
    """Parse one module."""
    module = ".".join(path.relative_to(package).with_suffix("").parts)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    definitions = list(find_definitions(tree))
    functions = [
        Function(node.name, module)
        for node in definitions
        if isinstance(node, ast.FunctionDef) and is_named_freely(node)
    ]
    classes = [node.name for node in definitions if isinstance(node, ast.ClassDef)]
    docstrings = [text for node in (tree, *definitions) if (text := ast.get_docstring(node))]
    return Source(module, functions, classes, docstrings)


def find_definitions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Yield every function and class of a module, nested ones included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node


def is_named_freely(function: ast.FunctionDef) -> bool:
    """Return whether neither Python, a property nor the command line fixes the name."""
    if function.name.startswith("__"):
        return False
    for decorator in function.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
        if name in CLICK or name.endswith("property") or name in {"setter", "override"}:
            return False
    return True


def find_places(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Group (name, place) pairs by name."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, place in pairs:
        found[name].add(place)
    return found


def measure_names(sources: list[Source]) -> list[Measure]:
    """Compute every measure of `LIMITS`, in its order."""
    functions = [function for source in sources for function in source.functions]
    total = max(1, len(functions))
    other = sorted({f"{f.module}.{f.name}" for f in functions if f.words[0] not in VERBS})
    short = sorted({f"{f.module}.{f.name}" for f in functions if len(f.words) == 1})
    modules_of = find_places((f.name, f.module) for f in functions)
    repeated = sorted(name for name, modules in modules_of.items() if len(modules) > 2)
    docstrings = [(s.module, text.splitlines()[0]) for s in sources for text in s.docstrings]
    questions = [f"{module}: {line}" for module, line in docstrings if QUESTION.match(line)]
    classes = find_places((name, s.module) for s in sources for name in s.classes)
    twice = sorted(name for name, modules in classes.items() if len(modules) > 1)
    rooms = find_places(split_module(s.module) for s in sources)
    crowded = sorted(name for name, packages in rooms.items() if len(packages) > 2)
    values = (
        (100 - 100 * sum(f.words[0] not in VERBS for f in functions) / total, other),
        (100 * sum(len(f.words) == 1 for f in functions) / total, short),
        (float(len(repeated)), repeated),
        (100 * len(questions) / max(1, len(docstrings)), questions),
        (float(len(twice)), twice),
        (float(len(crowded)), crowded),
    )
    return [Measure(title, *value) for title, value in zip(LIMITS, values, strict=True)]


def split_module(module: str) -> tuple[str, str]:
    """Return a module's own name and its package; families of rules and packages have none."""
    package, _, name = module.rpartition(".")
    if name in {"__init__", "__main__"} or package == "check.rules":
        return f"{module} (exempt)", package
    return name, package


def main(arguments: list[str]) -> int:
    """Print the measures, with ``-v`` the names behind them; return 1 if one is missed."""
    measures = measure_names(read_sources())
    for measure in measures:
        relation, bar = LIMITS[measure.title]
        verdict = "ok" if measure.passed else "MISSED"
        print(f"{measure.title:56} {measure.value:6.1f}   {relation} {bar:4.0f}  {verdict}")
        if "-v" in arguments:
            print("".join(f"    {example}\n" for example in measure.examples), end="")
    return 0 if all(measure.passed for measure in measures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
