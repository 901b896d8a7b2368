"""Many connections from one process of tests."""

import resource


def allow_open_files(count: int) -> None:
    """Raise this process's limit of open files, where it is lower and the system allows it: often 1,024 for people."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
