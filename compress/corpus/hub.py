"""Rows of a data set of the Hugging Face Hub, through ``datasets``."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl

from compress.corpus.rows import Record
from compress.errors import MissingComponentError, UsageError, unknown
from compress.modeling.quiet import first_line

SCHEME = "hf://"
_DATASETS = "hf://datasets/"
_OPTIONS = ("name", "split")
_SPLIT = "train"
_TIMEOUT = 5.0
"""seconds that the hub may take to answer"""
_RETRIES = 2
"""for what is lost on its way; datasets waits five seconds before each, and more for a busy server"""
_FORM = "hf://datasets/OWNER/NAME[@REVISION][/FILE][?name=CONFIG&split=SPLIT][:COLUMN]"


@dataclass(frozen=True)
class HubDataset:
    """A data set, or one ``file`` of it: its configuration, split and revision."""

    address: str
    repository: str
    file: str | None
    name: str | None
    split: str
    revision: str | None

    @classmethod
    def parse(cls, address: str) -> HubDataset:
        """Parse ``hf://datasets/OWNER/NAME?name=CONFIG&split=test``; a UsageError for what is no such address."""
        if not address.startswith(_DATASETS):
            raise UsageError(f"{address} is no data set; write {_FORM}")
        place, _, query = address.removeprefix(_DATASETS).partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        if other := next((name for name in options if name not in _OPTIONS), None):
            raise unknown(f"option in {address}", other, _OPTIONS)
        owner, _, rest = place.strip("/").partition("/")
        name, _, file = rest.partition("/")
        name, _, revision = name.partition("@")
        if not owner or not name:
            raise UsageError(f"{address} names no data set; write {_FORM}")
        split = options.get("split") or _SPLIT
        return cls(address, f"{owner}/{name}", file or None, options.get("name"), split, revision or None)

    def rows(self) -> Iterator[Record]:
        """The rows in order: streamed, or from the local cache where the hub must not be asked.

        Raises MissingComponentError without ``datasets``, UsageError where the data set can't be read.
        """
        try:
            import datasets
        except ImportError as error:
            raise MissingComponentError(
                f"{self.address} needs datasets: pip install 'compress-models[datasets]'"
            ) from error
        offline = datasets.config.HF_HUB_OFFLINE
        if not offline:
            self._reach()
        try:
            for number, value in enumerate(self._load(streaming=not offline), start=1):
                yield Record(f"{self.address}, row {number}", value)
        except Exception as error:  # datasets raises whatever a server or a file makes it
            hint = "the hub isn't asked, and the local cache lacks it" if offline else "--offline reads the local cache"
            raise UsageError(f"{self.address} can't be read ({first_line(error)}); {hint}") from error

    def _reach(self) -> None:
        """Raise UsageError where the hub isn't reachable: ``datasets`` would try again for minutes."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        try:
            HfApi().dataset_info(self.repository, revision=self.revision, timeout=_TIMEOUT)
        except HfHubHTTPError:
            return  # it answers; what datasets makes of the answer says more
        except Exception as error:  # those of whatever sends requests
            raise UsageError(
                f"{self.address} can't be read: the hub isn't reachable ({first_line(error)}); --offline reads the "
                "local cache"
            ) from error

    def _load(self, streaming: bool) -> Iterable[object]:
        import datasets

        datasets.config.STREAMING_READ_MAX_RETRIES = datasets.config.STREAMING_OPEN_MAX_RETRIES = _RETRIES
        datasets.disable_progress_bars()
        datasets.logging.set_verbosity_error()
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        loaded: Iterable[object] = datasets.load_dataset(
            self.repository,
            self.name,
            data_files=self.file,
            split=self.split,
            revision=self.revision,
            streaming=streaming,
        )
        return loaded
