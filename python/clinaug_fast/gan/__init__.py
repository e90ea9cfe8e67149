"""The conditional Wasserstein GAN: one trained a fold, on its training part alone, and the clips that it generates."""
