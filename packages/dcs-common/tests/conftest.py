"""How Hypothesis searches: the same examples everywhere, no clock, nothing left on the disk."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "dcs-common",
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("dcs-common")
