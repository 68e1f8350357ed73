"""result.json: what an implementation says of itself, read without trusting it."""

import errno
import json
import os
import re
import stat

from clearice.numbers import finite

DEPTH = 20  # more than anyone writes, far below what recursion allows
RECORD_BYTES = 1 << 20
MESSAGE_CHARACTERS = 1000

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


def open_own(path):
    """Return (a file that an implementation wrote, open for bytes; None) or (None, fault).

    Links are not followed, since they may lead to what is none of its business, and FIFOs and
    devices are not read, since that may never end.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None, f"{path.name} is missing"
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None, f"{path.name} is a link: write the file itself"
        return None, f"{path.name} cannot be read: {error.strerror}"
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return open(descriptor, "rb"), None
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        return None, f"{path.name} cannot be read: {os.strerror(errno.EISDIR)}"
    return None, f"{path.name} is not a regular file"


def read_own_text(path, most_bytes):
    """Return (UTF-8 text of a file that an implementation wrote, None) or (None, fault).

    A hard link is refused, too: words of the text may be shown, and it may be another's.
    """
    file, fault = open_own(path)
    if fault:
        return None, fault
    with file:
        status = os.fstat(file.fileno())
        if status.st_nlink > 1:
            return None, f"{path.name} is a hard link of another file: write the file itself"
        if status.st_size > most_bytes:
            return None, f"{path.name} has {status.st_size} bytes, more than {most_bytes}"
        try:
            return file.read(most_bytes).decode(), None
        except UnicodeDecodeError as error:
            return None, f"{path.name} is not a text file: {one_line(str(error))[:100]}"
        except OSError as error:
            return None, f"{path.name} cannot be read: {error.strerror}"


def read_outcome(path):
    """Return (record, None), or ({}, what is wrong with the file).

    The record can be written as JSON again, whatever was in the file: NaN, infinite and huge
    numbers are null, text is printable, `message` is one line, and nothing is nested deeply.
    """
    text, fault = read_own_text(path, RECORD_BYTES)
    if fault:
        return {}, fault
    try:
        record = json.loads(
            text,
            parse_constant=lambda word: None,
            parse_float=lambda word: finite(float(word)),
            parse_int=lambda word: int(word) if len(word) < 300 else None,
        )
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
        record["message"] = one_line(record["message"] or "")[:MESSAGE_CHARACTERS]
    return record, None


def _clean(value, depth=0):
    if depth > DEPTH:
        raise RecursionError
    if isinstance(value, dict):
        return {printable(key): _clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item, depth + 1) for item in value]
    return printable(value) if isinstance(value, str) else value
