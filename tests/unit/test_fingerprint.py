"""What counts as a change of code, and what does not."""

import shutil
import subprocess
import sys

import pytest

from clearice import fingerprint as module
from clearice.fingerprint import OUTSIDE, fingerprint, imported_modules
from conftest import REPOSITORY

SCRIPTS = REPOSITORY / "workflow" / "scripts"
FILES = {
    "program.py": "import os\nfrom near import one\nfrom room.deep import two\n\nprint(one, two)\n",
    "near.py": "import nearest\n\none = nearest.one\n",
    "nearest.py": "one = 1\n",
    "room/__init__.py": '"""A room."""\n',
    "room/deep.py": "def two():\n    from room import late\n    return late\n",
    "room/late.py": "three = 3\n",
    "other.py": "two = 2\n",
}


@pytest.fixture
def program(tmp_path):
    """A script with modules beside it."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path / "program.py"


def fresh(script):
    """Return the fingerprint that a new process would find."""
    module._facts.cache_clear()
    return fingerprint(script)


def test_modules_are_found_directly_through_others_and_inside_functions(program):
    found = {"near", "nearest", "room", "room.deep", "room.late"}
    assert set(imported_modules(program)) == found


@pytest.mark.parametrize("name", ["program.py", "near.py", "nearest.py", "room/late.py"])
def test_a_changed_line_counts_wherever_it_is(program, name):
    before = fresh(program)
    path = program.parent / name
    path.write_text(path.read_text() + "more = 4\n")
    assert fresh(program) != before


def test_comments_docstrings_line_breaks_and_other_modules_do_not_count(program):
    before = fresh(program)
    near, deep = program.parent / "near.py", program.parent / "room" / "deep.py"
    near.write_text('"""Near."""\n# a comment\n\nimport nearest\none = (\n    nearest.one\n)\n')
    deep.write_text('def two():\n    """Two."""\n    from room import late\n\n    return late\n')
    (program.parent / "other.py").write_text("two = 3\n")
    assert fresh(program) == before


def test_what_is_remembered_is_right_and_a_damaged_memory_does_no_harm(program):
    before = fresh(program)
    memories = list(program.parent.rglob("*.fingerprint.json"))
    assert {path.name for path in memories} >= {"program.py.fingerprint.json"}
    assert fresh(program) == before
    for memory, text in zip(memories, ["", "[]", "{}", '{"state": null}', "\0", "1"], strict=False):
        memory.write_text(text)
    assert fresh(program) == before


def test_the_folder_does_not_count(program, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("moved") / "code"
    shutil.copytree(program.parent, elsewhere)
    assert fresh(elsewhere / "program.py") == fresh(program)


def test_a_file_that_is_not_python_counts_byte_by_byte(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("<p> one")
    before = fresh(path)
    path.write_text("<p> two")
    assert fresh(path) != before


def test_code_in_cpp_beside_a_module_counts_without_its_comments(program, monkeypatch):
    monkeypatch.setattr(module, "SOURCES", {"nearest": "kernels"})
    source = program.with_name("kernels") / "sum.cu"
    source.parent.mkdir()
    source.write_text("// of two\nint sum(int a, int b) {\n  return a + b;  // in order\n}\n")
    before = fresh(program)
    source.write_text("int sum(int a,  int b)\n{ return a + b; }  // of two numbers\n")
    assert fresh(program) == before
    (source.with_name(".sum.cu.swp")).write_bytes(b"\xff of an editor")
    source.with_name("sum.cu~").write_text("int sum(int a) { return a; }")
    assert fresh(program) == before
    source.write_text("int sum(int a, int b) { return b + a; }")
    assert fresh(program) != before


def test_the_sources_of_modules_exist():
    for name, folder in module.SOURCES.items():
        path = SCRIPTS.joinpath(*name.split(".")).with_suffix(".py")
        assert path.is_file()
        assert list(path.with_name(folder).glob("*.cu"))


def test_what_is_outside_exists():
    for name in OUTSIDE:
        place = SCRIPTS.joinpath(*name.split("."))
        assert place.with_suffix(".py").is_file() or (place / "__init__.py").is_file(), name


@pytest.mark.parametrize("script", ["shard_micrograph", "train_denoiser", "report"])
def test_another_process_finds_the_same(script):
    path = SCRIPTS / f"{script}.py"
    code = f"from clearice.fingerprint import fingerprint as f; print(f({str(path)!r}))"
    words = [sys.executable, "-c", code]
    process = subprocess.run(words, cwd=SCRIPTS, capture_output=True, text=True, check=True)
    assert process.stdout.strip() == fingerprint(path)
