"""What a denoising of many files says while it runs."""

import sys
import threading
import time

import tqdm

_LINE_EVERY_S = 30  # in a log; a terminal has a bar


class FileProgress:
    """Files done, megapixels per second and time left: a bar on a terminal, else a line every 30 s.

    A context manager; `files` and `pixels` are what there is to do. Safe to call from threads.
    """

    def __init__(self, files, pixels):
        self._stream, self._files, self._pixels = sys.stderr, files, pixels
        self._done_files = self._done_pixels = 0
        self._started_s = self._last_line_s = time.monotonic()
        self._lock, self._bar = threading.Lock(), None
        if files and self._stream.isatty():
            self._bar = tqdm.tqdm(
                total=pixels / 1e6,
                unit=" Mpx",
                file=self._stream,
                dynamic_ncols=True,
                bar_format="{desc} |{bar}| {rate_noinv_fmt}, {remaining} left",
                desc=self._count(),
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.close()

    @property
    def megapixels_per_s(self):
        """Since the beginning."""
        return self._done_pixels / 1e6 / (time.monotonic() - self._started_s)

    def add_pixels(self, pixels):
        """Count pixels that have been denoised."""
        with self._lock:
            self._done_pixels += pixels
            if self._bar is not None:
                self._bar.update(pixels / 1e6)
            elif time.monotonic() - self._last_line_s > _LINE_EVERY_S:
                left_s = max(0.0, self._pixels - self._done_pixels) / 1e6 / self.megapixels_per_s
                self._print(
                    f"{self._count()}, {self.megapixels_per_s:.3g} Mpx/s, "
                    f"{tqdm.tqdm.format_interval(left_s)} left"
                )

    def add_file(self):
        """Count a file that is finished, well or not."""
        with self._lock:
            self._done_files += 1
            if self._bar is not None:
                self._bar.set_description_str(self._count())

    def line(self, text):
        """Print one line on standard error, above the bar if there is one."""
        with self._lock:
            self._print(text)

    def _count(self):
        return f"{self._done_files}/{self._files} files"

    def _print(self, text):
        self._last_line_s = time.monotonic()
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)
