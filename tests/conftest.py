"""Fixtures for every test. Each `tests/fix_<thing>.py` gives what its name says; a line here registers it."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the project's packages, and tests.fix_* by name, whatever the working directory
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
)  # and in children

pytest_plugins = [
    "tests.fix_broker",
    "tests.fix_agent",
    "tests.fix_recorder",
    "tests.fix_postgres",
    "tests.fix_hub_database",
    "tests.fix_fleet",
    "tests.fix_api",
    "tests.fix_model_flights",
    "tests.fix_pages",
    "tests.fix_system",
    "tests.fix_imports",
    "tests.fix_logs",
    "tests.fix_maintenance",
    "tests.fix_models",
]

settings.register_profile("dbx", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("dbx")


@pytest.fixture(scope="session")
def flight_data() -> Path:
    """The folder of shared flight data beside the checkout; skips, saying so, where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the shared flight data (../shared/data), which is not on this machine")
    return folder
