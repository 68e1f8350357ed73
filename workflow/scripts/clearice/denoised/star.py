"""RELION .star files of micrographs: which to denoise, and the same table with the results."""

from pathlib import Path

from clearice.errors import InputError
from clearice.files import write_text
from clearice.micrographs.finding import tables
from clearice.micrographs.finding.sources import half_beside, micrograph_name, role_of


class StarTable:
    """The micrographs that a .star file names, and the .star file of their results.

    path; output (the file to write); micrographs: a list of (name, files) per row, where files is
    (micrograph,) or (input half, other half); pixel_sizes: a list, what the table states.
    """

    def __init__(self, path, folder, halves=None):
        """`halves` as for tasks.find_tasks. Raises InputError for what is no table of micrographs.

        Halves are those of rlnMicrographNameEven and rlnMicrographNameOdd where the table has them,
        else they lie beside rlnMicrographName. A row whose file is missing stays in the list.
        """
        self.path, self.folder = str(path), Path(folder)
        self.output = self.folder / Path(path).name
        self._blocks = tables.text_of_star(path)
        self._loop = tables.micrograph_loop(self._blocks, path)
        rows = self._blocks[self._loop]
        self.pixel_sizes = tables.stated_pixel_sizes(self._blocks, rows)
        by_role = self._named_files(rows, halves)
        names = rows["rlnMicrographName"] if "rlnMicrographName" in rows else by_role[0]
        found = [tables.paths_beside(paths, path, Path(), True) for paths in by_role]
        self.micrographs = [
            (micrograph_name(name), files)
            for name, files in zip(names, zip(*found, strict=True), strict=True)
        ]

    def _named_files(self, rows, halves):
        """Return a list of paths per role, as the table names them."""
        even_and_odd = ["rlnMicrographNameEven", "rlnMicrographNameOdd"]
        if halves is not None and set(even_and_odd) <= set(rows):
            return [list(rows[column]) for column in even_and_odd]
        if "rlnMicrographName" not in rows:
            raise InputError(
                "no column rlnMicrographName, only halves",
                file=self.path,
                advice="add --average-halves _EVN _ODD",
            )
        paths = list(rows["rlnMicrographName"])
        if halves is None:
            return [paths]
        roles = dict(zip(("input", "target"), halves, strict=True))
        if any(role_of(path, roles)[0] for path in paths):
            raise InputError(
                "the rows of this table are halves themselves",
                file=self.path,
                expected="whole micrographs, whose halves lie beside them",
                advice="give the halves as files or as a glob in place of the table",
            )
        return [[half_beside(path, mark) for path in paths] for mark in halves]

    def write(self, done):
        """Write the table with the rows of `done` (names) alone; rlnMicrographName is the result.

        All other columns and blocks, the optics groups among them, stay as they are. Returns the
        number of rows left out.
        """
        import starfile  # brings pandas

        rows = self._blocks[self._loop]
        names = [name for name, _ in self.micrographs]
        kept = rows[[name in done for name in names]].copy()
        kept["rlnMicrographName"] = [
            str(self.folder / f"{name}.mrc") for name in names if name in done
        ]
        text = starfile.to_string({**self._blocks, self._loop: kept}, na_rep="nan")
        write_text(self.output, text + "\n")
        return len(rows) - len(kept)
