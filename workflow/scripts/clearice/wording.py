"""Words that every step uses to speak to a person."""

import shlex

LISTED = 10  # names in one line; whoever wants all of them finds them in a file or a log


def listed(names, limit=LISTED, separator=", "):
    """Return the first `limit` of `names` as text, and the number of the rest.

    >>> listed(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    names = [str(name) for name in names]
    text = separator.join(names[:limit])
    rest = len(names) - limit
    return f"{text} and {rest:,} more" if rest > 0 else text


def made_again(*paths):
    """Say how results are made again: Snakemake makes what is missing, and nothing else.

    >>> made_again("results/a b.json")
    "to make it again, delete it and run again: rm 'results/a b.json'"
    """
    what = "it" if len(paths) == 1 else "them"
    words = " ".join(shlex.quote(str(path)) for path in paths)
    return f"to make {what} again, delete {what} and run again: rm {words}"
