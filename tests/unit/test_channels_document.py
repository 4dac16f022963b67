"""The channels' document, the registry and the sources say the same."""

from firmware_bridge.channel_table import PATH, table
from firmware_bridge.sources import SOURCES
from shared.channels import BY_NAME, CHANNELS
from shared.layouts import LAYOUTS


def test_the_document_is_what_the_code_says() -> None:
    assert PATH.read_text() == table(), "run: python -m firmware_bridge.channel_table"


def test_every_channel_has_a_source_on_some_firmware() -> None:
    given = {name for source in SOURCES for column in source.columns for name, _ in column.targets}
    assert given == set(BY_NAME)


def test_every_target_is_an_element_of_its_channel() -> None:
    for source in SOURCES:
        for column in source.columns:
            assert all(0 <= index < BY_NAME[name].size for name, index in column.targets)


def test_every_element_of_an_array_channel_has_a_source() -> None:
    given = {target for source in SOURCES for column in source.columns for target in column.targets}
    assert {(c.name, i) for c in CHANNELS for i in range(c.size)} == given


def test_every_channel_stands_in_the_document_once() -> None:
    rows = [line for line in table().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [
        c.name for group in dict.fromkeys(c.group for c in CHANNELS) for c in CHANNELS if c.group == group
    ]


def test_sources_name_messages_that_the_wire_knows() -> None:
    assert all(source.msgid in LAYOUTS for source in SOURCES)
