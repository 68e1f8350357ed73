"""One process that draws: a Subject comes in, its page and its record go out."""

from clearice.child_process import serve
from clearice.report.drawing.detail import draw


def work(item):
    """Return what detail.draw makes of (subject, digest)."""
    return draw(*item)


if __name__ == "__main__":
    serve(work)
