"""Benchmarks: our path beside native replication, same workload, one run; never a pass or fail of absolute time."""
