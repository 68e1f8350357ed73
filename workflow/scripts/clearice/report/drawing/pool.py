"""Work on many items in processes of their own, one item at a time each."""

import concurrent.futures
import contextlib

from clearice.child_process import ChildProcess


def results_of(module, items, processes):
    """Yield (item, module.work(item)) as they are finished; `module` is run with `serve`.

    Items are taken from the iterator as processes become free. What `work` raises is a mistake of
    ours: FarMistake, with its traceback. No process outlives this generator.
    """
    items, waiting = iter(items), {}
    with contextlib.ExitStack() as stack:
        threads = stack.enter_context(concurrent.futures.ThreadPoolExecutor(processes))

        def give(worker):
            for item in items:
                worker = worker or stack.enter_context(ChildProcess(module.__name__))
                waiting[threads.submit(worker.work, item)] = worker, item
                return

        for _ in range(processes):
            give(None)
        while waiting:
            done, _ = concurrent.futures.wait(
                waiting, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in done:
                worker, item = waiting.pop(future)
                result = future.result()
                give(worker)
                yield item, result
