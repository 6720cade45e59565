"""Feature spaces: what turns pictures and clips into numbers that distances compare."""
