"""The whole chain without any data: a synthetic operating theatre and every stage on it."""
