"""What results occupy: sparse files, hard links, links, and what cannot be read."""

import os

from clearice.report.costs.disk import BESIDE, disk_use, total


def test_folders_count_what_they_occupy(tmp_path):
    for folder in ("shards/deep", "denoised", "empty"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "shards/deep/a.bin").write_bytes(os.urandom(100_000))
    os.link(tmp_path / "shards/deep/a.bin", tmp_path / "shards/b.bin")
    (tmp_path / "denoised/link.mrc").symlink_to(tmp_path / "shards/b.bin")
    (tmp_path / "denoised/elsewhere").symlink_to(tmp_path / "shards")
    with open(tmp_path / "denoised/sparse.mrc", "wb") as file:
        file.truncate(1 << 30)
    (tmp_path / "a.log").write_bytes(b"x" * 5000)
    rows = {row["folder"]: row for row in disk_use(tmp_path)}
    assert next(iter(rows)) == "shards"
    assert rows["shards"]["files"] == 2
    assert 100_000 <= rows["shards"]["occupied_bytes"] < 200_000
    assert rows["shards"]["length_bytes"] == 100_000
    assert rows["denoised"]["files"] == 3
    assert rows["denoised"]["length_bytes"] >= 1 << 30
    assert rows["denoised"]["occupied_bytes"] < 100_000
    assert (rows["empty"]["files"], rows[BESIDE]["files"]) == (0, 1)
    assert total(rows.values())["files"] == 6


def test_a_folder_that_cannot_be_read_is_counted_as_such(tmp_path, monkeypatch):
    (tmp_path / "shards/closed").mkdir(parents=True)
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    (row,) = disk_use(tmp_path)
    assert (row["files"], row["unread"]) == (0, 1)
