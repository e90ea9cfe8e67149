"""Recordings that are alike, found before a split can part them: alone in its room, since it hears what no other stage
compares."""
