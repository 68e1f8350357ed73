"""clearice plan: which folder and configuration it plans, and mistakes in one line."""

import pytest

from clearice.bridge import run_command
from clearice.command import plan as plan_command
from clearice.config import complete_config
from clearice.errors import InputError
from clearice.micrographs.finding.sources import find_micrographs
from clearice.planning import examine_set, plan_micrographs
from clearice.printed_plan import plan


def test_the_command_needs_a_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"config\.yaml: cannot be read"):
        plan_command.main([])
    with pytest.raises(SystemExit, match=r"error: nowhere: No such file or directory"):
        run_command(lambda: plan_command.main(["--directory", "nowhere"]))
    (tmp_path / "config.yaml").write_text("patches: [")
    with pytest.raises(InputError, match=r"config\.yaml: not YAML"):
        plan_command.main([])
    (tmp_path / "config.yaml").write_text("simulation: {count: 1}")
    with pytest.raises(InputError, match=r"simulation\.count"):
        plan_command.main([])


def test_the_command_plans_another_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # undone afterwards: the command changes it
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "other.yaml").write_text("simulation: {count: 5}")
    arguments = ["--directory", "run", "--config", "run/other.yaml"]
    plan_command.main(arguments)
    assert "5 accepted, 0 rejected" in capsys.readouterr().out


def test_real_pairs_raise_no_doubt(real_data, tmp_path, monkeypatch, capsys):
    halves = {"input": "_frame", "target": "_rest"}
    files = str(real_data / "empiar-10146" / "*.mrc")
    monkeypatch.chdir(tmp_path)
    section = {"source": "files", "files": files, "halves": halves}
    config = complete_config({"micrographs": section})
    micrographs = find_micrographs(config)
    there, lines, faults = examine_set(config, micrographs, plan_micrographs(config, micrographs))
    assert (lines, faults) == ([], [])
    assert there.endswith(f"A ({len(micrographs)})")
    plan(config)
    assert "warning" not in capsys.readouterr().out
