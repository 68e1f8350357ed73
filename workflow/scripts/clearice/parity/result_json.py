"""result.json: what an implementation says of itself, read without trusting it."""

import json
import re

from clearice.numbers import finite

DEPTH = 20  # more than anyone writes, far below what recursion allows

# Control characters but tab and newline, lone surrogates, what is no character: a terminal may
# take them for commands, UTF-8 and XML 1.0 (section 2.2) do not have them.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(text):
    """Return `text` with a question mark for each character that is not for people."""
    return _UNPRINTABLE.sub("?", text)


def one_line(value):
    """Return any JSON value as one printable line."""
    text = value if isinstance(value, str) else json.dumps(value)
    return " ".join(printable(text).split())


def read_outcome(path):
    """Return (record, None), or ({}, what is wrong with the file).

    The record can be written as JSON again, whatever was in the file: NaN, infinite and huge
    numbers are null, text is printable, `message` is one line, and nothing is nested deeply.
    """
    try:
        record = json.loads(
            path.read_text(encoding="utf-8"),
            parse_constant=lambda word: None,
            parse_float=lambda word: finite(float(word)),
            parse_int=lambda word: int(word) if len(word) < 300 else None,
        )
    except FileNotFoundError:
        return {}, f"{path.name} is missing"
    except OSError as error:
        return {}, f"{path.name} cannot be read: {error.strerror}"
    except RecursionError:
        return {}, f"{path.name} is nested too deeply"
    except ValueError as error:
        return {}, f"{path.name} is not JSON: {one_line(str(error))}"
    if not isinstance(record, dict):
        return {}, f"{path.name} is not an object"
    try:
        record = _clean(record)
    except RecursionError:
        return {}, f"{path.name} is nested too deeply"
    if "message" in record:
        record["message"] = one_line(record["message"] or "")
    return record, None


def _clean(value, depth=0):
    if depth > DEPTH:
        raise RecursionError
    if isinstance(value, dict):
        return {printable(key): _clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item, depth + 1) for item in value]
    return printable(value) if isinstance(value, str) else value
