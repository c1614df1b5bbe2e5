"""Power cuts, tried on copies of what a host's disk went through: see scripts/power-cuts."""
