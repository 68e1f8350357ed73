"""A configuration that is hostile, or slipped: one line with the place, in little memory."""

import os
import resource
import subprocess
import sys

import pytest
import yaml

from clearice.bounded_yaml import MOST_BYTES, read_yaml
from clearice.config import complete_config, read_config
from clearice.errors import InputError
from clearice.schemas import CONFIG_SCHEMA
from conftest import REPOSITORY, run_snakemake, write_config
from faults.test_special_files import SPECIAL

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 3000))
LONG = "a: &a '" + "x" * 1_000_000 + "'\nb: [" + "*a, " * 1000 + "]\n"
TOO_LARGE = "too large once its aliases are written out"
HOSTILE = {  # text -> what the line must say
    "aliases": (BOMB, TOO_LARGE),
    "aliases of mappings": (BOMB.replace("[x,", "[{y: z},"), TOO_LARGE),
    "merged aliases": (MERGED, TOO_LARGE),
    "aliases of long text": (LONG, TOO_LARGE),
    "a chain of aliases": (CHAIN, "nested too deeply"),
    "an alias of itself": ("a: &a [*a]\n", "nested too deeply"),
    "thousands of brackets": ("files: " + "[" * 50_000, "nested too deeply, in line 1"),
    "thousands of closed brackets": ("a: " + "[" * 9999 + "]" * 9999, "nested too deeply"),
    "thousands of braces": ("\n\na: " + "{a: " * 5000, "nested too deeply, in line 3"),
    "thousands of lines": (
        "".join(" " * n + "a:\n" for n in range(2000)),
        "nested too deeply, in line 51",
    ),
    "many values": ("a: [" + "1," * 1_000_000 + "]", TOO_LARGE),
    "the same key twice": (
        "patches: {size_px: 64}\nsplit: {}\npatches: {stride_px: 8}\n",
        "line 3: key patches a second time: expected every key once, found the first in line 1",
    ),
    "the same key twice, below": (
        "patches:\n  size_px: 64\n  size_px: 128\n",
        "line 3: key size_px a second time.*in line 2",
    ),
    "a key that is a number": (
        "parity:\n  implementations:\n    1: {command: x}\n",
        "line 3: a key that is not text: found 1; put it in quotes",
    ),
    "a key that is yes": ("yes: 1", "line 1: a key that is not text: found yes"),
    "a key that is a list": ("? [a, b]\n: 1", "a key that is not text: found a list or mapping"),
    "ten thousand digits": ("simulation:\n  count: " + "9" * 10_000, "line 2: not a value"),
    "ten thousand hexadecimal digits": (
        "simulation: {count: 0x" + "f" * 10_000 + "}",
        "line 1: too large a number: found 0xf",
    ),
    "base 60": ("a: 1" + ":59" * 5000, "line 1: (too large a number|not a value)"),
    "thirty digits": ("simulation: {count: " + "9" * 30 + "}", "line 1: too large a number"),
    "a day that is none": ("report:\n  title: 2024-13-45\n", "line 2: not a value: found 2024-13"),
    "a tag that does not fit": ("a: !!bool x", "line 1: not a value"),
    "a Python object": ("a: !!python/object/apply:os.system [ls]", "not YAML, in line 1"),
    "a tab": ("patches:\n\tsize_px: 64\n", "not YAML, in line 2, column 1: a tab; indent with bl"),
    "an open bracket": ("patches: [", "not YAML, in line [12]"),
    "a missing blank": ("patches:\n  size_px:64\n  stride_px: 3\n", "not YAML, in line 3"),
    "two documents": ("a: 1\n---\nb: 2\n", "not YAML, in line 2"),
    "an unknown alias": ("a: *b", "not YAML, in line 1.*alias"),
    "Latin-1": ("# a\nreport: {title: caf\xe9}".encode("latin-1"), "not UTF-8 text, in line 2"),
    "UTF-16": ("report: {title: a}".encode("utf-16"), "not UTF-8 text, in line 1"),
    "a binary file": (b"\x7fELF\x02\x01\x01" + bytes(5000), "not text, in line 1"),
    "a bell": (b"a: 1\nb: \x07\n", r"not text, in line 2: .*found the character '\\x07'"),
    "too long a file": (b"# x\n" * (MOST_BYTES // 4 + 1), "too large for a configuration"),
    "a list": ("- a\n- b\n", "wrong content: expected a mapping of keys"),
    "a word": ("hello", "wrong content: expected a mapping of keys, found 'hello'"),
    "a long word": ("x" * 1_000_000, "wrong content"),
    "a long key": ("? " + "x" * 1_000_000 + "\n: 1", "unknown key xxxx"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_one_line_with_the_place(tmp_path, case):
    content, message = HOSTILE[case]
    path = tmp_path / "config.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as error:
        complete_config(read_config(path))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700  # an unknown key is answered by a list of those known


@pytest.mark.parametrize("kind", ["FIFO", "/dev/zero", "/proc/kmsg", "socket", "folder"])
def test_only_a_regular_file_is_read(tmp_path, kind):
    make, found = SPECIAL[kind]
    make(tmp_path / "config.yaml")
    with pytest.raises(InputError, match=f"config.yaml: not a regular file.*{found}"):
        read_config(tmp_path / "config.yaml")


VALUES = {
    "thousands of millions of micrographs": ({"simulation": {"count": 10**9}}, "<= 100000"),
    "a gigantic image": ({"simulation": {"height_px": 10**7}}, "<= 16384"),
    "a large float": ({"simulation": {"count": float("inf")}}, "found inf"),
    "1e400": ({"simulation": {"count": yaml.safe_load("1e400")}}, "found '1e400'"),
    "one of several kinds": (
        {"patches": {"hot_pixel_threshold": 1}},
        "expected auto or number >= 3 and <= 1000000 or null, found 1$",
    ),
    "a date": (yaml.safe_load("report: {title: 2024-01-02}"), "a date: put it in quotes"),
    "a number for text": ({"empiar": {"entry": 10025}}, "10025; .*put it in quotes"),
    "a bomb from the command line": (yaml.safe_load(BOMB), TOO_LARGE),
    "a long list": ({"micrographs": {"files": [1] * 100_000}}, "wrong value for micrographs.files"),
}


@pytest.mark.parametrize("case", VALUES)
def test_values_have_bounds(case):
    config, message = VALUES[case]
    with pytest.raises(InputError, match=message) as error:
        complete_config(config)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def integers(schema, name=""):
    """Yield (name, subschema) of all integers that the schema describes."""
    for key, sub in schema.get("properties", {}).items():
        types = sub.get("type", ())
        if "integer" in ([types] if isinstance(types, str) else types):
            yield f"{name}{key}", sub
        yield from integers(sub, f"{name}{key}.")


def test_every_whole_number_has_an_end():
    with open(CONFIG_SCHEMA, encoding="utf-8") as file:
        found = dict(integers(yaml.safe_load(file)))
    assert len(found) > 20
    assert [name for name, sub in found.items() if "maximum" not in sub] == []


@pytest.mark.parametrize("kind", ["FIFO", "/dev/zero", "folder"])
def test_initial_weights_are_a_regular_file(tmp_path, kind):
    make, found = SPECIAL[kind]
    make(tmp_path / "w")
    weights = {"s2d_unet": {"initial_weights": str(tmp_path / "w")}}
    with pytest.raises(InputError, match=f"not a regular file.*{found}"):
        complete_config({"model": weights})
    complete_config({"model": weights, "denoised": {"enabled": False}})  # which needs none


@pytest.mark.parametrize("case", ["aliases", "merged aliases", "many values", "long", "brackets"])
def test_no_text_takes_much_memory(tmp_path, case):
    text = {"long": LONG, "brackets": "[" * (MOST_BYTES - 9)}.get(case) or HOSTILE[case][0]
    (tmp_path / "config.yaml").write_text(text)
    limit = 2 << 30  # of address space, of which the libraries take a part
    process = subprocess.run(
        [sys.executable, "-m", "clearice", "plan", "--directory", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=REPOSITORY,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert process.returncode == 1
    assert process.stderr.startswith("error: ")
    assert process.stderr.count("\n") == 1


GOOD = {
    "a BOM": ("\ufeffpatches: {size_px: 64}\n", {"patches": {"size_px": 64}}),
    "Windows lines": ("patches:\r\n  size_px: 64\r\n", {"patches": {"size_px": 64}}),
    "merged anchors": (
        "model:\n  simple_cnn: &a {epochs: 3, seed: 1}\n  s2d_unet: {<<: *a, epochs: 4}\n",
        {"model": {"simple_cnn": {"epochs": 3, "seed": 1}, "s2d_unet": {"epochs": 4, "seed": 1}}},
    ),
    "an emoji": ("report: {title: 'ice \U0001f9ca'}", {"report": {"title": "ice \U0001f9ca"}}),
    "the YAML version": ("%YAML 1.1\n---\nsplit: {seed: 1}\n", {"split": {"seed": 1}}),
    "empty": ("", {}),
    "comments alone": ("# nothing\n", {}),
    "many files": (
        "micrographs:\n  files:\n" + "".join(f"  - data/{i:06d}.mrc\n" for i in range(50_000)),
        {"micrographs": {"files": [f"data/{i:06d}.mrc" for i in range(50_000)]}},
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_is_good_is_read(tmp_path, case):
    text, config = GOOD[case]
    (tmp_path / "config.yaml").write_bytes(text.encode())
    assert read_config(tmp_path / "config.yaml") == config
    complete_config(config)


def test_every_yaml_of_the_repository_reads_as_it_did():
    for path in [REPOSITORY / "config.yaml", *REPOSITORY.glob("**/profiles/*/config.yaml")]:
        assert read_yaml(path) == yaml.safe_load(path.read_text())


def test_snakemake_says_it_in_one_line(tmp_path, tiny_config):
    """The file, and `--config` on the command line."""
    (tmp_path / "config.yaml").write_text("patches: {size_px: 64}\npatches: {}\n")
    process = run_snakemake(tmp_path, "--dry-run", check=False, timeout=120)
    assert process.returncode == 1
    assert "error: config.yaml: line 2: key patches a second time" in process.stdout
    assert "Traceback" not in process.stdout
    os.remove(tmp_path / "config.yaml")
    os.mkfifo(tmp_path / "config.yaml")
    process = run_snakemake(tmp_path, "--dry-run", check=False, timeout=120)
    assert "error: config.yaml: not a regular file" in process.stdout
    os.remove(tmp_path / "config.yaml")
    write_config(tmp_path, tiny_config)
    for given, words in (
        ("patchs={size_px: 64}", "unknown key patchs"),
        ("simulation={count: 1000000000}", "wrong value for simulation.count"),
    ):
        process = run_snakemake(tmp_path, "--dry-run", "--config", given, check=False, timeout=120)
        assert process.returncode == 1
        assert f"error: config.yaml: {words}" in process.stdout
        assert "Traceback" not in process.stdout
