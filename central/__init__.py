"""The sharing platform: accepts batches in order, keeps the platform tables and answers for both."""
