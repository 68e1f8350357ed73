"""Which files an EMPIAR entry has, and their addresses."""

import fnmatch
import html.parser
import re
import urllib.parse
from pathlib import Path

from clearice.errors import InputError
from clearice.files import write_text
from clearice.micrographs.empiar.connection import Fault, Patience, opened, persist, whole_body

_LISTING_BYTES = 1 << 26
_LISTING_PATIENCE = Patience(attempts=3)  # a person waits for it


def list_entry(settings, directory, patience=_LISTING_PATIENCE):
    """Return the names of the files to fetch, sorted: the `empiar` section's pattern and limit.

    The server's listing is kept in results/micrographs/empiar_{entry}.tsv under `directory` and
    is asked for again only if that file is missing or of another folder. Raises InputError.
    """
    url = folder_url(settings)
    cache = Path(directory) / "results" / "micrographs" / f"empiar_{settings['entry']}.tsv"
    listed = _cached_listing(cache, url)
    if listed is None:
        advice = "check the network; for files on disk set micrographs.source: files"
        listed = persist(lambda: _listing(url, patience), url, patience, advice=advice)
        write_text(cache, "\n".join([f"# {url}", "name", *listed]) + "\n")
    names = [name for name in listed if fnmatch.fnmatchcase(name, settings["pattern"])]
    names = [name for name in names if not name.endswith("/")]
    foreign = [name for name in names if not name.endswith(".mrc")]
    if names and not foreign:
        return names[: settings["limit"]]
    raise InputError(
        "empiar.pattern lets other files in" if foreign else "no file fits empiar.pattern",
        file=url,
        expected=f"{settings['pattern']}, all names ending in .mrc",
        found=foreign[0] if foreign else ", ".join(listed[:5]) + ", ..." * (len(listed) > 5),
        advice=f"change empiar.pattern or empiar.directory; delete {cache} to list again",
    )


def folder_url(settings):
    """Return the address of the folder in the entry."""
    return file_url(settings["base_url"], f"{settings['entry']}/{settings['directory']}/")


def file_url(base_url, file):
    """Return the address of a path in the archive."""
    return f"{base_url.rstrip('/')}/{urllib.parse.quote(re.sub('/+', '/', file))}"


def _cached_listing(cache, url):
    if not cache.exists():
        return None
    first, *rest = cache.read_text(encoding="utf-8").splitlines() or [""]
    return rest[1:] if first == f"# {url}" else None


class _Links(html.parser.HTMLParser):
    """The addresses that a page links to."""

    def __init__(self):
        super().__init__()
        self.found, self.complete = [], False

    def handle_starttag(self, tag, attrs):
        self.found += [value for key, value in attrs if (tag, key) == ("a", "href") and value]

    def handle_endtag(self, tag):
        self.complete |= tag == "html"


def _listing(url, patience):
    """Return what a directory page lists, sorted; folders end in a slash."""
    with opened(url, patience) as response:
        base = urllib.parse.urlsplit(response.geturl())
        body = whole_body(response, _LISTING_BYTES)
    page = _Links()
    page.feed(body.decode("utf-8", "replace"))
    if not page.complete:
        raise Fault("the directory listing is incomplete")
    names = set()
    for link in page.found:
        target = urllib.parse.urlsplit(urllib.parse.urljoin(base.geturl(), link))
        if (target.netloc, target.query) == (base.netloc, "") and target.path.startswith(base.path):
            name = urllib.parse.unquote(target.path.removeprefix(base.path))
            if name and "/" not in name[:-1] and name[0] not in "./" and name.isprintable():
                names.add(name)
    return sorted(names)
