"""Which rows go where next."""

from hypothesis import given
from hypothesis import strategies as st

from batchmill.core import plan
from batchmill.core.batch import Batch, Recipe, Source, last_words
from batchmill.core.failure import POLICIES, Failure, Hold, Patience
from batchmill.core.limits import Range
from batchmill.core.rowset import NO_ROWS, row_range, rows_of
from batchmill.core.shard import Collected, Dropped, Refused, Shard, State, Tally, Vanished, advance

PATIENCE = Patience(wait_s=10.0)
NOW = 1000.0


def a_batch(**changes: object) -> Batch:
    facts: dict[str, object] = {
        "id": "batch_x",
        "created_at": 0.0,
        "provider": "sim",
        "lane": "batch",
        "recipe": Recipe(model="echo"),
        "source": Source(url="t.csv", format="csv"),
        "rows": 10,
    }
    return Batch(**{**facts, **changes})  # type: ignore[arg-type]


def collected(n: int, rows: object, failed: dict[Failure, list[int]], attempt: int = 1) -> Shard:
    shard = Shard(
        id=plan.shard_id_of("batch_x", n),
        batch_id="batch_x",
        n=n,
        provider="sim",
        lane="batch",
        rows=rows_of(rows),  # type: ignore[arg-type]
        attempt=attempt,
        state=State.COLLECTING,
    )
    tally = Tally(failed={f: rows_of(r) for f, r in failed.items()})
    return advance(shard, Collected("k", tally))


EVENT = Collected("k", Tally())


def sequel(settled: Shard, *others: Shard, batch: Batch | None = None) -> plan.Sequel:
    return plan.sequel(batch or a_batch(), settled, EVENT, others, PATIENCE, NOW)


def test_each_range_of_a_fresh_table_becomes_one_shard() -> None:
    shards = plan.first_shards(a_batch(), [Range(1, 0, 6, 60), Range(2, 6, 4, 40)])
    assert [s.id for s in shards] == ["batch_x-0001", "batch_x-0002"]
    assert [list(s.rows) for s in shards] == [list(range(6)), list(range(6, 10))]


def test_rows_that_succeeded_are_never_offered_again() -> None:
    assert sequel(collected(1, range(10), {})) == plan.Sequel()


def test_failed_rows_travel_in_a_new_shard_and_only_they() -> None:
    following = sequel(collected(1, range(10), {Failure.SERVER: [2, 5]})).shards
    assert [(s.n, list(s.rows), s.attempt, s.due_at) for s in following] == [(2, [2, 5], 2, 1010.0)]


def test_classes_with_the_same_wait_share_a_shard() -> None:
    failed = {Failure.EXPIRED: [1], Failure.SCHEMA: [2], Failure.INVALID_REQUEST: [3]}
    following = sequel(collected(1, range(10), failed)).shards
    assert [list(s.rows) for s in following] == [[1, 2]]


def test_a_longer_backoff_is_a_shard_of_its_own() -> None:
    before = collected(1, range(10), {Failure.SERVER: [2]})
    after = collected(2, [2, 3], {Failure.SERVER: [2], Failure.EXPIRED: [3]}, attempt=2)
    following = sequel(after, before).shards
    assert [(list(s.rows), s.due_at) for s in following] == [([3], 1010.0), ([2], 1020.0)]


def test_every_class_is_offered_again_exactly_as_often_as_its_policy_says() -> None:
    for failure, policy in POLICIES.items():
        history: list[Shard] = []
        for n in range(1, 10):
            settled = collected(n, [0], {failure: [0]}, attempt=n)
            if not sequel(settled, *history).shards:
                break
            history.append(settled)
        offers_again = len(history)
        assert offers_again == (9 if policy.again_max is None else policy.again_max), failure


