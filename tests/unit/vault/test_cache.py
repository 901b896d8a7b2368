"""The cache of subject keys is bounded, keeps the most recently used keys, and drops keys on demand."""

from collections.abc import Callable
from threading import Thread

from cdp.vault.cache import KeyCache


def test_the_key_used_longest_ago_goes_first() -> None:
    cache = KeyCache(2)
    cache.add({1: b"a", 2: b"b"})
    cache.get_many([1])

    cache.add({3: b"c"})

    assert cache.get_many([1, 2, 3]) == {1: b"a", 3: b"c"}
    assert len(cache) == 2


def test_evicted_keys_are_dropped_and_evicting_unknown_ones_does_nothing() -> None:
    cache = KeyCache(10)
    cache.add({1: b"a", 2: b"b", 3: b"c"})

    cache.evict([2, 99])
    assert cache.get_many([1, 2, 3]) == {1: b"a", 3: b"c"}

    cache.evict_all()
    assert cache.get_many([1, 2, 3]) == {}


def test_keys_loaded_before_an_eviction_are_not_cached_after_it() -> None:
    cache = KeyCache(10)
    ways: tuple[Callable[[], None], ...] = (lambda: cache.evict([2]), cache.evict_all)
    for evict in ways:
        since = cache.evictions
        evict()
        cache.add({1: b"a", 2: b"b"}, since=since)
        assert cache.get_many([1, 2]) == {}

    cache.add({1: b"a"}, since=cache.evictions)
    assert cache.get_many([1, 2]) == {1: b"a"}


def test_several_threads_may_use_it_at_once() -> None:
    cache = KeyCache(50)
    faults = []

    def use(offset: int) -> None:
        try:
            for number in range(3000):
                cache.add({number + offset: b"k"})
                cache.get_many(range(number, number + 5))
                cache.evict([number])
        except Exception as error:
            faults.append(error)

    threads = [Thread(target=use, args=(offset,)) for offset in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert faults == []
    assert len(cache) <= 50
