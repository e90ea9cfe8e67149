"""Classical augmentations of real clips, as feature sets: arms that a generated one has to beat."""
