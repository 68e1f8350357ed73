"""Which code a result depends on, as one short text that changes only when that code does."""

import ast
import functools
import hashlib
from pathlib import Path

# Modules that change no result, and why. An edit of one of them reruns nothing.
OUTSIDE = {
    "clearice": "the version is a label",
    "clearice.bridge": "carries keywords, and errors to the log",
    "clearice.config": "a job gets its configuration as params",
    "clearice.errors": "speaks to a person",
    "clearice.files": "files appear whole; their bytes are the caller's",
    "clearice.model.interruption": "watches for signals; a checkpoint continues to the same bytes",
    "clearice.model.memory": "watches the process",
    "clearice.model.progress": "speaks to a person",
}


def fingerprint(script):
    """Return 16 hex digits over a Python script and all modules beside it that it imports.

    Modules are found by their import statements, directly or through others, in the folder of
    the script; `OUTSIDE` are left out. What counts is the syntax tree without docstrings:
    comments, line breaks and the folder that the code lies in do not. A file that is not Python
    counts byte by byte.
    """
    script = Path(script).resolve()
    digest = hashlib.sha256(_syntax(script).encode())
    for name, path in sorted(imported_modules(script).items()):
        digest.update(f"\n{name}\n{_syntax(path)}".encode())
    return digest.hexdigest()[:16]


def imported_modules(script):
    """Return dotted name -> path of the modules in the folder of `script` that it needs."""
    folder, found = Path(script).parent, {}
    waiting = dict(_imports(script, folder))
    while waiting:
        name, path = waiting.popitem()
        if name not in found and name not in OUTSIDE:
            found[name] = path
            waiting |= _imports(path, folder)
    return found


@functools.cache
def _imports(path, folder):
    """Return dotted name -> path of the modules in `folder` that a file names in its imports."""
    names = set()
    for node in ast.walk(_tree(path) or ast.Module([])):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    places = {name: folder.joinpath(*name.split(".")) for name in names}
    modules = {name: place.with_name(f"{place.name}.py") for name, place in places.items()}
    rooms = {name: place / "__init__.py" for name, place in places.items()}
    return {n: p for found in (rooms, modules) for n, p in found.items() if p.is_file()}


@functools.cache
def _syntax(path):
    """Return the syntax tree of a file as text, without docstrings; its bytes if it has none."""
    tree = _tree(path)
    if tree is None:
        return path.read_bytes().hex()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.dump(tree)


@functools.cache
def _tree(path):
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return None
