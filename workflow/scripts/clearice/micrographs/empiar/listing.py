"""Which files an EMPIAR entry has, and their addresses."""

import fnmatch
import html
import re
import urllib.parse
from pathlib import Path

from clearice.errors import InputError
from clearice.files import open_regular, write_text
from clearice.micrographs.empiar.connection import Fault, Patience, opened, persist, whole_body
from clearice.wording import listed as some_of

_LISTING_BYTES = 1 << 26
_LISTING_S = 120.0  # for the page, once its headers are there
_MOST_NAMES = 200_000
_LONGEST_NAME = 255  # bytes, of any file system
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
        _refuse_unusable([name for name in listed if _fits(name, settings)], url)
        listed = [name for name in listed if _is_usable(name)]
        write_text(cache, "\n".join([f"# {url}", "name", *listed]) + "\n")
    names = [name for name in listed if _fits(name, settings)]
    foreign = [name for name in names if not name.endswith(".mrc")]
    if names and not foreign:
        return names[: settings["limit"]]
    raise InputError(
        "empiar.pattern lets other files in" if foreign else "no file fits empiar.pattern",
        file=url,
        expected=f"{settings['pattern']}, all names ending in .mrc",
        found=some_of(foreign or listed) or "no names of files",
        advice=f"change empiar.pattern or empiar.directory; delete {cache} to list again",
    )


def folder_url(settings):
    """Return the address of the folder in the entry."""
    return file_url(settings["base_url"], f"{settings['entry']}/{settings['directory']}/")


def file_url(base_url, file):
    """Return the address of a path in the archive."""
    return f"{base_url.rstrip('/')}/{urllib.parse.quote(re.sub('/+', '/', file))}"


def _fits(name, settings):
    return fnmatch.fnmatchcase(name, settings["pattern"]) and not name.endswith("/")


def _is_usable(name):
    """Whether a line of the kept listing, and a file, can have that name."""
    size = len(name.encode("utf-8", "surrogateescape"))
    return name.isprintable() and size <= _LONGEST_NAME and "/" not in name[:-1]


def _refuse_unusable(names, url):
    unusable = [name for name in names if not _is_usable(name)]
    if unusable:
        raise InputError(
            "the archive lists names that no file here can have",
            file=url,
            expected=f"printable UTF-8, at most {_LONGEST_NAME} bytes",
            found=some_of(
                ascii(name if len(name) < 60 else f"{name[:60]}...") for name in unusable
            ),
            advice="leave them out with empiar.pattern",
        )


def _cached_listing(cache, url):
    """Return the names in `cache`, None where there are none or of another folder."""
    try:
        with open_regular(cache) as file:
            first, _, *names = file.read(2 * _LISTING_BYTES).decode("utf-8").splitlines()
    except (OSError, ValueError):
        return None
    known = first == f"# {url}" and all(map(_is_usable, names))
    return names if known else None


# What a page holds of interest; no alternative looks further than 4 KiB, so that a page which is
# made to be slow is as fast as any.
_MARKUP = re.compile(
    rb"<(?:(?P<comment>!--)|(?P<code>script|style)[\s>]|a\s(?P<link>[^<>]{0,4096})>|/html\s*>)",
    re.I,
)
_ADDRESS = re.compile(
    rb"""(?:^|\s)href\s{0,9}=\s{0,9}(?:"([^"]{0,4096})"|'([^']{0,4096})'|([^\s"'>]{1,4096}))""",
    re.I,
)


def _links(page):
    """Yield the addresses that a page (bytes of HTML) links to; Fault if the page has no end."""
    position, complete = 0, False
    while found := _MARKUP.search(page, position):
        position = found.end()
        if found["comment"] or found["code"]:
            end = b"-->" if found["comment"] else b"</"
            position = page.find(end, position)
            if position < 0:
                break
        elif found["link"] is not None:
            address = _ADDRESS.search(found["link"])
            if address:
                text = address[1] or address[2] or address[3] or b""
                yield html.unescape(text.decode("utf-8", "surrogateescape"))
        else:
            complete = True
    if not complete:
        raise Fault("the directory listing is incomplete")


def _listing(url, patience):
    """Return what a directory page lists, sorted; folders end in a slash."""
    with opened(url, patience) as response:
        base = urllib.parse.urlsplit(response.geturl())
        page = whole_body(response, _LISTING_BYTES, _LISTING_S, patience)
    names = set()
    for link in _links(page):
        name = _name_of(link, base)
        if name and "/" not in name[:-1] and name[0] not in "./":
            names.add(name)
        if len(names) > _MOST_NAMES:
            raise InputError(
                "the folder is too large",
                file=url,
                expected=f"at most {_MOST_NAMES:,} files and folders",
                found="more",
                advice="change empiar.directory",
            )
    return sorted(names)


def _name_of(link, base):
    """Return what an address names in the folder at `base`, None where it is elsewhere."""
    try:
        target = urllib.parse.urlsplit(urllib.parse.urljoin(base.geturl(), link))
    except ValueError:  # [ without ], and the like
        return None
    if (target.netloc, target.query) != (base.netloc, "") or not target.path.startswith(base.path):
        return None
    return urllib.parse.unquote(target.path.removeprefix(base.path), errors="surrogateescape")
