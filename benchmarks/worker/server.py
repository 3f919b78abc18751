"""Server of a worker process: answer requests about one model, a line each (`wire`).

It imports what its engine needs and nothing more, because its memory is one of the things measured. It ends with its
parent: when its input closes, it is gone, whatever it was doing.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from typing import IO

from compress.benchmarks.worker.service import Service
from compress.benchmarks.worker.wire import Failure, read_request, write_reply
from compress.errors import MissingComponentError


def reply(service: Service, line: str) -> object:
    """Answer the request in a line; a failure is a reply too."""
    try:
        return service.answer(read_request(line))
    except ModuleNotFoundError as error:
        return Failure(str(error), missing=error.name)
    except MissingComponentError as error:
        return Failure(str(error), unavailable=True)
    except Exception as error:
        return Failure(" ".join(f"{type(error).__name__}: {error}".split()))


def _read_lines(lines: IO[str], into: queue.SimpleQueue[str]) -> None:
    for line in lines:
        into.put(line)
    os._exit(0)  # the parent is gone: a run that nobody waits for must not go on


def main() -> None:
    """Answer lines until the input ends. Replies own the real standard output; libraries' prints go to stderr."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read_lines, args=(sys.stdin, requests), daemon=True).start()
    service = Service()
    while True:
        print(write_reply(reply(service, requests.get())), file=replies, flush=True)


if __name__ == "__main__":
    main()