def test_failures_of_one_class_do_not_use_up_the_patience_for_another() -> None:
    first = collected(1, [0], {Failure.MISSING: [0]})
    second = collected(2, [0], {Failure.SCHEMA: [0]}, attempt=2)
    third = collected(3, [0], {Failure.SCHEMA: [0]}, attempt=3)
    assert sequel(first).shards
    assert sequel(second, first).shards
    assert sequel(third, first, second).shards


def test_a_wish_to_stop_or_a_deadline_ends_all_retries() -> None:
    settled = collected(1, range(10), {Failure.SERVER: [1], Failure.EXPIRED: [2]})
    assert sequel(settled, batch=a_batch(cancel_wanted=True)) == plan.Sequel()
    assert sequel(settled, batch=a_batch(deadline=NOW)) == plan.Sequel()
    assert sequel(settled, batch=a_batch(deadline=NOW + 1)).shards


def test_an_account_failure_holds_the_batch_and_keeps_the_rows() -> None:
    following = sequel(collected(1, range(10), {Failure.ACCOUNT: [1, 2]}))
    assert following.hold
    assert [list(s.rows) for s in following.shards] == [[1, 2]]
    assert [f for f, p in POLICIES.items() if p.hold is Hold.BATCH] == [Failure.ACCOUNT]


def test_a_refused_or_vanished_shard_is_bought_again_only_with_consent() -> None:
    for event in (Refused("no"), Vanished("gone")):
        shard = Shard(
            id="batch_x-0001", batch_id="batch_x", n=1, provider="sim", lane="batch",
            rows=row_range(0, 3), state=State.PLANNED if isinstance(event, Refused) else State.IN_PROGRESS,
        )  # fmt: skip
        settled = advance(shard, event)
        assert plan.sequel(a_batch(), settled, event, [], PATIENCE, NOW) == plan.Sequel()
        again = plan.retry([settled], last_words([settled]), list(Failure), NOW)
        assert [list(s.rows) for s in again] == [[0, 1, 2]]


def test_a_retry_by_hand_takes_the_classes_asked_for() -> None:
    shards = [
        collected(1, range(5), {Failure.TRUNCATED: [1], Failure.INVALID_REQUEST: [2]}),
        collected(2, range(5, 10), {Failure.TRUNCATED: [7]}),
    ]
    again = plan.retry(shards, last_words(shards), [Failure.TRUNCATED], NOW)
    assert sorted((s.n, tuple(s.rows)) for s in again) == [(3, (7,)), (4, (1,))]


def test_a_row_is_named_by_its_last_failure_only() -> None:
    first = collected(1, range(4), {Failure.SERVER: [1, 2], Failure.TRUNCATED: [3]})
    second = collected(2, [1, 2], {Failure.REFUSED: [2]}, attempt=2)
    assert last_words([first, second]) == {
        Failure.TRUNCATED: rows_of([3]),
        Failure.REFUSED: rows_of([2]),
    }


classes = st.dictionaries(st.sampled_from(list(Failure)), st.sets(st.integers(0, 9)), max_size=5)


@given(st.lists(classes, min_size=1, max_size=6))
def test_unsettled_shards_never_share_a_row_and_no_row_is_forgotten(
    fates: list[dict[Failure, set[int]]],
) -> None:
    """Whatever fails, each row is either final or in exactly one shard that is still to come."""
    history: list[Shard] = []
    open_shards = [collected(1, range(10), {})]
    for fate in fates:
        if not open_shards:
            break
        shard = open_shards.pop(0)
        left, failed = set(shard.rows), dict[Failure, list[int]]()
        for failure, rows in fate.items():
            failed[failure] = sorted(rows & left)
            left -= rows
        settled = collected(shard.n, shard.rows, failed, shard.attempt)
        following = sequel(settled, *history, *open_shards).shards
        history.append(settled)
        open_shards += following
        seen = NO_ROWS
        for unsettled in open_shards:
            assert not seen & unsettled.rows
            seen |= unsettled.rows
        assert len({s.n for s in (*history, *open_shards)}) == len(history) + len(open_shards)
        lost = set(settled.rows) - left - set(seen)
        for failure, rows in failed.items():
            lost -= {r for r in rows if POLICIES[failure].again_max is not None}
        assert not lost, "a class without limit gave up"


