"""The small tokenizer of the ablations, and what is measured of its levels."""
