"""The root folders are sub-packages: in a checkout, in a wheel, and without anything heavy at import."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
SCRIPTS: dict[str, str] = PROJECT["project"]["scripts"]
FOLDERS = ("export", "quantize", "runtimes", "benchmarks")
HEAVY = (
    "torch",
    "onnx",
    "onnxruntime",
    "openvino",
    "ai_edge_litert",
    "tflite_runtime",
    "av",
    "rich",
    "museval",
    "clarity",
    "numba",
)
#: What a device installs. PyAV alone would be 100 MB of a light install that is to stay below 120 (README).
LIGHT = {"numpy", "soundfile", "soxr"}
# What a build or the commands of README leave behind: anywhere, and beside pyproject.toml.
LEFTOVERS = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__")
TOP_LEFTOVERS = {"build", "dist", "separated", "runs", "songs", "stems"}


def no_source(folder: str, names: list[str]) -> set[str]:
    """What of a folder is left out of a copy of the sources."""
    return LEFTOVERS(folder, names) | (TOP_LEFTOVERS if Path(folder) == ROOT else set())


def shipped_files() -> set[str]:
    """Every file of the five folders, under the name it has in the package."""
    homes = {"ddtasnet_edge": "ddtasnet_edge", **{folder: f"ddtasnet_edge/{folder}" for folder in FOLDERS}}
    return {
        f"{inside}/{path.relative_to(ROOT / home).as_posix()}"
        for home, inside in homes.items()
        for path in (ROOT / home).rglob("*")
        if path.is_file() and path.resolve().is_relative_to(ROOT / home) and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """The wheel, built from a copy so that no leftover of an earlier build gets in or out."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", symlinks=True, ignore=no_source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, folder / "source"]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return ZipFile(path)


