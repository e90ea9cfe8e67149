"""Whether added clips helped: a classifier a fold, arm and seed, stored predictions, scores and their spread."""
