import pytest

from vergence.core.waiting import SETTINGS, wait_asleep


def test_waiting_threads_sleep_unless_the_user_says_how_they_wait():
    environment = {}
    wait_asleep(environment)
    assert environment == {"OMP_WAIT_POLICY": "passive"}


@pytest.mark.parametrize("name", SETTINGS)
def test_what_the_user_set_stays(name):
    environment = {name: "active"}
    wait_asleep(environment)
    assert environment == {name: "active"}
