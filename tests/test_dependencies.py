"""Who may import whom (DESIGN section 2), read from the source of every module without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("export", "quantize", "runtimes", "benchmarks")
# Folder -> other folders that its modules may import at import time; its own and the core always.
ALLOWED = {
    "ddtasnet_edge": set(),
    "export": set(),
    "quantize": {"export"},
    "runtimes": set(),
    "benchmarks": {"runtimes"},
}
# The command lines and the compilers, which they call, tie everything together (docs/ARCHITECTURE.md).
TIES = ("cli.py", "compiler.py", "auto_recipe.py")
# The reference session runs the PyTorch step itself.
WITH_TORCH = ("torch_session.py",)
# Core modules that need torch as soon as they are imported.
TORCH_MODULES = ("torch", "ddtasnet_edge.models", "ddtasnet_edge.step")


def modules(folder: str) -> list[Path]:
    """The modules of a root folder; the links inside ddtasnet_edge are not followed."""
    home = ROOT / folder
    return sorted(path for path in home.rglob("*.py") if path.resolve().is_relative_to(home.resolve()))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def statements(tree: ast.AST, *, everywhere: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when the module is imported; with `everywhere` also those inside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif everywhere or not (isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_type_checking(node)):
            yield from statements(node, everywhere=everywhere)


def imported(source: str, *, everywhere: bool = False) -> set[str]:
    """Full names of what a source imports; `from a import b` gives both a and a.b, as b may be a module."""
    names = set()
    for node in statements(ast.parse(source), everywhere=everywhere):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        else:
            origin = "." * node.level + (node.module or "")
            names |= {origin} | {f"{origin}.{alias.name}" for alias in node.names}
    return names


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def folders_of(names: set[str]) -> set[str]:
    """Which of the four folders are among imported names."""
    return {folder for folder in FOLDERS if any(within(name, f"ddtasnet_edge.{folder}") for name in names)}


ALL_MODULES = [(folder, path) for folder in ALLOWED for path in modules(folder)]
BOUND = [(folder, path) for folder, path in ALL_MODULES if path.name not in TIES]


@pytest.mark.parametrize(("folder", "path"), BOUND, ids=lambda value: getattr(value, "stem", value))
def test_a_module_imports_only_what_its_folder_may(folder: str, path: Path) -> None:
    assert folders_of(imported(path.read_text())) - {folder} <= ALLOWED[folder]


@pytest.mark.parametrize(
    "path", [path for path in modules("runtimes") if path.name not in WITH_TORCH], ids=lambda path: path.stem
)
def test_runtimes_never_need_torch(path: Path) -> None:
    source = path.read_text()
    assert not any(within(name, "torch") for name in imported(source, everywhere=True))
    assert not any(within(name, module) for name in imported(source) for module in TORCH_MODULES)


@pytest.mark.parametrize(("folder", "path"), ALL_MODULES, ids=lambda value: getattr(value, "stem", value))
def test_imports_are_absolute_and_start_at_the_package(folder: str, path: Path) -> None:  # noqa: ARG001
    names = imported(path.read_text(), everywhere=True)
    assert not any(name.startswith(".") for name in names), "a relative import"
    assert not any(within(name, bare) for name in names for bare in FOLDERS), "a second module object for one file"


def test_every_folder_is_looked_at() -> None:
    assert {folder for folder, _ in ALL_MODULES} == {"ddtasnet_edge", *FOLDERS}
    assert ROOT / "ddtasnet_edge" / "models" / "ddtasnet.py" in modules("ddtasnet_edge")
    assert not any("export" in path.parts for path in modules("ddtasnet_edge"))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import ddtasnet_edge.export", {"export"}),
        ("import ddtasnet_edge.export.registry as r", {"export"}),
        ("from ddtasnet_edge.runtimes import open_session", {"runtimes"}),
        ("from ddtasnet_edge import quantize, errors", {"quantize"}),
        ("try:\n    import ddtasnet_edge.export\nexcept ImportError:\n    pass", {"export"}),
        ("class A:\n    from ddtasnet_edge.export import x", {"export"}),
        ("if True:\n    import ddtasnet_edge.benchmarks", {"benchmarks"}),
        ("def f():\n    import ddtasnet_edge.export", set()),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ddtasnet_edge.export", set()),
        ("from ddtasnet_edge.exporters import x", set()),
    ],
)
def test_the_reader_sees_imports_where_they_run(source: str, found: set[str]) -> None:
    assert folders_of(imported(source)) == found


def test_the_reader_sees_imports_inside_functions_when_asked() -> None:
    source = "def f():\n    from . import a\n    import torch.nn"
    assert imported(source, everywhere=True) == {".", "..a", "torch.nn"}
    assert imported(source) == set()
