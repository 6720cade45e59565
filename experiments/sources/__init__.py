"""Photos and clips for runs without data of one's own."""
