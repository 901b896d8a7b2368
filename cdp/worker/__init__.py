"""Background tasks: one file per task, run in threads of their own by the worker."""
