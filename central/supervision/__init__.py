"""Who is on time and who is not, why, what follows from it; what is disputed; what use was made of what was shared."""
