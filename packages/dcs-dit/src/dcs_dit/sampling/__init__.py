"""Sampling: noise to latents, all levels at once or coarse to fine (Sec. 3.4, 6.4; Fig. 5, 10)."""
