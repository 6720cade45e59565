"""Training of DCS-DiT on cached latents (Sec. 5, Table 5)."""