def test_dropping_is_final() -> None:
    shard = Shard(
        id="batch_x-0001",
        batch_id="batch_x",
        n=1,
        provider="sim",
        lane="batch",
        rows=row_range(0, 3),
    )
    settled = advance(shard, Dropped())
    assert plan.sequel(a_batch(), settled, Dropped(), [], PATIENCE, NOW) == plan.Sequel()


# -- refused as a whole ------------------------------------------------------------------------


def refused(rows: object, failure: Failure = Failure.NOT_RUN) -> tuple[Shard, Refused]:
    event = Refused("too large", failure)
    shard = Shard(
        id="batch_x-0001",
        batch_id="batch_x",
        n=1,
        provider="sim",
        lane="batch",
        rows=rows_of(rows),  # type: ignore[arg-type]
    )
    return advance(shard, event), event


def test_the_innocent_go_on_together_without_the_guilty() -> None:
    found = sequel(
        collected(1, range(6), {Failure.INVALID_REQUEST: [2], Failure.NOT_RUN: [0, 1, 3]})
    )
    assert [list(s.rows) for s in found.shards] == [[0, 1, 3]]
    assert found.shards[0].due_at == NOW


def test_where_nobody_is_named_the_rows_are_halved() -> None:
    found = sequel(collected(1, range(5), {Failure.NOT_RUN: [0, 1, 2, 3, 4]}))
    assert [list(s.rows) for s in found.shards] == [[0, 1], [2, 3, 4]]


def test_what_is_refused_before_it_is_sold_is_halved_as_well() -> None:
    settled, event = refused(range(4))
    found = plan.sequel(a_batch(), settled, event, (), PATIENCE, NOW)
    assert [list(s.rows) for s in found.shards] == [[0, 1], [2, 3]]


def test_any_other_refusal_of_the_whole_shard_is_final() -> None:
    settled, event = refused(range(4), Failure.INVALID_REQUEST)
    assert plan.sequel(a_batch(), settled, event, (), PATIENCE, NOW) == plan.Sequel()


@given(st.integers(2, 300), st.sets(st.integers(0, 299), min_size=1, max_size=4))
def test_halving_finds_every_bad_row_and_only_those(rows: int, bad: set[int]) -> None:
    bad = {row % rows for row in bad}
    waiting, alone, offers = [rows_of(range(rows))], set[int](), 0
    while waiting:
        shard_rows = waiting.pop()
        offers += 1
        if not bad & set(shard_rows):
            continue
        if len(shard_rows) == 1:
            alone |= set(shard_rows)
            continue
        waiting += [
            s.rows
            for s in sequel(collected(1, shard_rows, {Failure.NOT_RUN: list(shard_rows)})).shards
        ]
    assert alone == bad
    assert offers <= 1 + 2 * len(bad) * (rows - 1).bit_length()


def test_rows_whose_image_is_gone_are_final_at_once() -> None:
    settled = collected(1, range(4), {Failure.INVALID_MEDIA: [1, 2]})
    found = plan.sequel(a_batch(), settled, EVENT, (), PATIENCE, NOW, final=rows_of([2]))
    assert [list(s.rows) for s in found.shards] == [[1]]


def test_too_few_rows_for_an_upstream_batch_go_live() -> None:
    first = plan.first_shards(a_batch(), [Range(1, 0, 7, 70), Range(2, 7, 3, 30)], requests_min=5)
    again = plan.sequel(
        a_batch(),
        collected(1, range(7), {Failure.SERVER: [1]}),
        EVENT,
        (),
        PATIENCE,
        NOW,
        requests_min=5,
    )
    assert [s.lane for s in first] == ["batch", "live"]
    assert [s.lane for s in again.shards] == ["live"]
