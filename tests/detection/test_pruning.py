"""Counting and the paper's pruning, on its own table and against slow definitions of the rules."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nid_plugins.detection.pruning import count_sets, prune_global, prune_local

# The ten interactions of Avazu with the highest counts of 1,000 (Tsang et al. 2020, global interactions).
AVAZU = [
    ({"device_ip", "hour"}, 525),
    ({"device_id", "device_ip", "hour"}, 235),
    ({"device_id", "app_id"}, 217),
    ({"device_ip", "device_model", "hour"}, 203),
    ({"site_id", "site_domain"}, 194),
    ({"site_id", "hour"}, 190),
    ({"device_ip", "site_id", "hour"}, 187),
    ({"site_id", "site_domain", "hour"}, 183),
    ({"device_id", "hour"}, 179),
    ({"device_id", "device_ip", "device_model", "hour"}, 179),
]
FIELDS = sorted(set().union(*(members for members, _ in AVAZU)))


def numbered(names):
    return tuple(sorted(FIELDS.index(name) for name in names))


RANKED = [numbered(members) for members, _ in AVAZU]


def test_the_papers_table_keeps_four_of_ten():
    assert prune_global(RANKED, 100) == [
        numbered(members)
        for members in (
            {"device_id", "app_id"},
            {"device_ip", "site_id", "hour"},
            {"site_id", "site_domain", "hour"},
            {"device_id", "device_ip", "device_model", "hour"},
        )
    ]
    assert RANKED[0] not in prune_global(RANKED, 100), "the most frequent pair of all is erased"


def test_the_search_stops_at_k():
    assert prune_global([(0, 1), (2, 3), (0, 1, 2)], 2) == [(0, 1), (2, 3)]
    assert prune_global([(0, 1), (2, 3), (0, 1, 2)], 3) == [(2, 3), (0, 1, 2)]
    assert prune_global([], 5) == []


def test_the_same_set_twice_is_kept_once():
    assert prune_global([(0, 1), (0, 1), (2, 3)], 9) == [(0, 1), (2, 3)]


def test_per_instance_a_subset_above_its_superset_stays():
    assert prune_local([(0, 1), (0, 1, 2), (1, 2), (3, 4)]) == [(0, 1), (0, 1, 2), (3, 4)]
    assert prune_local([(0, 1, 2), (0, 1), (0, 2), (2, 3)]) == [(0, 1, 2), (2, 3)]
    # (1, 2) is skipped for (0, 1, 2), which (0, 1, 2, 3) displaced: subsets of a displaced set are subsets still.
    assert prune_local([(0, 1, 2), (0, 1, 2, 3), (1, 2), (1, 3)]) == [(0, 1, 2), (0, 1, 2, 3)]


def test_the_papers_table_under_the_rule_of_one_instance():
    # Only {device_id, hour} has a superset above it.
    assert prune_local(RANKED) == [
        members for members in RANKED if members != numbered({"device_id", "hour"})
    ]


def test_limit_of_one_instance():
    ranked = [(i, i + 1) for i in range(0, 400, 2)]
    assert prune_local(ranked) == ranked[:100]
    assert prune_local(ranked, 7) == ranked[:7]


sets = st.lists(
    st.sets(st.integers(0, 5), min_size=2, max_size=5).map(lambda s: tuple(sorted(s))),
    unique=True,
    max_size=14,
)


@given(sets)
def test_local_rule_by_definition(ranked):
    expected = [m for i, m in enumerate(ranked) if not any(set(m) < set(above) for above in ranked[:i])]
    assert prune_local(ranked, len(ranked) + 1) == expected


@given(sets)
def test_global_rule_by_definition(ranked):
    maximal = [m for m in ranked if not any(set(m) < set(other) for other in ranked)]
    assert prune_global(ranked, len(ranked) + 1) == maximal


@given(sets, st.integers(1, 6))
def test_a_limited_result_is_an_antichain_of_at_most_k(ranked, k):
    kept = prune_global(ranked, k)
    assert len(kept) <= k
    assert not any(set(a) < set(b) for a in kept for b in kept)


def test_counting_counts_each_set_once_an_instance():
    counts = count_sets([[(0, 1), (1, 2)], [(0, 1), (0, 1)], [], [(1, 2), (0, 1)]])
    assert counts == {(0, 1): 3, (1, 2): 2}
