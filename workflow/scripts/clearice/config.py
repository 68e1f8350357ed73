"""Read config.yaml: check it against its schema, fill in defaults, report a mistake in one line."""

import copy
import datetime
import difflib
import math
import os
import shlex

import jsonschema
import yaml

from clearice.bounded_yaml import read_yaml, require_bounded, shortened
from clearice.errors import InputError
from clearice.files import open_regular
from clearice.schemas import CONFIG_SCHEMA


def _is_integer(_, value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_, value):
    return _is_integer(_, value) or (isinstance(value, float) and math.isfinite(value))


# JSON Schema accepts 4.0 as an integer, which range() refuses, and .nan as a number.
_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": _is_number}
    ),
)


def read_config(path):
    """Return the content of a configuration file, {} if empty; InputError if it can't be read."""
    try:
        config = read_yaml(path)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from None
    if not isinstance(config, dict | None):
        found = _literal(config)
        raise InputError("wrong content", file=path, expected="a mapping of keys", found=found)
    return config or {}


def complete_config(config):
    """Return `config` with every default of the schema filled in, or raise InputError.

    The error names the key, what was expected and what was found, and suggests the nearest known
    key for an unknown one. Only the first mistake (in the order of the keys) is reported.
    """
    with open(CONFIG_SCHEMA, encoding="utf-8") as file:
        schema = yaml.safe_load(file)
    require_bounded(config, "config.yaml")  # it may come from the command line of Snakemake, too
    errors = _Validator(schema).iter_errors(config)
    if first := min(errors, key=lambda e: list(map(str, e.path)), default=None):
        raise _one_line(first)
    completed = _with_defaults(config, schema)
    _check_offsets(completed)
    _check_commands(completed["parity"]["implementations"])
    _check_initial_weights(completed)
    return completed


def trained_architectures(config):
    """Return the names of the architectures that a later step needs, in alphabetical order."""
    names = {config["reference"]["architecture"]}
    if config["denoised"]["enabled"]:
        names.add(config["denoised"]["architecture"])
    return sorted(names)


def _check_initial_weights(config):
    """Raise InputError where a training would start from what is no regular file.

    Snakemake hashes its inputs, and would wait for ever for a FIFO.
    """
    for architecture in trained_architectures(config):
        path = config["model"][architecture]["initial_weights"]
        if path not in (None, "general") and os.path.exists(path):
            try:
                open_regular(path).close()
            except OSError as error:
                raise InputError(f"cannot be read ({error.strerror})", file=path) from None


def require_weights(config):
    """Raise InputError if the model that a training would start from is not there."""
    for architecture in trained_architectures(config):
        weights = config["model"][architecture]["initial_weights"]
        if weights not in (None, "general") and not os.path.exists(weights):
            raise InputError(
                "no such model file",
                file=weights,
                expected="a denoiser.safetensors, general or null",
                advice=f"correct model.{architecture}.initial_weights in config.yaml",
            )


def yaml_scalar(value):
    """Return a number, text, bool or None as YAML reads it back."""
    return yaml.safe_dump(value, width=math.inf).removesuffix("...\n").strip()


def _check_offsets(config):
    """Raise InputError where patches are to be cut anew that are only stored as they are."""
    if config["patches"]["offsets"] == "random" and config["dataset"]["layout"] == "patches":
        raise InputError(
            "patches.offsets: random needs planes to cut from",
            file="config.yaml",
            expected="dataset.layout planes or both",
            found="patches",
            advice="set dataset.layout: planes, or patches.offsets: grid",
        )


def _check_commands(implementations):
    for name, implementation in implementations.items():
        try:
            shlex.split(implementation["command"])
        except ValueError as error:
            raise InputError(
                f"wrong value for parity.implementations.{name}.command",
                file="config.yaml",
                expected="words as a shell splits them",
                found=_literal(implementation["command"]),
                advice=str(error).lower(),
            ) from None


def _with_defaults(value, schema):
    """Fill absent keys."""
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    for key, subschema in schema.get("properties", {}).items():
        if key not in filled and "default" in subschema:
            filled[key] = copy.deepcopy(subschema["default"])
        elif key not in filled and subschema.get("type") == "object":
            filled[key] = {}
    every = schema.get("additionalProperties")
    for key, item in filled.items():
        subschema = schema.get("properties", {}).get(key, every)
        if isinstance(subschema, dict):
            filled[key] = _with_defaults(item, subschema)
    return filled


def _one_line(error):
    """Turn a jsonschema error into an InputError of one line."""
    key = ".".join(shortened(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = next(k for k in error.instance if k not in known)
        near = difflib.get_close_matches(shortened(unknown), known, n=1, cutoff=0.5)
        dotted = f"{key}.{shortened(unknown)}" if key else shortened(unknown)
        return InputError(
            f"unknown key {dotted}",
            file="config.yaml",
            expected="one of " + ", ".join(known),
            advice=f"did you mean {near[0]}?" if near else "remove it",
        )
    if error.validator == "required":
        missing = next(k for k in error.validator_value if k not in error.instance)
        return InputError(
            f"key {key}.{missing} is missing",
            file="config.yaml",
            expected=_expectation(error.schema["properties"][missing]),
        )
    expected = _expectation(error.schema)
    return InputError(
        f"wrong value for {key}" if key else "wrong content",
        file="config.yaml",
        expected=expected,
        found=_literal(error.instance),
        advice=_hint(error.instance, error.schema),
    )


def _expectation(schema):
    """Describe in words what a schema allows."""
    if "enum" in schema:
        return " | ".join(map(yaml_scalar, schema["enum"]))
    if "oneOf" in schema:
        return " or ".join(map(_expectation, schema["oneOf"]))
    if "const" in schema:
        return yaml_scalar(schema["const"])
    if "pattern" in schema:
        return f"text like {schema['pattern']}"
    types = schema.get("type", "a value")
    words = " or ".join(
        {"object": "a mapping of keys", "array": "a list"}.get(name, name)
        for name in ([types] if isinstance(types, str) else types)
    )
    bounds = [
        f"{sign} {schema[name]}"
        for name, sign in (
            ("minimum", ">="),
            ("exclusiveMinimum", ">"),
            ("maximum", "<="),
            ("exclusiveMaximum", "<"),
        )
        if name in schema
    ]
    if "minItems" in schema:
        bounds.append(f"of {schema['minItems']} values")
    return " ".join([words, " and ".join(bounds)]).strip()


def _literal(value):
    if isinstance(value, datetime.date):
        return str(value)
    return "nothing" if value is None else shortened(repr(value))


def _hint(value, schema):
    """Return advice: what YAML 1.1 took the value for, or the nearest choice; None without any."""
    types = schema.get("type", ())
    formerly = schema.get("formerly", {})  # words of earlier versions -> those in their place
    if isinstance(value, str) and value in formerly:
        return f"{formerly[value]} has taken its place"
    if isinstance(value, datetime.date):
        return "YAML reads this as a date: put it in quotes"
    if isinstance(value, int | float) and "string" in types:
        return "YAML reads this as a number or a truth value: put it in quotes"
    if isinstance(value, str) and "number" in types:
        try:
            number = float(value)
        except ValueError:
            return None
        return f"YAML reads this as text: write {yaml_scalar(number)}, without quotes"
    choices = [str(choice) for choice in schema.get("enum", ())]
    near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else None
