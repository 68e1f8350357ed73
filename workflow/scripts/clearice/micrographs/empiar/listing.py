"""Which files an EMPIAR entry has: asked, kept, and asked again."""

import datetime

from clearice.errors import InputError
from clearice.micrographs.empiar.addresses import fits, folder_of, folder_url
from clearice.micrographs.empiar.connection import Patience, persist
from clearice.micrographs.empiar.kept_listing import KeptListing, kept_path, read_kept, write_kept
from clearice.micrographs.empiar.listing_page import LONGEST_NAME, is_usable, list_folder
from clearice.micrographs.empiar.releases import chosen, compare_releases, release_in_words
from clearice.wording import listed as some_of

_FIRST_PATIENCE = Patience(attempts=3)  # a person waits for it
_AGAIN_PATIENCE = Patience(stall_s=10.0, attempts=2)  # there is a list to go on with


def list_entry(settings, directory, patience=None, *, say=lambda line: None, ask=True):
    """Return the names of the files to fetch, sorted: the `empiar` section's pattern and limit.

    The server is asked for its listing once a call, not at all with `ask` false or list_again
    false if it was asked before; then, and where it does not answer, what is kept in
    results/micrographs/empiar_{entry}.tsv under `directory` counts. `say` is called with a line
    for what is new, changed or gone. Raises InputError.
    """
    url = folder_url(settings)
    path = kept_path(directory, settings["entry"])
    kept = read_kept(path)
    if kept and not kept.lists(folder_of(settings)):
        kept = None
    if kept is None or (ask and (settings["list_again"] or kept.url != url)):
        quick = patience or (_AGAIN_PATIENCE if kept else _FIRST_PATIENCE)
        found = _asked(url, quick, kept, say)
        if found is not None:
            kept = _brought_up_to_date(settings, directory, kept, found, patience, say)
            write_kept(path, kept)
    return _required(settings, kept, path)


def _asked(url, patience, kept, say):
    """Return what the server lists; None, and a line said, if it does not and a list is kept."""
    advice = "check the network; for files on disk set micrographs.source: files"
    try:
        return persist(lambda: list_folder(url, patience), url, patience, advice=advice)
    except InputError as error:
        if kept is None:
            raise
        say(f"{url}: not asked for new files ({error.what}); its list of {kept.asked} is used")
        return None


def _brought_up_to_date(settings, directory, kept, found, patience, say):
    """Return the KeptListing of today, in place of the one that was kept (or None)."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    url = folder_url(settings)
    _refuse_unusable([name for name in found if fits(name, settings)], url)
    found = {name: facts for name, facts in found.items() if is_usable(name)}
    release = compare_releases(settings, directory, kept, found, patience)
    for line in release_in_words(settings, kept, release):
        say(line)
    return KeptListing(url, now, release.files)


def _required(settings, kept, path):
    """Return the names that pattern and limit choose, or raise InputError."""
    fitting = [name for name in kept.files if fits(name, settings)]
    foreign = [name for name in fitting if not name.endswith(".mrc")]
    if fitting and not foreign:
        return sorted(chosen(kept.files, settings))
    raise InputError(
        "empiar.pattern lets other files in" if foreign else "no file fits empiar.pattern",
        file=kept.url,
        expected=f"{settings['pattern']}, all names ending in .mrc",
        found=some_of(sorted(foreign or kept.files)) or "no names of files",
        advice=f"change empiar.pattern or empiar.directory; delete {path} to list again",
    )


def _refuse_unusable(names, url):
    unusable = [name for name in names if not is_usable(name)]
    if unusable:
        raise InputError(
            "the archive lists names that no file here can have",
            file=url,
            expected=f"printable UTF-8, at most {LONGEST_NAME} bytes",
            found=some_of(
                ascii(name if len(name) < 60 else f"{name[:60]}...") for name in unusable
            ),
            advice="leave them out with empiar.pattern",
        )
