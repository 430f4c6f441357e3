"""Translation between the wire and the rooms below; nothing else."""
