"""log_mel on a GPU."""


def main(peak: float) -> None:
    """peak: bytes a second of a copy."""
