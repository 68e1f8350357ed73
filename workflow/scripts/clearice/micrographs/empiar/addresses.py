"""Where the files of an EMPIAR entry lie in the archive."""

import fnmatch
import re
import urllib.parse


def folder_of(settings):
    """Return the folder that the `empiar` section names: entry/directory/."""
    return re.sub("/+", "/", f"{settings['entry']}/{settings['directory']}/")


def folder_url(settings):
    """Return the address of that folder."""
    return file_url(settings["base_url"], folder_of(settings))


def file_url(base_url, file):
    """Return the address of a path in the archive."""
    return f"{base_url.rstrip('/')}/{urllib.parse.quote(re.sub('/+', '/', file))}"


def fits(name, settings):
    """Whether a name in the folder is a file that empiar.pattern lets in."""
    return fnmatch.fnmatchcase(name, settings["pattern"]) and not name.endswith("/")
