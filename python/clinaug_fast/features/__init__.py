"""The feature set, the one format in which stages exchange clips: shards, index, contract, folds and lineage."""
