"""The proof that each check of consent is tested: for every basis of a purpose and every stage, a test that goes red without it.

`model` has the stages, `deciding`, `storing` and `reading` the checks that are removed, `table` all of them with the cells that
cannot exist; `plugin` removes one in a process of pytest, and `run` judges what its tests do then. `python -m tests.support.mutations`
removes every one.
"""
