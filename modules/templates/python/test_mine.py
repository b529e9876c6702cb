import pytest
from mine import row
from modelgate_module import Invalid
from modelgate_module.testing import run


def test_ages_fall_into_groups():
    rows = [{"age": 3, "city": "Cali"}, {"age": 40, "city": None}, {"age": 65, "city": "Cali"}]
    assert run(row, rows) == [{"age_bucket": 0}, {"age_bucket": 1}, {"age_bucket": 2}]


def test_an_impossible_age_is_the_callers():
    with pytest.raises(Invalid, match="from 0 to 130"):
        run(row, [{"age": 200, "city": None}])
