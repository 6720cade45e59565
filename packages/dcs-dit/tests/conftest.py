"""Settings of the tests of dcs-dit."""

from hypothesis import HealthCheck, settings

# The same examples in every run. `--hypothesis-profile=search` draws new ones, and more.
_ALWAYS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "database": None}
settings.register_profile("fixed", max_examples=20, derandomize=True, **_ALWAYS)
settings.register_profile("search", max_examples=200, print_blob=True, **_ALWAYS)
settings.load_profile("fixed")
