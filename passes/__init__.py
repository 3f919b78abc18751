"""The techniques, one a file. Importing this package registers every one of them."""

import sys

from compress.registry import import_all

import_all(sys.modules[__name__])
