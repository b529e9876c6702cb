import json
from pathlib import Path

import pytest
from modelgate_module import Invalid
from modelgate_module.testing import run
from visits import row

CONFIG = json.loads(Path(__file__).with_name("visits.json").read_text())


def test_ages_fall_into_bands_and_cities_have_one_name():
    rows = [{"age": 3, "city": " Cali"}, {"age": 40, "city": None}, {"age": 65, "city": "Bogotá"}]
    assert run(row, rows, CONFIG) == [
        {"band": 0, "city": "cali", "is_known": 1},
        {"band": 1, "city": "other", "is_known": 0},
        {"band": 2, "city": "bogota", "is_known": 1},
    ]


def test_an_impossible_age_is_the_callers():
    with pytest.raises(Invalid, match="column 'age': expected an age from 0 to 130, got 200"):
        run(row, [{"age": 200, "city": None}], CONFIG)


def test_a_configuration_without_limits_is_refused():
    with pytest.raises(Invalid, match="the configuration: KeyError: 'limits'"):
        run(row, [], {"cities": {}})
