"""A department, its exchange node and central on one machine, for people to look at."""
