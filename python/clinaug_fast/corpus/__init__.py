"""What lies on disk: a corpus as recordings, each decoded or refused with a reason, and what such a corpus is like."""
