"""The agent's version, as it tells the hub."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("dbx-aviation")
except PackageNotFoundError:  # a checkout that is not installed
    VERSION = "0.1.0"
