"""What systems are asked: sets with known truth, made here under a seed, and readers of published sets."""
