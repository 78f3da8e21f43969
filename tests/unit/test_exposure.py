"""What a canary exposes, request by request: a load balancer that serves by weight, and the weight that follows."""

from hypothesis import given
from hypothesis import strategies as st

from quell.resolution.rollout import MOST_WEIGHT, PER_MILLE, RolloutStep, canary_weight, plan_split, weight_within


def serve(step: RolloutStep, others: int, requests: list[int], ahead: float) -> list[tuple[int, int]]:
    """Exposed and served after each look, with so many requests between two looks.

    The canary gets its fair share of every moment and is `ahead` of it by up to one request, as round robin is.
    """
    exposed = served = 0
    due, looks = ahead, list[tuple[int, int]]()
    weight = weight_within(step, 0, 0)
    for count in requests:
        for _ in range(count):
            due += weight / (weight + others)
            served += 1
            if due >= 1:
                due, exposed = due - 1, exposed + 1
        looks.append((exposed, served))
        weight = weight_within(step, exposed, served)
    return looks


@given(
    st.floats(0.05, 0.5),
    st.integers(100, 600),
    st.lists(st.integers(40, 400), min_size=1, max_size=60),
    st.floats(0, 0.99),
)
def test_at_no_look_more_than_the_share_was_exposed(
    share: float, others: int, requests: list[int], ahead: float
) -> None:
    """With the weight alone it was one request in nine where the canary was stopped early."""
    step = RolloutStep(share=share, weight=canary_weight([others], share), is_last=True)
    for exposed, served in serve(step, others, requests, ahead):
        assert exposed <= share * served


@given(st.floats(0.05, 0.5), st.integers(100, 600), st.lists(st.integers(40, 400), min_size=20, max_size=60))
def test_the_share_is_used_up_nearly(share: float, others: int, requests: list[int]) -> None:
    """The samples that the judge needs come about as soon as with the whole weight."""
    step = RolloutStep(share=share, weight=canary_weight([others], share), is_last=True)
    most = step.weight / (step.weight + others)
    exposed, served = serve(step, others, requests, 0.0)[-1]
    assert exposed >= most * (served - 2 * max(requests)) - 2


def test_a_canary_that_got_too_much_gets_nothing_until_the_others_have_caught_up() -> None:
    """Sessions that stick to a server, or a sibling that went down, are no affair of weights."""
    step = RolloutStep(share=0.1, weight=22, is_last=True)
    looks = [(11, 100), (11, 109), (11, 110), (11, 129), (11, 130)]
    assert [weight_within(step, *look) for look in looks] == [0, 0, 11, 11, 22]


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=6))
def test_a_split_rises_and_leaves_something_to_compare_with(shares: list[float]) -> None:
    steps = plan_split(shares)
    assert [step.weight for step in steps] == sorted({step.weight for step in steps})
    assert all(0 < step.weight / PER_MILLE <= step.share + 1e-9 < 1 + 1e-9 for step in steps)
    assert [step.is_last for step in steps] == [False] * (len(steps) - 1) + [True] * bool(steps)


def test_the_whole_of_a_servers_weight_is_never_passed() -> None:
    assert canary_weight([1], 0.999) <= MOST_WEIGHT
