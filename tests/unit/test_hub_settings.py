"""The hub's settings: read once, every mistake named at once."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.settings import VARIABLES, HubSettings, SettingsError, environment, load


def test_nothing_set_gives_the_embedded_hub_beside_the_checkout() -> None:
    settings = load({})
    assert (settings.database_url, settings.mqtt_url, settings.broker) == ("", "", "nats")
    assert settings.data_dir.name == ".dbx"


def test_the_data_option_goes_before_the_variable(tmp_path: Path) -> None:
    assert load({"DBX_DATA": "/elsewhere"}, tmp_path).data_dir == tmp_path


def test_every_mistake_is_reported_at_once() -> None:
    with pytest.raises(SettingsError) as wrong:
        load({"DBX_API_PORT": "many", "DBX_BROKER": "kafka", "DBX_MQTT_URL": "http://x", "DBX_DEVICE_MQTT": "host"})
    assert len(wrong.value.mistakes) == 4
    assert all(line.startswith("DBX_") for line in wrong.value.mistakes)


def test_addresses_with_passwords_stay_out_of_the_repr() -> None:
    settings = load({"DBX_DATABASE_URL": "postgresql://admin:hunter2@db/x", "DBX_MQTT_URL": "mqtts://u:hunter2@b:8883"})
    assert "hunter2" not in repr(settings)


def test_a_child_process_gets_the_same_settings(tmp_path: Path) -> None:
    settings = HubSettings(data_dir=tmp_path, api_port=1234, broker="mosquitto", server_names=("a", "b"))
    assert load(environment(settings)) == settings


def test_an_empty_variable_is_as_if_unset() -> None:
    assert load(dict.fromkeys(VARIABLES, "")) == load({})


@given(st.dictionaries(st.sampled_from(sorted(VARIABLES)), st.text(max_size=40)))
def test_any_environment_gives_settings_or_named_mistakes(values: dict[str, str]) -> None:
    try:
        settings = load(values)
        assert isinstance(settings, HubSettings)
        assert load(environment(settings)) == settings
    except SettingsError as error:
        assert {line.partition(":")[0] for line in error.mistakes} <= set(VARIABLES)
