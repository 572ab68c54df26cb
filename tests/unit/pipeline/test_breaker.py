"""One alert per outage, one probe at a time."""

from segue.pipeline.breaker import Breaker


def test_three_failures_in_a_row_open_it_once():
    breaker = Breaker()
    assert [breaker.failed(0.0) for _ in range(4)] == [False, False, True, False]
    assert breaker.allows(0.5) == "nothing"


def test_a_success_between_failures_starts_the_count_again():
    breaker = Breaker()
    breaker.failed(0.0)
    breaker.failed(0.0)
    assert not breaker.succeeded()
    assert not breaker.failed(0.0)
    assert breaker.allows(0.0) == "all"


def test_probes_come_at_growing_distances_up_to_the_ceiling():
    breaker = Breaker(threshold=1, first=1.0, ceiling=5.0)
    breaker.failed(0.0)
    distances = []
    now = 0.0
    for _ in range(5):
        distances.append(breaker.probe_at - now)
        now = breaker.probe_at
        assert breaker.allows(now) == "probe"
        breaker.failed(now)
    assert distances == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_refused_login_pauses_at_once_and_for_longer():
    breaker = Breaker()
    assert breaker.failed(0.0, halt=True)
    assert breaker.allows(59.0) == "nothing"
    assert breaker.allows(60.0) == "probe"
    assert breaker.succeeded()
    assert breaker.allows(60.0) == "all"


def test_a_peer_that_says_when_to_come_again_is_left_alone_until_then():
    breaker = Breaker(threshold=1, first=1.0)
    assert breaker.failed(0.0, asked=120.0)
    assert breaker.allows(119.0) == "nothing"
    assert breaker.allows(120.0) == "probe"
    assert not breaker.failed(120.0)
    assert breaker.allows(122.0) == "probe", "it asked for nothing any more"
