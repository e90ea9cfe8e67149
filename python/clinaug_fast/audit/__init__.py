"""Recordings that are alike, found before a split can part them."""
