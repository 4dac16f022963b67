"""Parameters of a DataFlash log: PARM messages, told apart into initial values and changes."""

from firmware_bridge.dataflash_formats import words
from firmware_bridge.log_tables import Parameter, Table

MAX_NAMES = 20_000
"""Names remembered; firmware has fewer than 3,000."""


class ParameterMemory:
    """Tells changes from the values that a boot began with: a name's first value is initial, and so is the same value
    again (firmware logs the whole set anew when a log begins)."""

    def __init__(self) -> None:
        self._values: dict[str, float] = {}

    def forget(self) -> None:
        """A new boot begins."""
        self._values.clear()

    def take(self, table: Table) -> list[Parameter]:
        """The parameters in a table, none unless it is of PARM."""
        if table.name != "PARM" or not {"Name", "Value"} <= set(table.rows.dtype.names or ()):
            return []
        if table.rows.dtype["Name"].kind != "S" or table.rows.dtype["Value"].kind not in "fiu":
            return []
        rows = zip(table.rows["Name"].tolist(), table.values("Value").tolist(), table.time_us.tolist(), strict=True)
        return [self._parameter(words(name), value, time_us) for name, value, time_us in rows]

    def _parameter(self, name: str, value: float, time_us: int) -> Parameter:
        before = self._values.get(name, value)
        if len(self._values) < MAX_NAMES or name in self._values:
            self._values[name] = value
        is_same = before == value or (before != before and value != value)  # not a number is the same again
        return Parameter(name, value, time_us, is_same)
