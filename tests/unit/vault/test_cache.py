"""The memory of subject keys is bounded, keeps what was used last, and forgets on demand."""

from threading import Thread

from cdp.vault.cache import KeyCache


def test_the_key_used_longest_ago_goes_first():
    cache = KeyCache(2)
    cache.add({1: b"a", 2: b"b"})
    cache.get_many([1])

    cache.add({3: b"c"})

    assert cache.get_many([1, 2, 3]) == {1: b"a", 3: b"c"}
    assert len(cache) == 2


def test_forgotten_keys_are_gone_and_forgetting_unknown_ones_is_no_error():
    cache = KeyCache(10)
    cache.add({1: b"a", 2: b"b", 3: b"c"})

    cache.evict([2, 99])
    assert cache.get_many([1, 2, 3]) == {1: b"a", 3: b"c"}

    cache.evict_all()
    assert cache.get_many([1, 2, 3]) == {}


def test_keys_that_were_loaded_while_some_were_forgotten_are_not_remembered():
    cache = KeyCache(10)
    for forget in (lambda: cache.evict([2]), cache.evict_all):
        since = cache.evictions
        forget()
        cache.add({1: b"a", 2: b"b"}, since=since)
        assert cache.get_many([1, 2]) == {}

    cache.add({1: b"a"}, since=cache.evictions)
    assert cache.get_many([1, 2]) == {1: b"a"}


def test_several_threads_may_use_it_at_once():
    cache = KeyCache(50)
    faults = []

    def use(offset):
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
