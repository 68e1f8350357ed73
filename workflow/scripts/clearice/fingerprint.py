"""Which code a result depends on, as one short text that changes only when that code does."""

import ast
import contextlib
import functools
import hashlib
import json
import os
import re
import sys
import typing
from pathlib import Path

from clearice.files import write_text

# Modules that change no result, and why. An edit of one of them reruns nothing.
OUTSIDE = {
    "clearice": "the version is a label",
    "clearice.bridge": "carries keywords, and errors to the log",
    "clearice.config": "a job gets its configuration as params",
    "clearice.disk": "measures the room on a disk, and says that there is too little",
    "clearice.errors": "speaks to a person",
    "clearice.files": "files appear whole; their bytes are the caller's",
    "clearice.fingerprint": "names the code",
    "clearice.job_progress": "speaks to a person",
    "clearice.limits": "speaks to a person",
    "clearice.locks": "one process at a time writes the same bytes",
    "clearice.seals": "says whether a result is what was written",
    "clearice.model.interruption": "watches for signals; a checkpoint continues to the same bytes",
    "clearice.model.memory": "watches the process",
    "clearice.model.progress": "speaks to a person",
    "clearice.shared_heap": "where memory is allocated changes no number",
    "clearice.stopping": "watches for signals; a checkpoint continues to the same bytes",
}

# Folders of CUDA C++ (.cu, .cuh) that belong to a module, beside it.
SOURCES = {"clearice.model.engines.cuda_compiler": "cuda"}
_COMMENT = re.compile(r"//[^\n]*")


def fingerprint(script):
    """Return 16 hex digits over a Python script and all modules beside it that it imports.

    Modules are found by their import statements, directly or through others, in the folder of
    the script; `OUTSIDE` are left out, `SOURCES` taken in. What counts is the syntax tree without
    docstrings: comments, line breaks and the folder that the code lies in do not. A file that is
    not Python counts byte by byte.
    """
    script = Path(script).resolve()
    digest = hashlib.sha256(_facts(script).syntax.encode())
    for name, path in sorted(imported_modules(script).items()):
        digest.update(f"\n{name}\n{_facts(path).syntax}".encode())
        if name in SOURCES:
            for source in _sources(path.with_name(SOURCES[name])):
                words = _COMMENT.sub("", source.read_text(encoding="utf-8")).split()
                digest.update(f"\n{source.name}\n{' '.join(words)}".encode())
    return digest.hexdigest()[:16]


def _sources(folder):
    """Return the files of CUDA C++ in a folder, without what an editor leaves there."""
    return sorted(path for path in folder.iterdir() if path.suffix in (".cu", ".cuh"))


def imported_modules(script):
    """Return dotted name -> path of the modules in the folder of `script` that it needs."""
    folder, found = Path(script).parent, {}
    waiting = _neighbours(script, folder)
    while waiting:
        name, path = waiting.popitem()
        if name not in found and name not in OUTSIDE:
            found[name] = path
            waiting |= _neighbours(path, folder)
    return found


def _neighbours(path, folder):
    """Return dotted name -> path of the modules in `folder` that a file names in its imports."""
    places = {name: folder.joinpath(*name.split(".")) for name in _facts(path).imports}
    modules = {name: place.with_name(f"{place.name}.py") for name, place in places.items()}
    rooms = {name: place / "__init__.py" for name, place in places.items()}
    return {n: p for found in (rooms, modules) for n, p in found.items() if p.is_file()}


class _Facts(typing.NamedTuple):
    """What counts of a file: a hash of its syntax tree, and the names that it imports."""

    syntax: str
    imports: list[str]


@functools.cache
def _facts(path):
    """Return the _Facts of a file, remembered beside it as Python remembers what it compiled.

    Every job and every dry run asks for them: reading 70 modules takes longer than all else that
    the Snakefile does.
    """
    path, status = Path(path), os.stat(path)
    state = [status.st_size, status.st_mtime_ns, sys.implementation.cache_tag]
    memory = path.parent / "__pycache__" / f"{path.name}.fingerprint.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        remembered = json.loads(memory.read_text(encoding="utf-8"))
        if remembered["state"] == state:
            return _Facts(remembered["syntax"], remembered["imports"])
    facts = _read_facts(path)
    with contextlib.suppress(OSError):  # a folder that is not ours to write in
        memory.parent.mkdir(exist_ok=True)
        write_text(memory, json.dumps({"state": state, **facts._asdict()}))
    return facts


def _read_facts(path):
    content = path.read_bytes()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return _Facts(hashlib.sha256(content).hexdigest(), [])
    imports = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imports |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return _Facts(hashlib.sha256(ast.dump(tree).encode()).hexdigest(), sorted(imports))


def _statements(node):
    """Yield a node and all statements in it, but no expressions: ten times as fast as ast.walk."""
    yield node
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, field, ()):
            yield from _statements(child)
