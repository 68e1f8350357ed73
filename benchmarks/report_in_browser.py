"""How long the report's page takes in Chromium: to open, to sort, to answer a key in the search.

By hand: python benchmarks/report_in_browser.py results/report/index.html
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from chromium import Chromium

# Both times end when the browser has laid the rows out: reading a height makes it do so.
_OPENED = """() => {
  document.body.offsetHeight;
  const now = (done) => () => setTimeout(() => done(performance.now()));
  return new Promise((done) => requestAnimationFrame(now(done)));
}"""
_CLICKED = """(key) => {
  const table = document.querySelector("#micrographs table");
  const start = performance.now();
  table.querySelector(`th[data-key=${key}] button`).click();
  table.offsetHeight;
  return performance.now() - start;
}"""
_TYPED = """(text) => {
  const input = document.querySelector("#micrographs input[type=search]");
  const start = performance.now();
  input.value = text;
  input.dispatchEvent(new Event("input", { bubbles: true }));
  document.querySelector("#micrographs table").offsetHeight;
  return performance.now() - start;
}"""
SORTED_BY = ("name", "status", "size", "check")
TYPED = ("1", "12", "123", "")


def measure_page(path, repeats=5):
    """Open the page `repeats` times; return medians and the worst of each, in seconds.

    {"bytes", "rows", "open_s", "sort_s", "sort_worst_s", "filter_s", "filter_worst_s"}. open_s is
    from the start of the navigation to the frame after the page's scripts have run; a sort is the
    first one by a column (ascending) and the one after it (descending); a filter is one key typed.
    """
    browser = Chromium()
    opened, sorts, filters = [], [], []
    try:
        for _ in range(repeats):
            page = browser.open(path)
            opened.append(page.evaluate(_OPENED))
            rows = page.evaluate(
                "JSON.parse(document.querySelector('#micrographs-data').textContent).rows.length"
            )
            keys = page.eval_on_selector_all(
                "#micrographs th[data-key]", "all => all.map(h => h.dataset.key)"
            )
            sorts += [
                page.evaluate(_CLICKED, key) for key in SORTED_BY if key in keys for _ in range(2)
            ]
            filters += [page.evaluate(_TYPED, text) for text in TYPED]
            faults = browser.close_pages()
            if faults:
                raise SystemExit(f"{path}: {faults[0]}")
    finally:
        browser.stop()
    return {
        "bytes": Path(path).stat().st_size,
        "rows": rows,
        "open_s": statistics.median(opened) / 1000,
        "sort_s": statistics.median(sorts) / 1000,
        "sort_worst_s": max(sorts) / 1000,
        "filter_s": statistics.median(filters) / 1000,
        "filter_worst_s": max(filters) / 1000,
    }


def main():
    """Measure one page and print the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    print(json.dumps(measure_page(given.page, given.repeats), indent=2))


if __name__ == "__main__":
    main()
