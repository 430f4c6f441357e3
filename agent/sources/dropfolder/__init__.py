"""Files that a person or a program puts into a folder: settled, checked, taken once, and kept with a receipt."""
