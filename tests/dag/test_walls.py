"""Who may import whom: a step imports the common ground and the steps before it."""

import ast
import sys

import pytest

from clearice.fingerprint import imported_modules
from conftest import REPOSITORY

SCRIPTS = REPOSITORY / "workflow" / "scripts"
LIBRARY = SCRIPTS / "clearice"
TERMINAL = SCRIPTS / "snakemake_logger_plugin_clearice"
STEPS = [
    "micrographs",
    "shards",
    "dataset",
    "model",
    "reference",
    "parity",
    "denoised",
    "validation",
    "report",
    "command",
]
RUN = {
    "job_resources",
    "planning",
    "printed_plan",
    "__main__",
}  # look over all steps, and no step imports them
MODULES = sorted(LIBRARY.rglob("*.py"))


def imports_of(path):
    """Return the dotted names that a file imports, of modules and of what is taken from them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import hides its room"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_a_step_imports_only_the_common_ground_and_steps_before_it(path):
    room = path.relative_to(LIBRARY).parts[0]
    rooms = {name.split(".")[1] for name in imports_of(path) if name.startswith("clearice.")}
    used_steps, ground = rooms & set(STEPS), rooms - set(STEPS)
    if room in STEPS:
        later = [step for step in used_steps if STEPS.index(step) > STEPS.index(room)]
        assert not later, f"{room} comes before {later}"
    elif path.stem not in RUN:
        assert not used_steps, f"the common ground imports the steps {used_steps}"
    if room != "command" and path.stem not in RUN:
        assert not ground & RUN, "only scripts, rules and commands plan the run"


@pytest.mark.parametrize("path", sorted(TERMINAL.glob("*.py")), ids=lambda path: path.name)
def test_the_terminal_imports_only_the_common_ground(path):
    rooms = {name.split(".")[1] for name in imports_of(path) if name.startswith("clearice.")}
    assert not rooms & {*STEPS, *RUN}
    assert len(path.read_text().splitlines()) <= 300


def test_every_room_is_a_step_and_says_what_it_is_for():
    rooms = sorted(path.parent for path in LIBRARY.rglob("__init__.py") if path.parent != LIBRARY)
    assert {room.relative_to(LIBRARY).parts[0] for room in rooms} <= set(STEPS)
    for room in rooms:
        tree = ast.parse((room / "__init__.py").read_bytes())
        assert ast.get_docstring(tree), f"{room} does not say what it is for"
        assert len(tree.body) == 1, f"{room}/__init__.py holds more than a docstring"


def test_the_checker_needs_numpy_alone():
    script = SCRIPTS / "compare_implementation.py"
    command = {LIBRARY / "command" / name for name in ("main.py", "compare.py")}
    paths = {script, *imported_modules(script).values(), *command, LIBRARY / "errors.py"}
    others = {name.split(".")[0] for path in paths for name in imports_of(path)}
    assert others - set(sys.stdlib_module_names) == {"clearice", "numpy"}


def test_no_module_is_longer_than_a_sitting():
    lengths = {str(p.relative_to(LIBRARY)): len(p.read_text().splitlines()) for p in MODULES}
    assert {name: n for name, n in lengths.items() if n > 300} == {}
