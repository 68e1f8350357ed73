"""The page on which a server lists a folder: names, and what it says of each file's age and size.

Apache's page, which EMPIAR's is, gives the time to the minute and the size to three digits.
"""

import html
import re
import urllib.parse

from clearice.errors import InputError
from clearice.micrographs.empiar.connection import Fault, opened, whole_body

_LISTING_BYTES = 1 << 26
_LISTING_S = 120.0  # for the page, once its headers are there
_MOST_NAMES = 200_000
LONGEST_NAME = 255  # bytes, of any file system

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
# After a link: 2015-02-07 19:49 (Apache) or 07-Feb-2015 19:49 (nginx), then 237M or 237123456.
_FACTS_BYTES = 1024
_ROW_ENDS = re.compile(rb"<(?:a\s|/tr|/li|br|/html)", re.I)
_FACTS = re.compile(
    rb"(\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?|\d\d-[A-Za-z]{3}-\d{4} \d\d:\d\d(?::\d\d)?)"
    rb"(?:(?:\s|<[^<>]{0,99}>){1,9}(\d{1,15}(?:\.\d{1,3})?[KMGT]?)(?![\w.]))?"
)


def list_folder(url, patience):
    """Return name -> (modified, size) of what a directory page lists, sorted by name.

    Both are the server's words, empty where it does not say. Folders end in a slash. Raises Fault
    or InputError.
    """
    with opened(url, patience) as response:
        base = urllib.parse.urlsplit(response.geturl())
        page = whole_body(response, _LISTING_BYTES, _LISTING_S, patience)
    found = {}
    for link, facts in _links(page):
        name = _name_of(link, base)
        if name and "/" not in name[:-1] and name[0] not in "./":
            found[name] = facts
        if len(found) > _MOST_NAMES:
            raise InputError(
                "the folder is too large",
                file=url,
                expected=f"at most {_MOST_NAMES:,} files and folders",
                found="more",
                advice="change empiar.directory",
            )
    return dict(sorted(found.items()))


def is_usable(name):
    """Whether a line of the kept listing, and a file, can have that name."""
    size = len(name.encode("utf-8", "surrogateescape"))
    return name.isprintable() and size <= LONGEST_NAME and "/" not in name[:-1]


def _links(page):
    """Yield (address, (modified, size)) of the links of a page; Fault if the page has no end."""
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
                link = html.unescape(text.decode("utf-8", "surrogateescape"))
                yield link, _facts(page[position : position + _FACTS_BYTES])
        else:
            complete = True
    if not complete:
        raise Fault("the directory listing is incomplete")


def _facts(after):
    """Return (modified, size) in what follows a link, up to the end of its row."""
    _, _, after = after.partition(b"</a>")  # a name may hold a date
    end = _ROW_ENDS.search(after)
    found = _FACTS.search(after[: end.start()] if end else after)
    return tuple((part or b"").decode() for part in found.groups()) if found else ("", "")


def _name_of(link, base):
    """Return what an address names in the folder at `base`, None where it is elsewhere."""
    try:
        target = urllib.parse.urlsplit(urllib.parse.urljoin(base.geturl(), link))
    except ValueError:  # [ without ], and the like
        return None
    if (target.netloc, target.query) != (base.netloc, "") or not target.path.startswith(base.path):
        return None
    return urllib.parse.unquote(target.path.removeprefix(base.path), errors="surrogateescape")