def run_python(code: str, folder: Path) -> None:
    """Run code in a new interpreter outside the checkout."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("folder", FOLDERS)
def test_links_resolve_to_the_root_folders(folder: str) -> None:
    link = ROOT / "ddtasnet_edge" / folder
    assert link.is_symlink()
    assert link.readlink() == Path("..") / folder
    assert link.resolve() == ROOT.resolve() / folder
    assert (link / "__init__.py").is_file()


def test_no_folder_with_code_is_missing_from_the_packages() -> None:
    folders = {str(Path(name).parent).replace("/", ".") for name in shipped_files() if name.endswith(".py")}
    assert folders == set(SETUPTOOLS["packages"])


def test_folders_are_mapped_to_their_packages() -> None:
    expected = {"ddtasnet_edge": "ddtasnet_edge", **{f"ddtasnet_edge.{folder}": folder for folder in FOLDERS}}
    assert SETUPTOOLS["package-dir"] == expected


def test_the_wheel_has_one_top_level_name(wheel: ZipFile) -> None:
    version = PROJECT["project"]["version"]
    assert {name.split("/")[0] for name in wheel.namelist()} == {"ddtasnet_edge", f"ddtasnet_edge-{version}.dist-info"}


def test_the_wheel_holds_every_file_once(wheel: ZipFile) -> None:
    """Code and data: a data file of a mapped folder needs its own package-data entry."""
    names = [name for name in wheel.namelist() if name.startswith("ddtasnet_edge/")]
    assert len(names) == len(set(names))
    assert set(names) == shipped_files()


def test_every_package_data_entry_names_a_file() -> None:
    homes = SETUPTOOLS["package-dir"]
    for package, patterns in SETUPTOOLS["package-data"].items():
        for pattern in patterns:
            assert list((ROOT / homes[package]).glob(pattern)), f"{package}: {pattern}"


def test_the_wheel_brings_commands_and_licences(wheel: ZipFile) -> None:
    info = f"ddtasnet_edge-{PROJECT['project']['version']}.dist-info"
    entries = wheel.read(f"{info}/entry_points.txt").decode()
    assert all(f"{name} = {target}" in entries for name, target in SCRIPTS.items())
    for name in PROJECT["project"]["license-files"]:
        assert wheel.read(f"{info}/licenses/{name}") == (ROOT / name).read_bytes()


def test_the_light_install_stays_light(wheel: ZipFile) -> None:
    """By what pip reads: nothing but three packages without an extra, and with [tflite] the interpreter alone."""
    lines = wheel.read(f"ddtasnet_edge-{PROJECT['project']['version']}.dist-info/METADATA").decode().splitlines()
    found = [Requirement(line.removeprefix("Requires-Dist: ")) for line in lines if line.startswith("Requires-Dist: ")]
    board = {"platform_machine": "aarch64", "python_version": "3.11", "sys_platform": "linux"}

    def needed(extra: str) -> set[str]:
        return {one.name for one in found if one.marker is None or one.marker.evaluate({**board, "extra": extra})}

    assert needed("") == LIGHT
    assert needed("tflite") == {*LIGHT, "ai-edge-litert"}
    assert needed("onnx") == {*LIGHT, "onnxruntime"}
    assert needed("openvino") == {*LIGHT, "openvino"}
    assert needed("media") == {*LIGHT, "av"}


def test_the_light_wheel_is_small(wheel: ZipFile) -> None:
    """Unpacked; 4 MB were seen, 3.2 of them weights."""
    assert sum(entry.file_size for entry in wheel.infolist()) < 6e6


@pytest.mark.parametrize("extra", ["export", "train", "eval", "dev"])
def test_what_needs_the_default_clip_brings_its_decoder(extra: str) -> None:
    own = [Requirement(text) for text in PROJECT["project"]["optional-dependencies"][extra]]
    assert any("media" in one.extras for one in own if one.name == "ddtasnet-edge")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_command_is_installed_and_has_a_main(name: str) -> None:
    assert (Path(sys.executable).parent / name).is_file()
    module, _, function = SCRIPTS[name].partition(":")
    tree = ast.parse((ROOT / module.replace(".", "/")).with_suffix(".py").read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_version_is_told_once(tmp_path: Path) -> None:
    version = PROJECT["project"]["version"]
    run_python(f"import ddtasnet_edge; assert ddtasnet_edge.__version__ == {version!r}", tmp_path)


def test_importing_the_package_does_not_import_torch(tmp_path: Path) -> None:
    run_python("import ddtasnet_edge, sys; assert 'torch' not in sys.modules", tmp_path)


def test_importing_the_core_imports_nothing_heavy(tmp_path: Path) -> None:
    """Every core module but those that need PyTorch, the four folders and all command lines."""
    with_torch = ("step", "compiler", "auto_recipe")
    core = [
        f"ddtasnet_edge.{path.stem}" for path in (ROOT / "ddtasnet_edge").glob("*.py") if path.stem not in with_torch
    ]
    folders = [f"ddtasnet_edge.{folder}" for folder in FOLDERS]
    commands = [target.partition(":")[0] for target in SCRIPTS.values()]
    code = f"""
import importlib, sys
for name in {sorted({*core, *folders, *commands})}:
    importlib.import_module(name)
    heavy = [each for each in {HEAVY} if each in sys.modules]
    assert not heavy, f"{{name}} imports {{heavy}}"
"""
    run_python(code, tmp_path)


def test_the_root_folders_are_not_modules_of_their_own(tmp_path: Path) -> None:
    run_python(f"import importlib.util as u; assert not [name for name in {FOLDERS} if u.find_spec(name)]", tmp_path)


def test_constraints_pin_every_dependency_to_one_version() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    assert all(str(pin.specifier).startswith("==") and "," not in str(pin.specifier) for pin in pins)
    assert not any("+" in str(pin.specifier) for pin in pins), "a local version exists in one index only"
    extras = PROJECT["project"]["optional-dependencies"].values()
    wanted = {Requirement(text).name for text in sum(extras, PROJECT["project"]["dependencies"])}
    # tflite-runtime has an environment of its own: it needs another numpy.
    assert wanted - {pin.name for pin in pins} == {"ddtasnet-edge", "tflite-runtime"}
