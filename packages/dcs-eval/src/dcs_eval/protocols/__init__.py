"""Published ways to measure, each a value with a name that refuses what it was not made for."""
