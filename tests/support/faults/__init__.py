"""The proof that nothing acknowledged is lost: acts at random, faults at random, and a checker over the recorded history.

`generator` and `clients` send acts, `nemesis` injects faults, `history` keeps what was answered, `store_state` reads what the store
holds at rest, and `checker` compares the two. `rounds` runs them; `python -m tests.support.faults` is the long form.
"""
