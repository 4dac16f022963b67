"""Logging: constant event text, data as fields; text for people, JSON for machines. Never keys, never payloads."""

import json
import logging
import sys

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Formatter(logging.Formatter):
    """One line per event."""

    def __init__(self, is_json: bool) -> None:
        super().__init__()
        self._is_json = is_json

    def format(self, record: logging.LogRecord) -> str:
        fields = {k: v for k, v in vars(record).items() if k not in _STANDARD and v not in ("", None)}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        if self._is_json:
            head = {"at": self.formatTime(record), "level": record.levelname.lower(), "logger": record.name}
            return json.dumps(head | {"event": record.getMessage()} | fields, default=str)
        tail = " ".join(f"{k}={v}" for k, v in fields.items())
        head_text = f"{self.formatTime(record)} {record.levelname.lower():7} {record.name}"
        return f"{head_text}: {record.getMessage()} {tail}".rstrip()


def set_up(log_format: str) -> None:
    """Log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter(log_format == "json"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
