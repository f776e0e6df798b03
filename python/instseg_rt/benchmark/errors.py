"""The error of a benchmark that cannot be run as asked."""

from instseg_rt.errors import Error


class BenchmarkError(Error):
    """A benchmark that cannot be run as asked, or whose results contradict each other; one line."""
