"""Corpus to feature set: block by block, in bounded memory, to the same bytes wherever and by whoever it is made."""
