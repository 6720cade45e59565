"""Compression of pictures and clips: quantised latents, entropy-coded level by level (`.dcs`)."""
