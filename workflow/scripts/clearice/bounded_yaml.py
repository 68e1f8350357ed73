"""YAML that people write, read within bounds: no text makes reading it long or its content large.

Anchors and aliases are a short way to write thousands of millions of values, brackets a short way
to end in a RecursionError. A mistake is one line with its number.
"""

import yaml

from clearice.errors import InputError
from clearice.files import regular_bytes

MOST_BYTES = 1 << 22
MOST_VALUES = 200_000  # with every alias written out
MOST_DEPTH = 50  # the configuration needs 5
_MOST_BITS = 63
# libyaml is ten times as fast; Python's own parser does the same where it is not compiled in.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE, _TEXT = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:str"


def read_yaml(path):
    """Return the content of the one YAML document in `path`, None if it is empty.

    Keys are text, and none occurs twice in a mapping. Raises InputError for all that is not such a
    document, and for one beyond the bounds above; OSError is left to the caller.
    """
    text = _text(path)
    try:
        _require_shallow(text, path)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            require_bounded(node, path, _parts_of_node)
            for each in _every(node):
                _check(each, loader, path)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise _not_yaml(error, text, path) from None


def require_bounded(value, path, parts=None):
    """Raise InputError unless a value is small when everything in it is written out.

    `parts` returns the values in a value, and its length as text; by default, of Python's lists,
    dicts and plain values.
    """
    parts = parts or _parts_of_value
    waiting, values, characters = [(value, 1)], 1, 0
    while waiting:
        value, depth = waiting.pop()
        if depth > MOST_DEPTH:
            raise _too_deep(path)
        inside, length = parts(value)
        values, characters = values + len(inside), characters + length
        if values > MOST_VALUES or characters > MOST_BYTES:
            raise InputError(
                "too large once its aliases are written out",
                file=path,
                expected=f"at most {MOST_VALUES:,} values and {MOST_BYTES:,} characters",
                advice="name many files by a glob or in a table",
            )
        waiting += [(one, depth + 1) for one in inside]


def _text(path):
    raw = regular_bytes(path, MOST_BYTES, "a configuration")
    try:
        text = raw.decode("utf-8-sig")  # Windows writes a BOM
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"not UTF-8 text, in line {line}", file=path, advice="save it as UTF-8"
        ) from None
    if odd := yaml.reader.Reader.NON_PRINTABLE.search(text):
        raise InputError(
            f"not text, in line {text.count(chr(10), 0, odd.start()) + 1}",
            file=path,
            expected="YAML",
            found=f"the character {odd.group()!a}",
            advice="is it the right file?",
        )
    return text


def _require_shallow(text, path):
    """The parser itself needs no recursion, and what comes after it does."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MOST_DEPTH:
            raise _too_deep(path, event.start_mark)


def _too_deep(path, mark=None):
    where = "" if mark is None else f", in line {mark.line + 1}"
    return InputError(
        f"nested too deeply{where}", file=path, expected=f"at most {MOST_DEPTH} levels"
    )


def _parts_of_node(node):
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair], 0
    if isinstance(node, yaml.SequenceNode):
        return node.value, 0
    return [], len(node.value)


def _parts_of_value(value):
    if isinstance(value, dict):
        return [*value, *value.values()], 0
    if isinstance(value, list | tuple | set):
        return list(value), 0
    if isinstance(value, int):  # a longer one cannot even be shown
        return [], MOST_BYTES + 1 if value.bit_length() > _MOST_BITS else 1
    return [], len(value) if isinstance(value, str | bytes) else 1


def _every(root):
    """Yield every node once, in the order of the text."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting += reversed(_parts_of_node(node)[0])


def _check(node, loader, path):
    """Raise InputError for a value that YAML 1.1 cannot make, and for keys that cannot be ours."""
    line = f"line {node.start_mark.line + 1}"
    if isinstance(node, yaml.ScalarNode) and node.tag != _MERGE:
        try:
            value = loader.construct_object(node)
        except yaml.YAMLError:
            raise
        except Exception:  # a date that is none, an integer of ten thousand digits, !!bool x
            raise InputError(
                f"{line}: not a value", file=path, found=shortened(node.value), advice="quote text"
            ) from None
        if isinstance(value, int) and value.bit_length() > _MOST_BITS:
            found = shortened(node.value)
            raise InputError(f"{line}: too large a number", file=path, found=found)
    if not isinstance(node, yaml.MappingNode):
        return
    first = {}
    for key, _ in node.value:
        if key.tag == _MERGE:
            continue
        where = f"line {key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode) or key.tag != _TEXT:
            found = (
                shortened(key.value) if isinstance(key, yaml.ScalarNode) else "a list or mapping"
            )
            raise InputError(
                f"{where}: a key that is not text",
                file=path,
                found=found,
                advice="put it in quotes",
            )
        if key.value in first:
            raise InputError(
                f"{where}: key {shortened(key.value)} a second time",
                file=path,
                expected="every key once",
                found=f"the first in line {first[key.value]}",
                advice="remove one of them, or join what is under them",
            )
        first[key.value] = key.start_mark.line + 1


def _not_yaml(error, text, path):
    """Turn an error of the parser into one line with its number."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return InputError(f"not YAML ({shortened(error)})", file=path)
    where = f"not YAML, in line {mark.line + 1}, column {mark.column + 1}"
    lines = text.split("\n")
    if mark.line < len(lines) and lines[mark.line][mark.column : mark.column + 1] == "\t":
        return InputError(f"{where}: a tab", file=path, advice="indent with blanks")
    context = f"{error.context}: " if error.context else ""
    return InputError(f"{where}: {context}{error.problem}", file=path)


def shortened(value, limit=60):
    """Return a value as text of at most `limit` characters."""
    text = str(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
