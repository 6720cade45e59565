"""Tokenizers side by side over levels and scales, and generators side by side over levels."""
